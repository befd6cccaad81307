"""binary_cross_entropy of probabilities: every op test, exact values on the borders."""

from __future__ import annotations

import math

import numpy as np
import pytest

import nnmed
from nnmed.errors import GradientError, ShapeError, UsageError
from nnmed.ops.binary_cross_entropy import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
)
from tests.op_case import OpCase, op_tests

REDUCTIONS = ("mean", "sum", "none")
WEIGHT = np.random.default_rng(1).uniform(0.5, 2, (3, 1))


def inside(*shape):
    return lambda rng: rng.uniform(0.05, 0.95, shape)


def loss(input, target, weight=None, reduction="mean"):
    """binary_cross_entropy with a constant weight of the input's dtype."""
    weight = None if weight is None else nnmed.Tensor(np.asarray(weight, input.dtype))
    return binary_cross_entropy(input, target, weight, reduction=reduction)


def torch_loss(torch, tensors, kwargs):
    x, kwargs = tensors["input"], dict(kwargs)
    weight = kwargs.pop("weight", None)
    weight = None if weight is None else torch.tensor(np.asarray(weight)).to(x.dtype)
    return torch.nn.functional.binary_cross_entropy(x, tensors["target"], weight, **kwargs)


def _case(shape, label="", **kwargs):
    inputs = dict(input=inside(*shape), target=inside(*shape))
    return OpCase(loss, inputs, kwargs, oracle=torch_loss, label=label or "x".join(map(str, shape)))


CASES = [
    *[_case((2, 3, 4, 5), reduction=r) for r in REDUCTIONS],
    *[_case((3, 4), "weighted", weight=WEIGHT, reduction=r) for r in REDUCTIONS],
    _case((3, 4), "one weight", weight=[2.0]),
    _case(()),
]
TestBCE = op_tests(CASES, family="loss")


@pytest.mark.parametrize("form", ["cpu", "reference"])
@pytest.mark.parametrize(
    ("p", "t", "value", "slope"),
    [
        (0.0, 0.0, 0.0, 1.0),
        (1.0, 1.0, 0.0, -1.0),
        (0.0, 1.0, math.inf, -math.inf),
        (1.0, 0.0, math.inf, math.inf),
        (0.0, 0.5, math.inf, -math.inf),
        (0.25, 0.0, -math.log(0.75), 4 / 3),
        (0.25, 1.0, -math.log(0.25), -4.0),
        (1e-30, 1.0, 30 * math.log(10), -1e30),
        (1e-30, 0.0, 1e-30, 1.0),
    ],
)
def test_the_borders_are_exact(form, p, t, value, slope):
    for create_graph in (False, True):
        with nnmed.use_kernels(loss=form):
            x = nnmed.Tensor([p], requires_grad=True)
            result = binary_cross_entropy(x, nnmed.Tensor([t]))
            (dx,) = nnmed.grad(result, [x], create_graph=create_graph)
        np.testing.assert_allclose(result.item(), value, rtol=1e-6)
        np.testing.assert_allclose(dx.item(), slope, rtol=1e-6)


def test_probabilities_and_logits_agree():
    rng = np.random.default_rng(0)
    x, t = nnmed.from_numpy(rng.standard_normal(70000)), nnmed.from_numpy(rng.uniform(size=70000))
    expected = binary_cross_entropy_with_logits(x, t).item()
    p = nnmed.from_numpy(1 / (1 + np.exp(-x.numpy())))
    np.testing.assert_allclose(binary_cross_entropy(p, t).item(), expected, rtol=1e-12)


def test_one_weight_for_all_elements_in_both_functions():
    x, t = nnmed.Tensor([0.3, 0.6]), nnmed.Tensor([0.0, 1.0])
    for function in (binary_cross_entropy, binary_cross_entropy_with_logits):
        twice = function(x, t, nnmed.Tensor([2.0])).item()
        assert twice == pytest.approx(2 * function(x, t).item(), rel=1e-6)


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_no_probability(value):
    with pytest.raises(UsageError, match="binary_cross_entropy_with_logits"):
        binary_cross_entropy(nnmed.Tensor([0.5, value]), nnmed.Tensor([0.0, 1.0]))


def test_bad_arguments():
    p = nnmed.Tensor([0.5, 0.5])
    with pytest.raises(ShapeError, match="target"):
        binary_cross_entropy(p, nnmed.Tensor([1.0]))
    with pytest.raises(ShapeError, match="weight"):
        binary_cross_entropy(p, p, nnmed.Tensor([1.0, 1.0, 1.0]))
    with pytest.raises(GradientError, match="weight"):
        binary_cross_entropy(p, p, nnmed.Tensor([1.0], requires_grad=True))
    with pytest.raises(UsageError, match="reduction"):
        binary_cross_entropy(p, p, reduction="average")


def test_empty():
    x = nnmed.from_numpy(np.zeros((0, 3), np.float32)).requires_grad_()
    value = binary_cross_entropy(x, nnmed.from_numpy(np.zeros((0, 3), np.float32)))
    assert math.isnan(value.item())
    value.backward()
    assert x.grad.shape == (0, 3)
