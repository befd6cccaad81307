"""The bootstrap draws patients, is the same whatever the threads, and admits what it cannot say."""

from __future__ import annotations

import math
import time
from functools import partial

import numpy as np
import pytest

from nnmed import metrics
from nnmed.backend import random, threads
from nnmed.metrics.bootstrap import bootstrap, patient_index, with_interval


@pytest.fixture
def cases():
    rng = np.random.default_rng(5)
    labels = (rng.random(120) < 0.3).astype(int)
    scores = np.round(np.clip(0.25 * labels + rng.random(120) * 0.75, 0, 1), 2)
    groups = [f"patient {i}" for i in rng.integers(0, 70, 120)]
    return labels, scores, groups


def test_resamples_are_whole_patients(cases):
    groups = cases[2]
    weights = bootstrap(lambda w: w, groups, resamples=300)
    assert weights.shape == (300, 120)
    for row in weights:
        assert all(len({row[i] for i in range(120) if groups[i] == g}) == 1 for g in set(groups))
    first = [groups.index(g) for g in set(groups)]
    assert (weights[:, first].sum(axis=1) == len(set(groups))).all()
    # Each patient is drawn once a resample on average, with a variance of 1 - 1/G.
    assert weights[:, first].mean() == pytest.approx(1)
    assert weights[:, first].var() == pytest.approx(1, rel=0.1)


def test_interval_is_that_of_explicit_resampling(cases):
    labels, scores, groups = cases
    weights = bootstrap(lambda w: w, groups, resamples=200)
    repeated = [np.repeat(np.arange(120), row.astype(int)) for row in weights]
    areas = [metrics.roc_auc(labels[index], scores[index]) for index in repeated]
    f1s = [metrics.f1(labels[index], scores[index] >= 0.5) for index in repeated]
    result = metrics.evaluate_binary(labels, scores, 0.5, groups, resamples=200)
    for name, values in (("roc_auc", areas), ("f1", f1s)):
        low, high = np.percentile(values, [2.5, 97.5])
        assert result[name].low == pytest.approx(low, abs=1e-12)
        assert result[name].high == pytest.approx(high, abs=1e-12)


def test_copies_of_an_image_add_nothing(cases):
    labels, scores, groups = cases
    once = metrics.evaluate_binary(labels, scores, 0.5, groups, resamples=100)
    # The resamples' block size follows the number of cases; 100 resamples are one block.
    thrice = metrics.evaluate_binary(
        np.tile(labels, 3), np.tile(scores, 3), 0.5, groups * 3, resamples=100
    )
    as_patients = metrics.evaluate_binary(
        np.tile(labels, 3), np.tile(scores, 3), 0.5, resamples=100
    )
    for name, score in once.items():
        assert thrice[name].value == pytest.approx(score.value, abs=1e-12)
        assert thrice[name].low == pytest.approx(score.low, abs=1e-12)
        assert thrice[name].n == 360
    narrow = as_patients["roc_auc"]
    assert narrow.high - narrow.low < 0.75 * (once["roc_auc"].high - once["roc_auc"].low)


def test_order_of_the_cases_does_not_matter(cases):
    labels, scores, groups = cases
    turned = metrics.evaluate_binary(labels[::-1], scores[::-1], 0.5, groups[::-1], resamples=100)
    for name, score in metrics.evaluate_binary(labels, scores, 0.5, groups, resamples=100).items():
        assert turned[name].low == pytest.approx(score.low, abs=1e-12)


def test_same_bits_for_any_number_of_threads_and_another_seed_differs(cases):
    before = threads.get_num_threads()
    try:
        results = []
        for count in (1, 3):
            threads.set_num_threads(count)
            results.append(metrics.evaluate_binary(*cases[:2], 0.5, cases[2], resamples=5000))
    finally:
        threads.set_num_threads(before)
    assert results[0] == results[1]
    assert metrics.evaluate_binary(*cases[:2], 0.5, cases[2], seed=1) != results[0]
    random.seed(9)
    assert metrics.evaluate_binary(*cases[:2], 0.5, cases[2], resamples=5000) != results[0]


def test_undefined_resamples_are_counted():
    labels = np.array([1, 1, 1, 1] + [0] * 96)
    scores = np.linspace(0.9, 0.1, 100)
    score = metrics.evaluate_binary(labels, scores, 0.5)["roc_auc"]
    # Four of 100: (96/100)^100 = 1.7% of the resamples have no positive case.
    assert 15 < score.n_undefined < 60
    assert 0 < score.low <= score.high
    score = metrics.evaluate_binary(labels[2:], scores[2:], 0.5)["roc_auc"]
    assert score.value == 1
    assert math.isnan(score.low)
    assert score.reason == f"undefined in {score.n_undefined} of 2000 resamples"


def test_one_patient_and_agreeing_resamples_are_said():
    score = metrics.evaluate_binary([0, 1], [0.2, 0.8], 0.5, ["a", "a"])["accuracy"]
    assert (score.value, score.reason) == (1, "one patient gives no interval")
    assert math.isnan(score.low)
    score = metrics.evaluate_binary([0, 1] * 20, [0.2, 0.8] * 20, 0.5)["accuracy"]
    assert (score.low, score.high) == (1, 1)
    assert "larger than the interval" in score.reason


def test_unknown_patients_are_patients_of_their_own():
    index = patient_index(["a", None, "a", "", None, float("nan"), "unknown 1"], 7)
    assert index[0] == index[2]
    assert len(set(index.tolist())) == 6


def test_interval_covers_the_truth():
    """Of 150 samples of 60 patients, about 95% of the intervals hold the true sensitivity."""

    def share(weights, found):
        return (weights * found).sum(axis=1) / weights.sum(axis=1)

    rng = np.random.default_rng(0)
    held = 0
    for _ in range(150):
        chance = rng.choice([0.55, 0.95], size=60)  # patients differ: images are alike
        found = rng.random((60, 4)) < chance[:, None]
        groups = np.repeat(np.arange(60), 4)
        values = bootstrap(partial(share, found=found.ravel()), groups, resamples=300)
        score = with_interval(found.mean(), values, 60, 240)
        held += score.low <= 0.75 <= score.high
    assert 0.88 * 150 <= held <= 150


def test_two_thousand_resamples_of_a_thousand_cases_are_quick():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 1000)
    start = time.process_time()
    metrics.evaluate_binary(labels, rng.random(1000), 0.5)
    assert time.process_time() - start < 3  # 0.2 s on an idle core
