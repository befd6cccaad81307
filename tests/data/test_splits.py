from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnmed.data.splits import SIDES, complete_split, grouped_k_fold, split_by_group
from nnmed.errors import DataError, UsageError


def cohort(rng, count=60, classes=2, size=10):
    """Labels and groups of patients with one class each and 1 to `size` images."""
    sizes = rng.integers(1, size + 1, count)
    labels = np.repeat(np.arange(count) % classes, sizes)
    groups = np.repeat([f"patient {number}" for number in range(count)], sizes)
    return labels.tolist(), groups.tolist()


def sides_of_groups(groups, sides):
    found = {}
    for group, side in zip(groups, sides):
        found.setdefault(group, set()).add(side)
    return found


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_groups_stay_whole_and_every_class_is_everywhere(data):
    classes = data.draw(st.integers(1, 3))
    groups = data.draw(st.lists(st.integers(0, 25), min_size=1, max_size=120))
    labels = [group % classes for group in groups]
    per_class = [len({g for g in groups if g % classes == c}) for c in set(labels)]
    names = [f"p{group}" for group in groups]
    if min(per_class) < 3:
        with pytest.raises(DataError, match="group"):
            split_by_group(labels, names)
        return
    sides = split_by_group(labels, names, seed=data.draw(st.integers(0, 99)))
    assert all(len(found) == 1 for found in sides_of_groups(names, sides).values())
    for side in SIDES:
        assert {label for label, s in zip(labels, sides) if s == side} == set(labels)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 5))
def test_mixed_groups_never_stand_on_two_sides(seed, k):
    rng = np.random.default_rng(seed)
    groups = [f"p{number}" for number in rng.integers(0, 40, 150)]
    labels = rng.integers(0, 3, 150)
    for sides in (split_by_group(labels, groups, seed=seed), grouped_k_fold(labels, groups, k)):
        assert all(len(found) == 1 for found in sides_of_groups(groups, sides).values())
        for side in set(sides):
            assert set(labels[np.array(sides) == side]) == {0, 1, 2}


def test_does_not_depend_on_the_order_of_files():
    labels, groups = cohort(np.random.default_rng(0))
    sides = dict(zip(groups, split_by_group(labels, groups)))
    shuffled = np.random.default_rng(1).permutation(len(labels))
    again = split_by_group([labels[i] for i in shuffled], [groups[i] for i in shuffled])
    assert [sides[groups[i]] for i in shuffled] == again


def test_seeds_draw_different_splits():
    labels, groups = cohort(np.random.default_rng(0))
    splits = {tuple(split_by_group(labels, groups, seed=seed)) for seed in range(5)}
    assert len(splits) == 5


@pytest.mark.parametrize("seed", range(5))
def test_classes_and_sizes_are_balanced(seed):
    labels, groups = cohort(np.random.default_rng(seed), count=90, classes=3)
    sides = np.array(split_by_group(labels, groups, seed=seed))
    for side, wanted in zip(SIDES, (0.7, 0.15, 0.15)):
        for label in range(3):
            share = np.mean(sides[np.array(labels) == label] == side)
            assert abs(share - wanted) < 0.03, (side, label)


def test_large_and_small_groups_are_on_all_sides():
    groups = [f"large {i}" for i in range(20) for _ in range(16)] + [f"s{i}" for i in range(320)]
    sides = np.array(split_by_group([0] * 640, groups))
    assert np.isclose(np.mean(sides[:320] == "test"), 0.15, atol=0.051)


def test_single_images_are_split_to_the_last_one():
    labels = [0] * 200 + [1] * 40
    sides = np.array(split_by_group(labels, [str(i) for i in range(240)]))
    assert [int((sides[:200] == side).sum()) for side in SIDES] == [140, 30, 30]
    assert [int((sides[200:] == side).sum()) for side in SIDES] == [28, 6, 6]


def test_too_few_groups_says_which_class_and_what_to_do():
    labels, groups = [0] * 9 + [1, 1], [str(i) for i in range(9)] + ["a", "b"]
    with pytest.raises(DataError, match=r"'cyst' has only 2 group.*add patients"):
        split_by_group(labels, groups, classes=["normal", "cyst"])
    assert set(split_by_group(labels, groups, (0.8, 0.0, 0.2))) == {"train", "test"}
    with pytest.raises(DataError, match="fold 2"):
        grouped_k_fold(labels, groups, 3)


def test_an_impossible_mixture_is_an_error_not_a_bad_split():
    # Each class needs its three groups on three sides, but c and d both go where a, b are not.
    members = {0: "abc", 1: "abd", 2: "acd"}
    labels = [label for label, names in members.items() for _ in names]
    with pytest.raises(DataError, match="try another seed"):
        split_by_group(labels, list("".join(members.values())))


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (0.7, 0.2, 0.2), (1.2, -0.1, -0.1)])
def test_bad_fractions(fractions):
    with pytest.raises(UsageError, match="add up to 1"):
        split_by_group([0] * 9, list("abcdefghi"), fractions)


def test_bad_arguments():
    with pytest.raises(UsageError, match="2 labels but 1 groups"):
        split_by_group([0, 1], ["a"])
    with pytest.raises(UsageError, match="at least 2"):
        grouped_k_fold([0], ["a"], 1)
    with pytest.raises(DataError, match="sample 1 has no label"):
        split_by_group([0, None], ["a", "b"])


def test_folds_are_even():
    labels = [0] * 100 + [1] * 50
    folds = grouped_k_fold(labels, [str(i) for i in range(150)], 5)
    assert folds.dtype == np.int64
    assert np.bincount(folds[:100]).tolist() == [20] * 5
    assert np.bincount(folds[100:]).tolist() == [10] * 5


def test_val_is_carved_out_of_train():
    labels, groups = cohort(np.random.default_rng(0))
    whole = split_by_group(labels, groups, (0.8, 0.0, 0.2))
    sides = complete_split(labels, groups, whole)
    assert all(len(found) == 1 for found in sides_of_groups(groups, sides).values())
    for before, after in zip(whole, sides):
        assert after == "test" if before == "test" else after in ("train", "val")
    trained = [side for before, side in zip(whole, sides) if before == "train"]
    assert abs(trained.count("val") / len(trained) - 0.15 / 0.85) < 0.03


def test_a_complete_split_stays_and_no_split_is_made():
    labels, groups = cohort(np.random.default_rng(0))
    made = complete_split(labels, groups, [None] * len(labels), seed=4)
    assert made == split_by_group(labels, groups, seed=4)
    assert complete_split(labels, groups, made, seed=5) == made


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        (["train", None, "test"], "1 of 3 samples have no split, the first is sample 1"),
        (["val", "test", "test"], "no train"),
        (["train", "dev", "test"], "unknown split 'dev'"),
    ],
)
def test_a_split_that_cannot_be_completed(splits, message):
    with pytest.raises(DataError, match=message):
        complete_split([0, 0, 0], ["a", "b", "c"], splits)


def test_train_needs_every_class():
    splits = ["train", "train", "val", "test"]
    with pytest.raises(DataError, match="'malignant' is in train"):
        complete_split([0, 0, 1, 1], list("abcd"), splits, classes=("benign", "malignant"))


def test_groups_may_be_called_after_files_whose_names_are_no_text():
    groups = [f"na\udcefve {number}" for number in range(6)]
    assert set(split_by_group([0, 1] * 3, groups)) == {"train", "val", "test"}
