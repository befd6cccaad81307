"""Which class is positive."""

from __future__ import annotations

import pytest

from nnmed.data.labels import two_classes
from nnmed.errors import DataError


@pytest.mark.parametrize(
    ("negative", "positive"),
    [
        ("benign", "malignant"), ("B", "M"), ("0", "1"), ("normal", "nodule"),
        ("NORMAL", "PNEUMONIA"), ("no_tumor", "tumor"), ("no", "yes"), ("negative", "positive"),
        ("healthy", "sick"), ("notumor", "glioma"), ("False", "True"), ("non-covid", "covid"),
        ("control", "alzheimer"), ("-1", "1"), ("0.0", "1.0"), ("without lesion", "with lesion"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("swap", [False, True])
def test_the_default_positive_of_two_classes(negative, positive, swap):
    labels = [positive, negative, negative] if swap else [negative, positive, positive]
    classes = two_classes(labels, None, "test")
    assert classes.names == (negative, positive)
    assert classes.labels == ([1, 0, 0] if swap else [0, 1, 1])
    assert f"positive: {positive} (" in classes.source


@pytest.mark.parametrize(
    "labels",
    [["a", "b"], ["1", "2"], ["m", "n"], ["benign", "normal"], ["benign", "malignant", "normal"]],
)
def test_what_is_not_clear_must_be_chosen(labels):
    with pytest.raises(DataError, match=r"--positive NAME.*" + labels[0]):
        two_classes(labels, None, "test")


def test_chosen_classes_and_the_rest():
    labels = ["benign", "Malignant", "normal", " malignant "]
    for positive in ("malignant", "MALIGNANT", ["malignant"], " malignant,"):
        classes = two_classes(labels, positive, "test")
        assert classes.labels == [0, 1, 0, 1]
        assert classes.names == ("benign+normal", "Malignant")
        assert classes.kinds == ["benign", "Malignant", "normal", "Malignant"]
    assert two_classes(labels, "malignant,normal", "test").labels == [0, 1, 1, 1]
    assert two_classes(["a, b", "c"], "a, b", "test").labels == [1, 0]


def test_an_unknown_class_lists_the_classes():
    with pytest.raises(DataError, match=r"'malignt' \(did you mean 'malignant'\?\).*benign \(2\)"):
        two_classes(["benign", "malignant", "benign"], "malignt", "test")


@pytest.mark.parametrize("positive", [None, "a", "a,b", "", ","])
def test_both_sides_need_images(positive):
    labels = ["a", "b"] if positive == "a,b" else ["a", "a"]
    with pytest.raises(DataError):
        two_classes(labels, positive, "test")


def test_numbers_count_by_value():
    assert two_classes(["1", "1.0", "0", "0.0"], "1", "test").labels == [1, 1, 0, 0]


def test_thresholds():
    labels = ["0", "3", "2.5", "10"]
    assert two_classes(labels, ">0", "test").labels == [0, 1, 1, 1]
    assert two_classes(labels, ">= 3", "test").labels == [0, 1, 0, 1]
    assert two_classes(labels, "<2.6", "test").labels == [1, 0, 1, 0]
    assert two_classes(labels, "<2.6", "test").names == (">=2.6", "<2.6")
    with pytest.raises(DataError, match="'x' is not a number"):
        two_classes([*labels, "x"], ">0", "test")


def test_a_measurement_from_0_upwards_is_cut_at_0():
    labels = [str(number) for number in range(20)]
    assert two_classes(labels, None, "test").labels == [0] + [1] * 19
    with pytest.raises(DataError, match=">NUMBER"):
        two_classes(labels[1:], None, "test")


def test_a_misspelt_class_does_not_change_sides():
    labels = ["malignant"] * 100 + ["benign"] * 100 + ["malignnt"]
    with pytest.raises(DataError, match=r"'malignnt'.*misspelling of 'malignant'"):
        two_classes(labels, "malignant", "test")


def test_many_classes_are_shown_in_short():
    labels = [f"class {letter}" for letter in "abcdefgh"]
    assert two_classes(labels, "class a", "test").names[0] == "class b+class c+class d+4 more"
