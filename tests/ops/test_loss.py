"""Losses between pairs: every op test, extreme logits, bad arguments."""

from __future__ import annotations

import math

import numpy as np
import pytest

import nnmed
from nnmed.errors import DTypeError, GradientError, ShapeError, UsageError
from nnmed.ops.binary_cross_entropy import binary_cross_entropy_with_logits
from nnmed.ops.loss import (
    huber_loss,
    l1_loss,
    mse_loss,
    smooth_l1_loss,
)
from tests.op_case import OpCase, op_tests

REDUCTIONS = ("mean", "sum", "none")


def probabilities(*shape):
    return lambda rng: rng.uniform(0.05, 0.95, shape)


def constant(*shape):
    """Positive weights, which the losses do not differentiate."""
    return np.random.default_rng(1).uniform(0.5, 2, shape)


def _pairs(function, **kwargs):
    shape = (2, 3, 4, 5)
    for reduction in REDUCTIONS:
        inputs = dict(input=shape, target=shape)
        yield OpCase(function, inputs, dict(reduction=reduction, **kwargs))


def bce(input, target, weight=None, pos_weight=None, reduction="mean"):
    """The loss with constant weights of the input's dtype."""
    weights = [
        None if w is None else nnmed.Tensor(np.asarray(w, input.dtype))
        for w in (weight, pos_weight)
    ]
    return binary_cross_entropy_with_logits(
        input, target, weights[0], reduction=reduction, pos_weight=weights[1]
    )


def torch_bce(torch, tensors, kwargs):
    x = tensors["input"]
    kwargs = {
        k: v if isinstance(v, str) else torch.tensor(np.asarray(v)).to(x.dtype)
        for k, v in kwargs.items()
    }
    function = torch.nn.functional.binary_cross_entropy_with_logits
    return function(x, tensors["target"], **kwargs)


def _bce(shape, label, **kwargs):
    inputs = dict(input=shape, target=probabilities(*shape))
    return OpCase(bce, inputs, kwargs, oracle=torch_bce, label=label)


CASES = [
    *_pairs(mse_loss),
    *_pairs(l1_loss),
    *_pairs(smooth_l1_loss),
    *_pairs(smooth_l1_loss, beta=0.3),
    *_pairs(smooth_l1_loss, beta=0.0),
    *_pairs(huber_loss),
    *_pairs(huber_loss, delta=0.3),
    OpCase(huber_loss, dict(input=(3, 4), target=(3, 4), weight=(3, 4)), dict(delta=0.5)),
    *[OpCase(f, dict(input=(), target=())) for f in (mse_loss, l1_loss, smooth_l1_loss)],
    OpCase(mse_loss, dict(input=(3, 4), target=(3, 4), weight=(3, 4)), label="weighted"),
    OpCase(l1_loss, dict(input=(3, 4), target=(3, 4), weight=(3, 4)), label="weighted"),
    OpCase(mse_loss, dict(input=(3, 4), target=(3, 4), weight=(3, 4)), dict(reduction="none")),
    OpCase(l1_loss, dict(input=(3, 4), target=(3, 4), weight=(3, 4)), dict(reduction="sum")),
    *[_bce((2, 3, 4, 5), "plain", reduction=reduction) for reduction in REDUCTIONS],
    _bce((), "plain"),
    _bce((6,), "scalar pos_weight", pos_weight=3.0),
    _bce((4, 3), "pos_weight", pos_weight=constant(3)),
    _bce((4, 3), "weight", weight=constant(4, 1), reduction="sum"),
    _bce((2, 3, 4, 5), "both", weight=constant(2, 1, 4, 5), pos_weight=constant(3, 1, 1)),
    _bce((4, 3), "both", weight=constant(4, 3), pos_weight=constant(3), reduction="none"),
]
TestLoss = op_tests(CASES, family="loss")

ALL = (mse_loss, l1_loss, smooth_l1_loss, huber_loss, binary_cross_entropy_with_logits)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("logit", "target"), [(40.0, 1.0), (-40.0, 0.0)])
def test_bce_of_sure_and_right_is_tiny_and_not_zero(dtype, logit, target):
    x = nnmed.Tensor(np.array([logit], dtype), requires_grad=True)
    loss = binary_cross_entropy_with_logits(x, nnmed.Tensor(np.array([target], dtype)))
    loss.backward()
    np.testing.assert_allclose(loss.item(), math.exp(-40), rtol=1e-6)
    np.testing.assert_allclose(abs(x.grad.item()), math.exp(-40), rtol=1e-6)


@pytest.mark.parametrize(("logit", "target"), [(1e30, 0.0), (-1e30, 1.0)])
def test_bce_of_sure_and_wrong_keeps_its_gradient(logit, target):
    x = nnmed.Tensor([logit], requires_grad=True)
    loss = binary_cross_entropy_with_logits(x, nnmed.Tensor([target]))
    loss.backward()
    assert loss.item() == np.float32(1e30)
    assert x.grad.item() == np.sign(logit)


def test_bce_second_derivative_at_zero_logits():
    """The mixed derivative by logit and target is -1 / n everywhere, also at 0."""
    x = nnmed.Tensor(np.zeros(4), requires_grad=True)
    t = nnmed.Tensor(np.full(4, 0.5), requires_grad=True)
    pos_weight = nnmed.Tensor(np.array([1.0, 2.0, 3.0, 4.0]))
    loss = binary_cross_entropy_with_logits(x, t, pos_weight=pos_weight)
    (dt,) = nnmed.grad(loss, [t], create_graph=True)
    (mixed,) = nnmed.grad(dt.sum(), [x])
    np.testing.assert_allclose(mixed.numpy(), -(1 + pos_weight.numpy()) / 2 / 4)


@pytest.mark.parametrize("function", ALL)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_empty(function, reduction):
    x = nnmed.Tensor(np.zeros((0, 3), np.float32), requires_grad=True)
    loss = function(x, nnmed.Tensor(np.zeros((0, 3), np.float32)), reduction=reduction)
    expected = {"mean": np.float32(np.nan), "sum": np.float32(0), "none": np.zeros((0, 3))}
    np.testing.assert_array_equal(loss.numpy(), expected[reduction])
    loss.sum().backward()
    assert x.grad.shape == (0, 3)


@pytest.mark.parametrize("function", ALL)
def test_long_sums_keep_float32s_digits(function):
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((2, 1_000_000)), rng.uniform(size=(2, 1_000_000))
    exact = function(nnmed.from_numpy(x), nnmed.from_numpy(t)).item()
    short = function(nnmed.Tensor(x.astype(np.float32)), nnmed.Tensor(t.astype(np.float32)))
    assert short.dtype == np.float32
    np.testing.assert_allclose(short.item(), exact, rtol=2e-7)


@pytest.mark.parametrize("function", ALL)
def test_nan_reaches_the_loss(function):
    assert math.isnan(function(nnmed.Tensor([np.nan, 1.0]), nnmed.Tensor([0.0, 1.0])).item())


def test_shapes_that_differ_are_broadcast_with_a_warning():
    x, t = nnmed.Tensor(np.ones((4, 1), np.float32)), nnmed.Tensor(np.zeros(3, np.float32))
    x.requires_grad = True
    with pytest.warns(UserWarning, match=r"\(3,\) and input \(4, 1\)"):
        loss = mse_loss(x, t, reduction="none")
    assert loss.shape == (4, 3)
    loss.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.full((4, 1), 6))


def test_bad_arguments():
    a, b = nnmed.Tensor(np.ones((4, 2), np.float32)), nnmed.Tensor(np.ones(3, np.float32))
    with pytest.raises(ShapeError, match="do not fit"):
        mse_loss(a, b)
    with pytest.raises(ShapeError, match="weight"):
        mse_loss(a, a, weight=b)
    with pytest.raises(ShapeError, match="target"):
        binary_cross_entropy_with_logits(a, b)
    with pytest.raises(ShapeError, match="pos_weight"):
        binary_cross_entropy_with_logits(a, a, pos_weight=b)
    with pytest.raises(UsageError, match="reduction"):
        l1_loss(a, a, reduction="avg")
    with pytest.raises(UsageError, match="beta"):
        smooth_l1_loss(a, a, beta=-1.0)
    with pytest.raises(UsageError, match="delta"):
        huber_loss(a, a, delta=0.0)
    with pytest.raises(UsageError, match="finite"):
        huber_loss(a, a, delta=np.inf)
    with pytest.raises(UsageError, match="delta must be a number"):
        huber_loss(a, a, delta=[1.0])
    with pytest.raises(UsageError, match="beta must be a number"):
        smooth_l1_loss(a, a, beta=None)
    with pytest.raises(DTypeError, match="int64"):
        binary_cross_entropy_with_logits(b, nnmed.Tensor([0, 1, 1]))
    with pytest.raises(GradientError, match="pos_weight"):
        binary_cross_entropy_with_logits(b, b, pos_weight=nnmed.Tensor([1.0], requires_grad=True))


def test_every_row_of_a_column_is_not_every_pair():
    """(N, 1) logits with (N,) targets would silently make an (N, N) loss."""
    with pytest.raises(ShapeError):
        binary_cross_entropy_with_logits(
            nnmed.Tensor(np.zeros((3, 1), np.float32)), nnmed.Tensor(np.zeros(3, np.float32))
        )


def test_l1_gradient_at_its_kink():
    """Where prediction and target agree, the absolute error has gradient 0."""
    x = nnmed.Tensor([1.0, 2.0, 3.0], requires_grad=True)
    l1_loss(x, nnmed.Tensor([1.0, 5.0, 0.0]), reduction="sum").backward()
    np.testing.assert_array_equal(x.grad.numpy(), [0, -1, 1])


@pytest.mark.parametrize("function", ALL)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_a_second_backward_gives_the_same_gradient(function, reduction):
    """The first one takes the gradient that came with the value."""
    x = nnmed.Tensor([[0.5, -1.0], [2.0, 0.0]], requires_grad=True)
    value = function(x, nnmed.Tensor([[0.2, 0.3], [1.0, 0.9]]), reduction=reduction)
    dy = nnmed.from_numpy(np.full(value.shape, 3.0, np.float32))
    first, second = (nnmed.grad(value, [x], dy, retain_graph=True)[0] for _ in range(2))
    np.testing.assert_array_equal(first.numpy(), second.numpy())
    value.backward(dy)
    np.testing.assert_array_equal(x.grad.numpy(), first.numpy())
