"""What scores do where they are not defined, and what they refuse."""

from __future__ import annotations

import json
import math
import pickle

import numpy as np
import pytest

from nnmed import metrics
from nnmed.errors import DataError, ShapeError, UsageError


@pytest.mark.parametrize(
    ("function", "truth", "prediction", "reason"),
    [
        (metrics.roc_auc, [1, 1], [0.1, 0.9], "no negative case"),
        (metrics.roc_auc, [0, 0], [0.1, 0.9], "no positive case"),
        (metrics.roc_auc, [], [], "no cases"),
        (metrics.average_precision, [0, 0], [0.1, 0.9], "no positive case"),
        (metrics.brier, [], [], "no cases"),
        (metrics.expected_calibration_error, [], [], "no cases"),
        (metrics.accuracy, [], [], "no cases"),
        (metrics.balanced_accuracy, [1, 1], [0, 1], "no case of class 0"),
        (metrics.balanced_accuracy, [5, 7], [5, 9], "no case of class 9"),
        (metrics.balanced_accuracy, [], [], "no cases"),
        (metrics.precision, [1, 0], [0, 0], "no case was predicted positive"),
        (metrics.negative_predictive_value, [1, 0], [1, 1], "no case was predicted negative"),
        (metrics.sensitivity, [0, 0], [0, 1], "no positive case"),
        (metrics.specificity, [1, 1], [0, 1], "no negative case"),
        (metrics.f1, [0, 0], [0, 0], "no positive case, and none was predicted positive"),
        (
            metrics.matthews_correlation,
            [1, 1],
            [1, 1],
            "no negative case and no case was predicted negative",
        ),
    ],
)
def test_undefined_is_nan_with_the_reason(function, truth, prediction, reason):
    value = function(truth, prediction)
    assert math.isnan(value)
    assert value.reason == reason


def test_weightless_cases_are_no_cases():
    area = metrics.roc_auc([0, 1, 1], [0.1, 0.2, 0.3], sample_weight=[0, 1, 1])
    assert area.reason == "no negative case"


def test_a_class_that_never_occurs_is_not_averaged_away():
    truth, predicted = [0, 0, 1, 1], [0, 1, 1, 1]
    assert metrics.macro_f1(truth, predicted, num_classes=3).reason.endswith("of class 2")
    assert metrics.balanced_accuracy(truth, predicted, num_classes=3).reason.endswith("class 2")


def test_undefined_survives_copying():
    value = pickle.loads(pickle.dumps(metrics.Undefined("no cases")))
    assert math.isnan(value)
    assert value.reason == "no cases"
    assert repr(value) == "nan (no cases)"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: metrics.roc_auc([0, 2], [0.1, 0.2]), DataError, "y_true must hold only 0"),
        (lambda: metrics.roc_auc([0, 1], [0.1]), ShapeError, "y_score has 1 entries for 2 cases"),
        (lambda: metrics.roc_auc([0, 1], [[0.1], [0.2]]), ShapeError, r"got shape \(2, 1\)"),
        (lambda: metrics.roc_auc([0, 1], [0.1, np.nan]), DataError, "first entry 1: nan"),
        (lambda: metrics.roc_auc([0, 1], ["a", "b"]), DataError, "y_score must hold numbers"),
        (lambda: metrics.brier([0, 1], [0.1, 1.2]), DataError, "probabilities in"),
        (lambda: metrics.f1([0, 1], [0.3, 0.7]), DataError, "apply a threshold"),
        (lambda: metrics.f1(["no", "yes"], [0, 1]), DataError, "y_true must hold class indices"),
        (lambda: metrics.accuracy([0, 1], [0, 1], [1, -1]), DataError, "weights of 0 or more"),
        (lambda: metrics.confusion_matrix([0, 3], [0, 1], num_classes=3), DataError, "class 3"),
        (lambda: metrics.sensitivity_at_specificity([0, 1], [0, 1], 90), UsageError, "90"),
        (lambda: metrics.evaluate_binary([0, 1], [0, 1], math.nan), UsageError, "threshold"),
        (lambda: metrics.evaluate_binary([0, 1], [0, 1], 0.5, ["a"]), ShapeError, "groups"),
        (lambda: metrics.evaluate_multiclass([0, 1], [0.1, 0.2]), ShapeError, "probabilities"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_inputs_may_be_bool_float32_or_lists_and_stay_as_they_were():
    truth = np.array([True, False, True])
    score = np.array([0.9, 0.2, 0.4], np.float32)
    before = score.copy()
    assert metrics.roc_auc(truth, score) == 1.0
    assert metrics.roc_auc([1.0, 0.0, 1.0], [3, 1, 2]) == 1.0
    np.testing.assert_array_equal(score, before)


def test_sensitivity_at_specificity_is_not_interpolated_and_forgives_rounding():
    truth = [0] * 10 + [1] * 4
    score = [0.0] * 9 + [0.7] + [0.9, 0.8, 0.6, 0.5]
    assert metrics.sensitivity_at_specificity(truth, score, 0.95) == 0.5
    assert metrics.sensitivity_at_specificity(truth, score, 0.9) == 1.0


def test_calibration_error_by_hand():
    # Bins (0.1, 0.2] with mean 0.2 and no positive, (0.8, 0.9] with mean 0.85 and one of two.
    assert metrics.expected_calibration_error([0, 0, 1, 0], [0.2, 0.2, 0.9, 0.8 + 1e-9]) == (
        pytest.approx(0.5 * 0.2 + 0.5 * 0.35)
    )


def test_json_is_strict():
    scores = metrics.evaluate_binary([1, 1, 1], [0.2, 0.6, 0.7], 0.5, resamples=50)
    text = metrics.to_json({"scores": scores, "curve": np.array([1.0, np.nan, np.inf]), "k": 3})
    back = json.loads(text, parse_constant=pytest.fail)
    assert back["scores"]["roc_auc"] == {
        "value": None,
        "low": None,
        "high": None,
        "n": 3,
        "reason": "no negative case",
        "n_undefined": 50,
    }
    assert back["curve"] == [1.0, None, None]
    assert back["scores"]["sensitivity"]["value"] == pytest.approx(2 / 3)
    assert metrics.to_plain((np.int64(2), np.bool_(True), np.float32(0.5), None)) == [
        2,
        True,
        0.5,
        None,
    ]


def test_curves_of_nothing_are_nan_and_silent():
    fpr, tpr, thresholds = metrics.roc_curve([1, 1], [0.3, 0.3])
    assert np.isnan(fpr).all()
    assert tpr.tolist() == [0, 1]
    assert thresholds.tolist() == [np.inf, 0.3]
    precision, recall, thresholds = metrics.precision_recall_curve([], [])
    assert (precision.tolist(), recall.tolist(), thresholds.tolist()) == ([1], [0], [])
    curves = metrics.binary_curves([1, 1, 1], [0.1, 0.5, 0.9], 0.5, resamples=10)
    assert np.isnan(curves["roc"]["low"]).all()
    assert math.isnan(curves["operating_point"]["fpr"])
    metrics.binary_curves([], [], 0.5)


def test_describe_cases():
    described = metrics.describe_cases([0, 1, 1, 0], ["a", "a", "b", None])
    assert described == {
        "n": 4,
        "n_positive": 2,
        "n_negative": 2,
        "prevalence": 0.5,
        "n_patients": 3,
    }
