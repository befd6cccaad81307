"""kl_div, poisson_nll_loss, gaussian_nll_loss: every op test, zeros, bad arguments."""

from __future__ import annotations

import math

import numpy as np
import pytest

import nnmed
from nnmed.errors import DTypeError, ShapeError, UsageError
from nnmed.ops.likelihood_loss import gaussian_nll_loss, kl_div, poisson_nll_loss
from tests.op_case import OpCase, op_tests

REDUCTIONS = ("mean", "sum", "none")


def positive(*shape, low=0.1, high=3.0):
    return lambda rng: rng.uniform(low, high, shape)


def _kl(shape, target=None, **kwargs):
    return OpCase(kl_div, dict(input=shape, target=target or positive(*shape)), kwargs)


def _poisson(**kwargs):
    x = positive(3, 4) if kwargs.get("log_input") is False else (3, 4)
    return OpCase(poisson_nll_loss, dict(input=x, target=positive(3, 4)), kwargs)


def _gaussian(shape, var, **kwargs):
    inputs = dict(input=shape, target=shape, var=positive(*var))
    return OpCase(gaussian_nll_loss, inputs, kwargs, label=f"var {var}")


CASES = [
    *[_kl((3, 4), reduction=r) for r in (*REDUCTIONS, "batchmean")],
    *[_kl((3, 4), (3, 4), reduction=r, log_target=True) for r in (*REDUCTIONS, "batchmean")],
    _kl((), reduction="batchmean"),
    _kl((2, 3, 4), positive(3, 4)),
    *[_poisson(reduction=r) for r in REDUCTIONS],
    _poisson(log_input=False),
    _poisson(full=True),
    _poisson(log_input=False, full=True, eps=0.1),
    *[_gaussian((3, 4), (3, 4), reduction=r) for r in REDUCTIONS],
    _gaussian((3, 4), (3,), full=True),
    _gaussian((2, 3, 4), (2, 1, 4)),
]
TestLikelihood = op_tests(CASES)


def test_a_probability_of_zero_costs_nothing():
    x = nnmed.Tensor([-math.inf, -1.0], requires_grad=True)
    t = nnmed.Tensor([0.0, 1.0], requires_grad=True)
    value = kl_div(x, t, reduction="sum")
    assert value.item() == 1
    value.backward()
    np.testing.assert_array_equal(x.grad.numpy(), [0, -1])
    np.testing.assert_array_equal(t.grad.numpy(), [0, 2])


def test_a_number_is_one_variance_for_all():
    x, t = nnmed.Tensor([1.0, 2.0]), nnmed.Tensor([0.0, 4.0])
    expected = 0.5 * (math.log(2) + np.array([1, 4]) / 2)
    np.testing.assert_allclose(
        gaussian_nll_loss(x, t, 2.0, reduction="none").numpy(), expected, rtol=1e-6
    )


def test_a_variance_of_zero_counts_as_eps():
    var = nnmed.Tensor([0.0, 1.0], requires_grad=True)
    x = nnmed.Tensor([1.0, 1.0])
    value = gaussian_nll_loss(x, nnmed.Tensor([1.0, 1.0]), var, eps=1e-2, reduction="none")
    np.testing.assert_allclose(value.numpy(), [0.5 * math.log(1e-2), 0], rtol=1e-6)
    value.sum().backward()
    np.testing.assert_allclose(var.grad.numpy(), [50, 0.5], rtol=1e-5)


def test_bad_arguments():
    a = nnmed.Tensor(np.ones((3, 4), np.float32))
    with pytest.raises(UsageError, match="'batchmean'"):
        kl_div(a, a, reduction="average")
    with pytest.raises(UsageError, match="reduction"):
        poisson_nll_loss(a, a, reduction="batchmean")
    with pytest.raises(UsageError, match="least value is -1"):
        gaussian_nll_loss(a, a, -a)
    with pytest.raises(UsageError, match="eps"):
        gaussian_nll_loss(a, a, a, eps=0.0)
    with pytest.raises(UsageError, match="eps must be a number"):
        poisson_nll_loss(a, a, eps=None)
    for shape in ((4,), (1, 1), (3, 4, 1)):
        with pytest.raises(ShapeError, match="var"):
            gaussian_nll_loss(a, a, nnmed.Tensor(np.ones(shape, np.float32)))
    with pytest.raises(DTypeError, match="float64"):
        gaussian_nll_loss(a, a, nnmed.Tensor(np.ones((3, 4))))
