"""Every score equals scikit-learn's to 1e-9 wherever it is defined, ties and weights included."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnmed import metrics

pytestmark = pytest.mark.oracle
EXAMPLES = 60
EXACT = {"rtol": 1e-9, "atol": 1e-9}


@st.composite
def cases(draw, num_classes=2):
    """Labels, tied or free scores, decisions and weights (some of them 0, or None)."""
    n = draw(st.integers(1, 40))

    def column(strategy):
        return np.array(draw(st.lists(strategy, min_size=n, max_size=n)))

    y = column(st.integers(0, num_classes - 1))
    tied = st.sampled_from([0.0, 0.1, 0.2, 0.25, 0.5, 0.7, 0.9, 1.0])
    score = column(draw(st.sampled_from([tied, st.floats(0, 1)])))
    decided = column(st.integers(0, num_classes - 1))
    some = st.one_of(st.just(0.0), st.integers(1, 3).map(float), st.floats(1e-3, 1e3))
    weight = column(some) if draw(st.booleans()) else None
    return y, score, decided, weight


@pytest.fixture(scope="module")
def sk(sklearn):
    import sklearn.calibration
    import sklearn.metrics

    # Checking its own parameters takes scikit-learn longer than the scores do.
    with sklearn.config_context(skip_parameter_validation=True):
        yield sklearn


def without_weightless(*columns):
    """Drop the cases of weight 0: to us they are no cases; scikit-learn counts their class."""
    weight = columns[-1]
    if weight is None:
        return columns
    return tuple(column[weight > 0] for column in columns)


def same(ours: float, theirs) -> None:
    """Compare where ours is defined; where it is not, a reason must stand with it."""
    if np.isnan(ours):
        assert ours.reason
    else:
        np.testing.assert_allclose(ours, theirs(), **EXACT)


def quiet(function):
    """Call scikit-learn without its warnings, and ours with warnings as errors."""

    def run(*args, **kwargs):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(*args, **kwargs)

    return run


@settings(deadline=None, max_examples=EXAMPLES)
@given(case=cases())
def test_decision_scores(sk, case):
    y, _, decided, weight = case
    of = sk.metrics
    pairs = [
        (metrics.accuracy, of.accuracy_score, {}),
        (metrics.balanced_accuracy, of.balanced_accuracy_score, {}),
        (metrics.precision, of.precision_score, {}),
        (metrics.recall, of.recall_score, {}),
        (metrics.sensitivity, of.recall_score, {}),
        (metrics.specificity, of.recall_score, {"pos_label": 0}),
        (metrics.negative_predictive_value, of.precision_score, {"pos_label": 0}),
        (metrics.f1, of.f1_score, {}),
        (metrics.macro_f1, of.f1_score, {"average": "macro"}),
        (metrics.matthews_correlation, of.matthews_corrcoef, {}),
    ]
    some_y, some_decided, some_weight = without_weightless(y, decided, weight)
    for ours, theirs, options in pairs:
        same(
            ours(y, decided, weight),
            lambda f=theirs, o=options: quiet(f)(
                some_y, some_decided, sample_weight=some_weight, **o
            ),
        )
    if len(some_y):
        expected = of.confusion_matrix(
            some_y, some_decided, sample_weight=some_weight, labels=[0, 1]
        )
        np.testing.assert_allclose(metrics.confusion_matrix(y, decided, weight), expected, **EXACT)


@settings(deadline=None, max_examples=EXAMPLES)
@given(case=cases(num_classes=4))
def test_multiclass_scores(sk, case):
    y, _, decided, weight = case
    of = sk.metrics
    y, decided, weight = without_weightless(y, decided, weight)
    for ours, theirs, options in [
        (metrics.accuracy, of.accuracy_score, {}),
        (metrics.balanced_accuracy, of.balanced_accuracy_score, {}),
        (metrics.macro_f1, of.f1_score, {"average": "macro"}),
    ]:
        same(
            ours(y, decided, weight),
            lambda f=theirs, o=options: quiet(f)(y, decided, sample_weight=weight, **o),
        )
    if len(y):
        expected = of.confusion_matrix(y, decided, sample_weight=weight, labels=range(4))
        ours = metrics.confusion_matrix(y, decided, weight, num_classes=4)
        np.testing.assert_allclose(ours, expected, **EXACT)


@settings(deadline=None, max_examples=EXAMPLES)
@given(case=cases())
def test_areas_and_calibration(sk, case):
    y, score, _, weight = case
    of = sk.metrics
    for ours, theirs in [
        (metrics.roc_auc, of.roc_auc_score),
        (metrics.average_precision, of.average_precision_score),
        (metrics.brier, of.brier_score_loss),
    ]:
        same(
            ours(y, score, weight),
            lambda f=theirs: quiet(f)(y, score, sample_weight=weight),
        )


@settings(deadline=None, max_examples=EXAMPLES)
@given(case=cases())
def test_curves(sk, case):
    y, score, _, weight = case
    of = sk.metrics
    kept = np.ones(len(y), bool) if weight is None else weight > 0
    ours = metrics.roc_curve(y, score, weight)
    sensitivity = metrics.sensitivity_at_specificity(y, score, 0.9, weight)
    if len(np.unique(y[kept])) == 2:
        theirs = of.roc_curve(y, score, sample_weight=weight, drop_intermediate=False)
        for a, b in zip(ours, theirs):
            np.testing.assert_allclose(a, b, **EXACT)
        fpr, tpr, _ = theirs
        np.testing.assert_allclose(sensitivity, tpr[fpr <= 0.1 + 1e-9].max(), **EXACT)
    else:
        assert np.isnan(sensitivity)
        assert sensitivity.reason
    ours = metrics.precision_recall_curve(y, score, weight)
    if (y[kept] == 1).any():
        theirs = of.precision_recall_curve(y, score, sample_weight=weight)
        for a, b in zip(ours, theirs):
            np.testing.assert_allclose(a, b, **EXACT)


@settings(deadline=None, max_examples=EXAMPLES)
@given(case=cases())
def test_reliability_curve_and_calibration_error(sk, case):
    y, score, _, _ = case
    curve = metrics.reliability_curve(y, score)
    filled = curve["count"] > 0
    if len(np.unique(y)) == 2:
        frequency, probability = sk.calibration.calibration_curve(y, score, n_bins=10)
        np.testing.assert_allclose(curve["frequency"][filled], frequency, **EXACT)
        np.testing.assert_allclose(curve["probability"][filled], probability, **EXACT)
    gap = np.abs(curve["frequency"] - curve["probability"])[filled]
    expected = np.sum(curve["count"][filled] / len(y) * gap)
    np.testing.assert_allclose(metrics.expected_calibration_error(y, score), expected, **EXACT)


@settings(deadline=None, max_examples=EXAMPLES)
@given(case=cases())
def test_evaluate_binary_agrees_with_the_plain_scores(sk, case):
    y, score, _, weight = case
    scores = metrics.evaluate_binary(y, score, 0.5, sample_weight=weight, resamples=3)
    decided = (score >= 0.5).astype(int)
    for name, result in scores.items():
        if name.startswith("sensitivity_at_"):
            expected = metrics.sensitivity_at_specificity(y, score, int(name[15:17]) / 100, weight)
        elif name in ("roc_auc", "average_precision", "brier", "expected_calibration_error"):
            expected = getattr(metrics, name)(y, score, weight)
        elif name == "balanced_accuracy":
            expected = metrics.balanced_accuracy(y, decided, weight, num_classes=2)
        else:
            expected = getattr(metrics, name)(y, decided, weight)
        np.testing.assert_allclose(result.value, expected, **EXACT)
        if np.isnan(expected):
            assert result.reason


def test_evaluate_multiclass(sk):
    rng = np.random.default_rng(1)
    y = rng.integers(0, 4, 90)
    logits = rng.normal(size=(90, 4)) + 1.5 * np.eye(4)[y]
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    scores = metrics.evaluate_multiclass(y, p, resamples=200)
    of, decided = sk.metrics, p.argmax(axis=1)
    expected = {
        "accuracy": of.accuracy_score(y, decided),
        "balanced_accuracy": of.balanced_accuracy_score(y, decided),
        "macro_f1": of.f1_score(y, decided, average="macro"),
        "macro_roc_auc": of.roc_auc_score(y, p, multi_class="ovr", average="macro"),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(scores[name].value, value, **EXACT)
        assert scores[name].low < value < scores[name].high


def test_large_case_with_ties_and_weights(sk):
    rng = np.random.default_rng(2)
    y = rng.integers(0, 2, 20_000)
    score = np.round(0.3 * y + rng.random(20_000) * 0.7, 3)
    weight = rng.exponential(size=20_000)
    of = sk.metrics
    np.testing.assert_allclose(
        metrics.roc_auc(y, score, weight), of.roc_auc_score(y, score, sample_weight=weight), **EXACT
    )
    np.testing.assert_allclose(
        metrics.average_precision(y, score, weight),
        of.average_precision_score(y, score, sample_weight=weight),
        **EXACT,
    )
