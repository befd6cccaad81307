"""Activation functions: every op test, and their behaviour far out and at NaN."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed.errors import DTypeError, UsageError
from nnmed.ops import activation as A
from tests.op_case import OpCase, op_tests, tie_free

PLAIN = (A.relu, A.leaky_relu, A.elu, A.gelu, A.silu, A.sigmoid, A.tanh, A.erf)


def _torch_erf(torch, tensors, kwargs):
    return torch.erf(tensors["input"])


def _case(function, *shape, **kwargs):
    oracle = _torch_erf if function is A.erf else True
    return OpCase(function, dict(input=tie_free(*shape)), kwargs, oracle=oracle)


CASES = [
    *[_case(function, 2, 3, 4, 5) for function in PLAIN],
    *[_case(function) for function in PLAIN],
    _case(A.leaky_relu, 3, 7, negative_slope=0.3),
    _case(A.leaky_relu, 3, 7, negative_slope=1.5),
    _case(A.leaky_relu, 3, 7, negative_slope=-0.5),
    _case(A.leaky_relu, 3, 7, negative_slope=0.0),
    _case(A.elu, 3, 7, alpha=1.7),
    _case(A.gelu, 2, 3, 4, 5, approximate="tanh"),
]
TestActivation = op_tests(CASES, family="activation")


@pytest.mark.parametrize("function", PLAIN)
def test_many_chunks_equal_few(function):
    x = np.random.default_rng(0).standard_normal((9, 4001)).astype(np.float32)
    whole = function(nnmed.from_numpy(x)).numpy()
    rows = [function(nnmed.from_numpy(row)).numpy() for row in x]
    np.testing.assert_array_equal(whole, rows)


@pytest.mark.parametrize("function", PLAIN)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_far_out_values_and_gradients_are_finite(function, dtype):
    x = nnmed.Tensor(np.array([1e4, 1e30, -1e4, -1e30], dtype), requires_grad=True)
    for create_graph in (False, True):
        y = function(x)
        (dx,) = nnmed.grad(y.sum(), [x], create_graph=create_graph)
        assert np.isfinite(y.numpy()).all()
        assert np.isfinite(dx.numpy()).all()


@pytest.mark.parametrize("function", PLAIN)
def test_nan_stays_nan(function):
    y = function(nnmed.Tensor([np.nan, 1.0])).numpy()
    assert np.isnan(y[0])
    assert not np.isnan(y[1])


def test_relu_gradient_drops_what_is_not_finite():
    x = nnmed.Tensor([-1.0, 0.0, 2.0], requires_grad=True)
    A.relu(x).backward(nnmed.Tensor([np.inf, np.nan, 3.0]))
    np.testing.assert_array_equal(x.grad.numpy(), [0, 0, 3])


@pytest.mark.parametrize("function", PLAIN)
def test_channels_last_memory_is_kept(function):
    x = np.random.default_rng(0).standard_normal((2, 4, 5, 3)).transpose(0, 3, 1, 2)
    t = nnmed.from_numpy(x).requires_grad_()
    y = function(t)
    y.backward(nnmed.from_numpy(np.ones_like(x)))
    assert y.numpy().strides == x.strides
    assert t.grad.numpy().strides == x.strides


@pytest.mark.parametrize("function", PLAIN)
def test_empty_batch(function):
    x = nnmed.Tensor(np.zeros((0, 3), np.float32), requires_grad=True)
    y = function(x)
    y.sum().backward()
    assert y.shape == x.grad.shape == (0, 3)


def test_integers_are_refused():
    with pytest.raises(DTypeError, match=r"relu.*int64"):
        A.relu(nnmed.Tensor([1, 2]))


def test_inplace_is_refused():
    with pytest.raises(UsageError, match="inplace"):
        A.relu(nnmed.Tensor([1.0]), inplace=True)


def test_unknown_approximation_is_refused():
    with pytest.raises(UsageError, match="approximate"):
        A.gelu(nnmed.Tensor([1.0]), approximate="erf")
