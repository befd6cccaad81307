"""nll_loss: every op test over its arguments, ignored rows, bad labels."""

from __future__ import annotations

import math

import numpy as np
import pytest

import nnmed
from nnmed.errors import DTypeError, ShapeError, UsageError
from nnmed.ops.cross_entropy import cross_entropy
from nnmed.ops.nll_loss import nll_loss
from nnmed.ops.softmax import log_softmax
from tests.op_case import OpCase, integers, op_tests

REDUCTIONS = ("mean", "sum", "none")
WEIGHT = np.array([0.5, 2.0, 1.0, 0.0])


def loss(input, target, weighted=False, **kwargs):
    """nll_loss with constant class weights of the input's dtype."""
    weight = nnmed.Tensor(WEIGHT.astype(input.dtype)) if weighted else None
    return nll_loss(input, target, weight, **kwargs)


def torch_loss(torch, tensors, kwargs):
    x, kwargs = tensors["input"], dict(kwargs)
    weight = torch.tensor(WEIGHT).to(x.dtype) if kwargs.pop("weighted", False) else None
    return torch.nn.functional.nll_loss(x, tensors["target"], weight, **kwargs)


def _case(shape, target, **kwargs):
    return OpCase(loss, dict(input=shape, target=target), kwargs, oracle=torch_loss)


def with_ignored(index, *shape):
    def labels(rng):
        target = rng.integers(0, 4, shape)
        target.reshape(-1)[::3] = index
        return target

    return labels


CASES = [
    *[
        _case((7, 4), integers(0, 4, 7), weighted=w, reduction=r)
        for w in (False, True)
        for r in REDUCTIONS
    ],
    *[
        _case((2, 4, 3, 5), with_ignored(-100, 2, 3, 5), weighted=True, reduction=r)
        for r in REDUCTIONS
    ],
    _case((2, 4, 3, 2, 2), with_ignored(3, 2, 3, 2, 2), ignore_index=3),
    _case((2, 4, 3), integers(0, 4, 2, 3)),
    _case((4,), integers(0, 4)),
    _case((4,), integers(0, 4), weighted=True, reduction="none"),
    _case((3, 50), integers(0, 50, 3)),
]
TestNLL = op_tests(CASES, family="loss")


def test_after_log_softmax_it_is_cross_entropy():
    rng = np.random.default_rng(0)
    x = nnmed.from_numpy(rng.standard_normal((40000, 3)))
    target = nnmed.from_numpy(rng.integers(0, 3, 40000))
    np.testing.assert_allclose(
        nll_loss(log_softmax(x, 1), target).item(), cross_entropy(x, target).item(), rtol=1e-12
    )


def test_all_ignored_is_nan_with_a_gradient_of_zero():
    x = nnmed.Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    value = nll_loss(x, nnmed.Tensor([-100, -100]))
    assert math.isnan(value.item())
    value.backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.zeros((2, 3)))


def test_an_ignored_row_may_hold_minus_infinity():
    x = nnmed.Tensor([[-np.inf, -1.0], [-2.0, -3.0]], requires_grad=True)
    value = nll_loss(x, nnmed.Tensor([-100, 1]), reduction="none")
    np.testing.assert_array_equal(value.numpy(), [0, 3])


def test_bad_arguments():
    x = nnmed.Tensor(np.zeros((3, 4), np.float32))
    with pytest.raises(UsageError, match="nll_loss: target holds class index 4"):
        nll_loss(x, nnmed.Tensor([0, 1, 4]))
    with pytest.raises(DTypeError, match="integers"):
        nll_loss(x, nnmed.Tensor([0.0, 1.0, 2.0]))
    with pytest.raises(ShapeError, match="target"):
        nll_loss(x, nnmed.Tensor([0, 1]))
    with pytest.raises(ShapeError, match="weight"):
        nll_loss(x, nnmed.Tensor([0, 1, 2]), nnmed.Tensor([1.0]))
    with pytest.raises(UsageError, match="reduction"):
        nll_loss(x, nnmed.Tensor([0, 1, 2]), reduction="average")
