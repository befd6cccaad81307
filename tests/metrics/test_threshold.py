"""The threshold is the best there is, lies between scores, and ties go to sensitivity."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnmed import metrics
from nnmed.errors import UsageError
from nnmed.metrics import bagged_threshold, choose_threshold, f1

probability = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats(0, 1))


def merit(method, labels, scores, threshold):
    decided = np.asarray(scores) >= threshold
    if method == "youden":
        return metrics.sensitivity(labels, decided) + metrics.specificity(labels, decided)
    if method == "f1":
        return metrics.f1(labels, decided)
    found = metrics.sensitivity(labels, decided) >= 0.8 - 1e-9
    return metrics.specificity(labels, decided) if found else -1


@pytest.mark.parametrize("method", ["youden", "f1", "sensitivity"])
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_no_threshold_is_better_and_none_as_good_finds_more(method, data):
    n = data.draw(st.integers(2, 25))
    labels = data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n))
    if len(set(labels)) < 2:
        labels[:2] = [0, 1]
    scores = data.draw(st.lists(probability, min_size=n, max_size=n))
    chosen = metrics.choose_threshold(labels, scores, method, target=0.8)
    best = merit(method, labels, scores, chosen.value)
    decided = np.asarray(scores) >= chosen.value
    for other in scores:
        value = merit(method, labels, scores, other)
        assert value <= best + 1e-12
        if value >= best - 1e-12:
            found = metrics.sensitivity(labels, np.asarray(scores) >= other)
            assert found <= metrics.sensitivity(labels, decided)
    assert chosen.sensitivity == pytest.approx(metrics.sensitivity(labels, decided))
    assert chosen.specificity == pytest.approx(metrics.specificity(labels, decided))
    assert chosen.f1 == pytest.approx(metrics.f1(labels, decided))
    assert chosen.n == n


def test_it_lies_midway_between_scores():
    assert metrics.choose_threshold([0, 0, 1, 1], [0.1, 0.3, 0.5, 0.9]).value == 0.4
    assert metrics.choose_threshold([1, 1, 0], [0.2, 0.2, 0.2]).value == 0.1
    above = np.nextafter(0.5, 1)
    assert metrics.choose_threshold([0, 1], [0.5, above]).value == above
    assert metrics.choose_threshold([1, 0], [0.0, 0.0]).value == 0.0


def test_ties_go_to_the_lowest_threshold():
    # After the first and after the third score Youden's J is 1/2: the second finds more.
    labels, scores = [1, 0, 1, 0], [0.9, 0.7, 0.5, 0.3]
    assert metrics.choose_threshold(labels, scores).value == pytest.approx(0.4)


@pytest.mark.parametrize("labels", [[1, 1], [0, 0], []])
def test_one_class_gives_one_half_and_the_reason(labels):
    chosen = metrics.choose_threshold(labels, [0.2, 0.3][: len(labels)])
    assert chosen.value == 0.5
    assert "to choose it on" in chosen.reason


def test_weights_count_like_copies():
    labels, scores = [0, 1, 0, 1, 1], [0.2, 0.3, 0.4, 0.6, 0.1]
    weight = [3, 1, 2, 2, 0]
    for method in ("youden", "f1", "sensitivity"):
        weighted = metrics.choose_threshold(labels, scores, method, sample_weight=weight)
        copied = metrics.choose_threshold(
            np.repeat(labels, weight), np.repeat(scores, weight), method
        )
        assert weighted.value == copied.value


def test_bad_arguments():
    with pytest.raises(UsageError, match="unknown method 'best'"):
        metrics.choose_threshold([0, 1], [0, 1], "best")
    with pytest.raises(UsageError, match="target"):
        metrics.choose_threshold([0, 1], [0, 1], "sensitivity", target=90)


def noisy_cases(seed, n=60):
    rng = np.random.default_rng(seed)
    labels = (np.arange(n) % 4 == 0).astype(int)
    logits = rng.standard_normal(n) + 1.5 * labels
    return labels, 1 / (1 + np.exp(-logits))


@pytest.mark.parametrize("method", ["youden", "f1", "sensitivity"])
def test_a_bagged_threshold_varies_less_and_serves_new_cases_as_well(method):
    single, bagged = [], []
    for seed in range(30):
        labels, probabilities = noisy_cases(seed)
        single.append(choose_threshold(labels, probabilities, method).value)
        bagged.append(bagged_threshold(labels, probabilities, method).value)
    assert np.std(bagged) < 0.9 * np.std(single)
    labels, probabilities = noisy_cases(99, 4000)
    if method == "f1":
        scores = [
            np.mean([f1(labels, probabilities >= value) for value in values])
            for values in (single, bagged)
        ]
        assert scores[1] > scores[0]


def test_a_bagged_threshold_says_what_it_gives_where_it_was_chosen():
    labels, probabilities = noisy_cases(0)
    groups = [f"patient {i // 2}" for i in range(len(labels))]
    threshold = bagged_threshold(labels, probabilities, "f1", groups)
    assert threshold.f1 == f1(labels, probabilities >= threshold.value)
    assert "resamples" in threshold.description
    assert threshold == bagged_threshold(labels, probabilities, "f1", groups)


def test_a_bagged_threshold_of_one_class_says_why():
    assert (
        bagged_threshold([1, 1], [0.2, 0.3]).reason == choose_threshold([1, 1], [0.2, 0.3]).reason
    )
