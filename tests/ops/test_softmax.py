"""softmax and log_softmax: every op test, default dimensions, extreme logits."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed.errors import DTypeError, ShapeError
from nnmed.ops.softmax import log_softmax, softmax, softmin
from tests.op_case import OpCase, op_tests

BOTH = (softmax, log_softmax)
SHAPES = [((5,), 0), ((4, 3), 1), ((4, 3), 0), ((2, 3, 4, 5), 1), ((2, 3, 4), -1), ((2, 70), 1)]
CASES = [
    *[OpCase(f, dict(input=shape), dict(dim=dim)) for f in BOTH for shape, dim in SHAPES],
    *[OpCase(f, dict(input=()), dict(dim=0)) for f in BOTH],
    OpCase(softmin, dict(input=(2, 3, 4)), dict(dim=1)),
]
TestSoftmax = op_tests(CASES, family="activation")


@pytest.mark.oracle
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 4), (2, 3, 4, 5)])
@pytest.mark.filterwarnings("ignore:Implicit dimension")
def test_default_dim_is_pytorchs(torch, name, shape):
    x = np.random.default_rng(0).standard_normal(shape)
    x = np.asarray(x)
    expected = getattr(torch.nn.functional, name)(torch.tensor(x)).numpy()
    actual = {"softmax": softmax, "log_softmax": log_softmax}[name](nnmed.from_numpy(x))
    np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("function", BOTH)
@pytest.mark.parametrize("classes", [1, 2, 3, 5, 6, 7, 31, 63, 64, 65, 130])
@pytest.mark.parametrize("shift", [0, 500])
def test_rows_of_every_length_equal_the_formula(function, classes, shift):
    """Near 0 and far from it; classes last, first and between in memory."""
    rng = np.random.default_rng(classes)
    for shape, dim in (((70, classes), 1), ((classes, 70), 0), ((3, classes, 2, 5), 1)):
        x = rng.standard_normal(shape) * 3 + shift
        x[(0,) * x.ndim] += 40
        powers = np.exp(x - x.max(dim, keepdims=True))
        expected = powers / powers.sum(dim, keepdims=True)
        if function is log_softmax:
            expected = np.log(expected)
        y = function(nnmed.Tensor(x), dim).numpy()
        np.testing.assert_allclose(y, expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_logsumexp_equals_pytorchs(torch, dim, keepdim):
    values = np.random.default_rng(0).standard_normal((4, 3, 5))
    values[0, 0] = 1000
    values[1, :, 2] = -np.inf
    values[2, 1, 1] = np.inf
    x = nnmed.Tensor(values, requires_grad=True)
    twin = torch.tensor(values, requires_grad=True)
    ours, theirs = x.logsumexp(dim, keepdim), twin.logsumexp(dim, keepdim)
    np.testing.assert_allclose(ours.numpy(), theirs.detach().numpy(), rtol=1e-13)
    finite = nnmed.Tensor(values[3], requires_grad=True)
    assert nnmed.gradcheck(lambda t: nnmed.logsumexp(t, dim, keepdim), [finite])
    assert nnmed.gradgradcheck(lambda t: nnmed.logsumexp(t, dim, keepdim), [finite])


def test_logsumexp_of_float32_and_of_nothing():
    assert nnmed.logsumexp(nnmed.Tensor([1.0, 2.0]), 0).dtype == np.float32
    assert nnmed.logsumexp(nnmed.Tensor(np.zeros((2, 0), np.float32)), 1).tolist() == [-np.inf] * 2
    with pytest.raises(ShapeError, match="dim 1"):
        nnmed.logsumexp(nnmed.Tensor([1.0]), 1)


def test_large_logits_do_not_overflow():
    x = nnmed.Tensor([[1e30, 0.0], [-1e30, -1e30], [0.0, -np.inf]])
    np.testing.assert_array_equal(softmax(x, 1).numpy(), [[1, 0], [0.5, 0.5], [1, 0]])
    assert log_softmax(nnmed.Tensor([[1000.0, 0.0]]), 1).numpy().tolist() == [[0, -1000]]


@pytest.mark.parametrize("function", BOTH)
def test_nan_fills_its_row_only(function):
    y = function(nnmed.Tensor([[np.nan, 0.0], [1.0, 2.0]]), 1).numpy()
    assert np.isnan(y[0]).all()
    assert np.isfinite(y[1]).all()


@pytest.mark.parametrize("shape", [(3, 2, 50, 60), (40, 300, 7), (5000, 2), (2, 100, 30, 30)])
@pytest.mark.parametrize("dim", [0, 1, -1])
def test_many_blocks_equal_the_formula(shape, dim):
    x = np.random.default_rng(0).standard_normal(shape)
    expected = np.exp(x) / np.exp(x).sum(dim, keepdims=True)
    for array in (x, np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)):
        y = softmax(nnmed.from_numpy(array), dim).numpy()
        np.testing.assert_allclose(y, expected, rtol=1e-12)
        assert y.strides == array.strides


@pytest.mark.parametrize("function", BOTH)
@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_empty(function, shape):
    assert function(nnmed.Tensor(np.zeros(shape, np.float32)), 1).shape == shape


def test_dtype_converts_first():
    assert softmax(nnmed.Tensor([1.0, 2.0]), 0, dtype=np.float64).dtype == np.float64


def test_bad_arguments():
    with pytest.raises(ShapeError, match="dim 2"):
        softmax(nnmed.Tensor([[1.0]]), 2)
    with pytest.raises(DTypeError, match="softmax"):
        softmax(nnmed.Tensor([1, 2]), 0)
