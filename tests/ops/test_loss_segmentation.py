"""Losses of overlap and boundary: every op test, the formulas, empty masks, ignored pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest

import nnmed
from nnmed.errors import DTypeError, ShapeError, UsageError
from nnmed.kernels.loss import segmentation_reference as formulas
from nnmed.ops.cross_entropy import cross_entropy
from nnmed.ops.segmentation_loss import (
    boundary_loss,
    dice_ce_loss,
    dice_loss,
    focal_tversky_loss,
    generalized_dice_loss,
    tversky_loss,
)
from tests.op_case import OpCase, op_tests

SMOOTH = 0.3
OVERLAP = {
    dice_loss: lambda p, t: formulas.dice(p, t, SMOOTH),
    tversky_loss: lambda p, t: formulas.tversky(p, t, 0.2, 0.7, SMOOTH),
    focal_tversky_loss: lambda p, t: formulas.focal_tversky(p, t, 0.2, 0.7, 4 / 3, SMOOTH),
}
OPTIONS = {dice_loss: {}, tversky_loss: dict(alpha=0.2, beta=0.7)}
OPTIONS[focal_tversky_loss] = OPTIONS[tversky_loss]
ALL = (*OVERLAP, generalized_dice_loss, dice_ce_loss)
SHAPES = [(2, 1, 3, 4), (2, 3, 3, 4), (2, 1, 2, 3, 2), (2, 4, 2, 3, 2), (1, 2, 5)]


def labels(shape, ignored=False):
    def values(rng):
        target = rng.integers(0, max(shape[1], 2), (shape[0], *shape[2:]))
        if ignored:
            target.reshape(-1)[::3] = 255
        return target

    return values


def _case(function, shape, ignored=False, **kwargs):
    if ignored:
        kwargs["ignore_index"] = 255
    inputs = dict(input=shape, target=labels(shape, ignored))
    return OpCase(function, inputs, kwargs, oracle=False, label="ignored" * ignored)


def phi_of(shape):
    return np.random.default_rng(5).standard_normal(shape)


CASES = [
    *[_case(function, shape) for function in ALL for shape in SHAPES[:4]],
    *[_case(function, (2, 3, 3, 4), ignored=True) for function in ALL],
    *[_case(function, (2, 1, 3, 4), ignored=True) for function in ALL],
    *[
        _case(function, (2, 3, 3, 4), include_background=False, batch=True, reduction="sum")
        for function in (*OVERLAP, generalized_dice_loss)
    ],
    *[_case(function, (2, 3, 3, 4), reduction="none") for function in ALL[:4]],
    _case(dice_loss, (2, 3, 3, 4), squared_pred=True, smooth=1.0),
    OpCase(boundary_loss, dict(input=(2, 3, 3, 4), distance_map=(2, 3, 3, 4)), oracle=False),
    OpCase(
        boundary_loss,
        dict(input=(2, 1, 2, 3, 2), distance_map=(2, 2, 3, 2)),
        dict(reduction="sum"),
        oracle=False,
    ),
]
TestSegmentation = op_tests(CASES, family="loss")


def example(shape, ignored=False):
    """Return logits, labels, and for each image its probabilities and one-hot labels."""
    rng = np.random.default_rng(3)
    x, target = rng.standard_normal(shape), labels(shape, ignored)(rng)
    parts = []
    for image, mask in zip(x, target):
        pixels = mask.reshape(-1)
        kept = pixels != 255
        p = formulas.probabilities(image.reshape(shape[1], -1))[:, kept]
        classes = [1] if shape[1] == 1 else range(shape[1])
        parts.append((p, np.array([pixels[kept] == c for c in classes], float)))
    return nnmed.from_numpy(x), nnmed.from_numpy(target), parts


@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("function", OVERLAP)
def test_overlap_equals_its_formula(function, shape, ignored):
    x, target, parts = example(shape, ignored)
    options = dict(OPTIONS[function], smooth=SMOOTH, ignore_index=255)
    expected = [[OVERLAP[function](*pair) for pair in zip(p, t)] for p, t in parts]
    actual = function(x, target, reduction="none", **options)
    np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(function(x, target, **options).item(), np.mean(expected))
    total = function(x, target, reduction="sum", **options).item()
    np.testing.assert_allclose(total, np.sum(expected))
    whole = [np.concatenate(arrays, 1) for arrays in zip(*parts)]
    expected = [OVERLAP[function](*pair) for pair in zip(*whole)]
    actual = function(x, target, batch=True, reduction="none", **options)
    np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-12)
    column = nnmed.from_numpy(target.numpy()[:, None])
    assert function(x, column, **options).item() == function(x, target, **options).item()


@pytest.mark.parametrize("shape", SHAPES)
def test_squared_dice_equals_its_formula(shape):
    x, target, parts = example(shape)
    actual = dice_loss(x, target, squared_pred=True, smooth=SMOOTH, reduction="none")
    expected = [[formulas.squared_dice(*pair, SMOOTH) for pair in zip(p, t)] for p, t in parts]
    np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_generalized_dice_equals_its_formula(shape, ignored):
    x, target, parts = example(shape, ignored)
    if shape[1] == 1:  # background is the second class
        parts = [(np.concatenate([1 - p, p]), np.concatenate([1 - t, t])) for p, t in parts]
    options = dict(smooth=SMOOTH, ignore_index=255, reduction="none")
    expected = [formulas.generalized_dice(p, t, SMOOTH) for p, t in parts]
    actual = generalized_dice_loss(x, target, **options).numpy()
    np.testing.assert_allclose(actual, expected, rtol=1e-12)
    whole = [np.concatenate(arrays, 1) for arrays in zip(*parts)]
    actual = generalized_dice_loss(x, target, batch=True, **options).item()
    np.testing.assert_allclose(actual, formulas.generalized_dice(*whole, SMOOTH), rtol=1e-12)
    if shape[1] > 1:
        actual = generalized_dice_loss(x, target, include_background=False, **options).numpy()
        expected = [formulas.generalized_dice(p[1:], t[1:], SMOOTH) for p, t in parts]
        np.testing.assert_allclose(actual, expected, rtol=1e-12)


@pytest.mark.parametrize("ignored", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_dice_ce_is_the_sum_of_both(shape, ignored):
    x, target, parts = example(shape, ignored)
    rows = np.concatenate(
        [(p * t).sum(0) if len(p) > 1 else p[0] * t[0] + (1 - p[0]) * (1 - t[0]) for p, t in parts]
    )
    dice = dice_loss(x, target, ignore_index=255).item()
    actual = dice_ce_loss(x, target, lambda_dice=0.5, lambda_ce=2.0, ignore_index=255).item()
    np.testing.assert_allclose(actual, 0.5 * dice - 2 * np.log(rows).mean(), rtol=1e-9)


def test_dice_ce_weights():
    x, target, _ = example((2, 3, 4, 5))
    weight = nnmed.Tensor(np.array([1.0, 2.0, 3.0]))
    actual = dice_ce_loss(x, target, lambda_dice=0.0, weight=weight).item()
    assert actual == pytest.approx(cross_entropy(x, target, weight).item())
    x, target, parts = example((2, 1, 4, 5))
    p, t = (np.concatenate(arrays, 1) for arrays in zip(*parts))
    expected = -(3 * t * np.log(p) + (1 - t) * np.log(1 - p)).mean()
    actual = dice_ce_loss(x, target, lambda_dice=0.0, weight=nnmed.Tensor(np.array([3.0]))).item()
    assert actual == pytest.approx(expected)


@pytest.mark.parametrize("shape", [(2, 1, 3, 4), (2, 3, 2, 3, 2)])
def test_boundary_loss_equals_its_formula(shape):
    x, _, parts = example(shape)
    phi = phi_of(shape)
    expected = np.array([
        [formulas.boundary(p, q) for p, q in zip(image, maps.reshape(shape[1], -1))]
        for (image, _), maps in zip(parts, phi)
    ])  # fmt: skip
    options = dict(reduction="none", include_background=True)
    actual = boundary_loss(x, nnmed.from_numpy(phi), **options).numpy()
    np.testing.assert_allclose(actual, expected, rtol=1e-12)
    foreground = expected[:, 1:] if shape[1] > 1 else expected
    actual = boundary_loss(x, nnmed.from_numpy(phi)).item()
    np.testing.assert_allclose(actual, foreground.mean(), rtol=1e-12)


@pytest.mark.parametrize("function", [dice_loss, tversky_loss, focal_tversky_loss])
def test_an_empty_mask_costs_nothing_if_it_is_predicted_empty(function):
    """And about 1 if it is not; the gradient is that of s / (sum(p) + s)."""
    target = nnmed.from_numpy(np.zeros((1, 2, 2), np.uint8))
    nothing = nnmed.from_numpy(np.full((1, 1, 2, 2), -1000.0)).requires_grad_()
    value = function(nothing, target)
    assert value.item() == 0
    value.backward()
    np.testing.assert_array_equal(nothing.grad.numpy(), np.zeros((1, 1, 2, 2)))
    x = nnmed.from_numpy(np.zeros((1, 1, 2, 2))).requires_grad_()
    assert function(x, target).item() == pytest.approx(1, abs=1e-4)
    value = dice_loss(x, target, smooth=1.0)
    assert value.item() == pytest.approx(1 - 1 / (2 + 1))
    value.backward()
    np.testing.assert_allclose(x.grad.numpy(), np.full((1, 1, 2, 2), 0.25 / 3**2))


def test_generalized_dice_of_an_empty_mask_still_teaches():
    """Background is a class: what is predicted in vain lowers its overlap."""
    x = nnmed.from_numpy(np.zeros((1, 1, 2, 2))).requires_grad_()
    value = generalized_dice_loss(x, nnmed.from_numpy(np.zeros((1, 2, 2), np.uint8)))
    # w = 1 / 16 for both: 1 - 2 (4 * 0.5) / (4 * 1.5 + 4 * 0.5)
    assert value.item() == pytest.approx(0.5, abs=1e-4)
    value.backward()
    assert (x.grad.numpy() > 0.01).all()


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("function", ALL)
def test_where_all_pixels_are_ignored_the_gradient_is_zero(function, classes):
    x = nnmed.from_numpy(np.ones((2, classes, 2, 3), np.float32)).requires_grad_()
    value = function(x, nnmed.from_numpy(np.full((2, 2, 3), 255, np.uint8)), ignore_index=255)
    assert value.item() == pytest.approx(0, abs=1e-6)
    value.backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.zeros(x.shape))


@pytest.mark.parametrize("function", ALL)
def test_a_perfect_prediction_costs_nothing_and_has_a_finite_gradient(function):
    target = np.array([[[0, 1], [1, 0]]])
    x = nnmed.from_numpy(np.where(target[:, None] == 1, 1e3, -1e3)).requires_grad_()
    value = function(x, nnmed.from_numpy(target))
    assert value.item() == 0
    value.backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.zeros(x.shape))


@pytest.mark.parametrize("function", ALL)
def test_channels_stay_last(function):
    x = np.zeros((2, 4, 5, 3), np.float32).transpose(0, 3, 1, 2)
    x = nnmed.from_numpy(x).requires_grad_()
    function(x, nnmed.from_numpy(np.zeros((2, 4, 5), np.int64))).backward()
    assert x.grad.numpy().strides == x.numpy().strides


def test_long_sums_keep_their_digits():
    x = nnmed.from_numpy(np.full((1, 1, 512, 4096), 0.3, np.float32))
    target = np.zeros((1, 512, 4096), np.uint8)
    target[:, :, ::2] = 1
    p = 1 / (1 + math.exp(-0.3))
    expected = 1 - p / (p + 0.5)
    assert dice_loss(x, nnmed.from_numpy(target)).item() == pytest.approx(expected, rel=2e-6)


def test_any_integer_and_bool_are_labels():
    x, target, _ = example((2, 1, 3, 4))
    expected = dice_loss(x, target).item()
    for dtype in (np.uint8, np.int32, bool):
        assert dice_loss(x, nnmed.from_numpy(target.numpy().astype(dtype))).item() == expected


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("function", ALL)
def test_a_later_change_of_the_target_does_not_matter(function, create_graph):
    x, target, _ = example((2, 3, 3, 4))
    x.requires_grad_()
    value = function(x, target)
    (expected,) = nnmed.grad(function(x, target), [x])
    target[...] = 0
    (actual,) = nnmed.grad(value, [x], create_graph=create_graph)
    np.testing.assert_allclose(actual.numpy(), expected.numpy(), rtol=1e-9, atol=1e-12)


def test_bad_arguments():
    x = nnmed.Tensor(np.zeros((2, 1, 3, 4), np.float32))
    target = nnmed.from_numpy(np.zeros((2, 3, 4), np.uint8))
    bad = np.zeros((2, 3, 4), np.uint8)
    bad[1, 2, 3] = 255
    with pytest.raises(UsageError, match=r"the label 255 at \(1, 2, 3\).* mask > 0"):
        dice_loss(x, nnmed.from_numpy(bad))
    with pytest.raises(UsageError, match="3 classes"):
        tversky_loss(nnmed.Tensor(np.zeros((2, 3, 3, 4))), nnmed.from_numpy(np.full((2, 3, 4), 3)))
    with pytest.raises(ShapeError, match="target"):
        dice_loss(x, nnmed.from_numpy(np.zeros((2, 4, 3), np.uint8)))
    with pytest.raises(ShapeError, match="input must be logits"):
        dice_ce_loss(nnmed.Tensor(np.zeros((2, 3))), nnmed.Tensor([0, 1]))
    with pytest.raises(DTypeError, match="integer labels"):
        dice_loss(x, nnmed.Tensor(np.zeros((2, 3, 4), np.float32)))
    with pytest.raises(UsageError, match="alpha and beta"):
        tversky_loss(x, target, alpha=-1.0)
    with pytest.raises(UsageError, match="beta must be a number"):
        tversky_loss(x, target, beta=None)
    with pytest.raises(UsageError, match="gamma"):
        focal_tversky_loss(x, target, gamma=0.0)
    with pytest.raises(ShapeError, match="single logit"):
        dice_ce_loss(x, target, weight=nnmed.Tensor([1.0, 2.0]))
    with pytest.raises(ShapeError, match="distance_map"):
        boundary_loss(x, nnmed.Tensor(np.zeros((2, 2, 3, 4), np.float32)))
    with pytest.raises(DTypeError, match="distance_map"):
        boundary_loss(x, nnmed.Tensor(np.zeros((2, 3, 4))))
    for function in (*OVERLAP, generalized_dice_loss, boundary_loss):
        with pytest.raises(UsageError, match="reduction"):
            function(x, target, reduction="average")
