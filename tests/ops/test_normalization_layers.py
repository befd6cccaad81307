"""Layer and RMS normalisation, and division by norms."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed.errors import DTypeError, ShapeError, UsageError
from nnmed.kernels.normalization import layer
from nnmed.ops.layer_normalization import layer_norm, rms_norm
from nnmed.ops.vector_normalization import local_response_norm, normalize
from tests.op_case import OpCase, op_tests, tie_free
from tests.ops.test_normalization import far

LOOSE = dict(rtol=1e-3, atol=1e-4)

CASES = [
    OpCase(layer_norm, dict(input=(3, 2, 5), weight=(5,), bias=(5,)), dict(normalized_shape=(5,))),
    OpCase(layer_norm, dict(input=(3, 4, 5)), dict(normalized_shape=(4, 5), eps=0.1)),
    OpCase(layer_norm, dict(input=(7,), weight=(7,)), dict(normalized_shape=[7])),
    OpCase(layer_norm, dict(input=(3, 5), bias=(5,)), dict(normalized_shape=(5,))),
    OpCase(
        layer_norm,
        dict(input=(2, 3, 4, 2), weight=(3, 4, 2), bias=(3, 4, 2)),
        dict(normalized_shape=(3, 4, 2)),
    ),
    OpCase(
        layer_norm,
        dict(input=far(3, 8), weight=(8,), bias=(8,)),
        dict(normalized_shape=(8,)),
        label="far",
        float32=LOOSE,
    ),
    OpCase(rms_norm, dict(input=(3, 2, 5), weight=(5,)), dict(normalized_shape=(5,))),
    OpCase(rms_norm, dict(input=(3, 4, 5)), dict(normalized_shape=(4, 5), eps=0.1)),
]
TestLayerNorm = op_tests(CASES, family="normalization")

COMPOSED = [
    OpCase(normalize, dict(input=(3, 4, 2))),
    OpCase(normalize, dict(input=(3, 4)), dict(p=1.0, dim=0)),
    OpCase(normalize, dict(input=tie_free(3, 4)), dict(p=float("inf"), dim=-1)),
    OpCase(normalize, dict(input=(3, 4, 2)), dict(p=3.0, dim=(0, 2), eps=10.0)),
    OpCase(normalize, dict(input=tie_free(3, 4)), dict(p=float("-inf"), dim=0)),
    OpCase(normalize, dict(input=tie_free(3, 4)), dict(p=0.0)),
    OpCase(normalize, dict(input=tie_free(3, 4)), dict(p=-1.0, dim=0)),
    OpCase(local_response_norm, dict(input=(2, 5, 3, 2)), dict(size=3, alpha=0.5)),
    OpCase(local_response_norm, dict(input=(2, 3, 4)), dict(size=4, beta=1.5, k=2.0)),
    OpCase(local_response_norm, dict(input=(1, 2, 2, 3, 2)), dict(size=5)),
]
TestNorms = op_tests(COMPOSED)


@pytest.mark.parametrize("mean", [0.0, 100.0, -3000.0, 1e5])
def test_float32_stays_accurate_far_from_zero(mean):
    x = (np.random.default_rng(0).standard_normal((5, 1000)) + mean).astype(np.float32)
    exact = x.astype(np.float64)
    exact = (exact - exact.mean(1, keepdims=True)) / exact.std(1, keepdims=True)
    y = layer_norm(nnmed.Tensor(x), 1000, eps=0.0)
    # The mean itself is rounded to float32.
    np.testing.assert_allclose(y.numpy(), exact, atol=5e-6 + abs(mean) * 2e-7)


@pytest.mark.parametrize("function", [layer_norm, rms_norm])
def test_pieces_do_not_change_a_result(function, monkeypatch):
    x, weight, dy = (np.random.default_rng(0).standard_normal(s) for s in ((7, 6), 6, (7, 6)))

    def run():
        tensors = [nnmed.Tensor(a, requires_grad=True) for a in (x, weight)]
        y = function(tensors[0], 6, tensors[1])
        y.backward(nnmed.Tensor(dy))
        return [y.numpy(), *(t.grad.numpy() for t in tensors)]

    whole = run()
    monkeypatch.setattr(layer, "_PIECE", 12)
    for a, b in zip(run(), whole):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, float("inf")])
def test_a_vector_of_zeros_stays_and_has_a_finite_gradient(p):
    x = nnmed.Tensor(np.array([[0.0, 0.0], [3.0, 4.0]], np.float32), requires_grad=True)
    y = normalize(x, p, eps=0.5)
    assert (y.numpy()[0] == 0).all()
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy()[0], 2.0)
    assert np.isfinite(x.grad.numpy()).all()


@pytest.mark.parametrize("shape", [(0, 4), (3, 0)])
@pytest.mark.parametrize("function", [layer_norm, rms_norm])
def test_empty_input(function, shape):
    x = nnmed.Tensor(np.zeros(shape, np.float32), requires_grad=True)
    y = function(x, shape[1], nnmed.Tensor(np.ones(shape[1], np.float32)))
    y.sum().backward()
    assert y.shape == x.grad.shape == shape


def test_local_response_norm_of_an_empty_batch():
    assert local_response_norm(nnmed.Tensor(np.zeros((0, 3, 4), np.float32)), 3).shape == (0, 3, 4)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x, w: layer_norm(x, 3), ShapeError, "must end in"),
        (lambda x, w: layer_norm(x, ()), ShapeError, "must end in"),
        (lambda x, w: layer_norm(x, 4, eps=None), UsageError, "eps must be a number"),
        (lambda x, w: normalize(x, p="2"), UsageError, "p must be a number"),
        (lambda x, w: layer_norm(x, 4, w), ShapeError, "weight must have shape"),
        (lambda x, w: rms_norm(x, (5, 2, 4)), ShapeError, "must end in"),
        (lambda x, w: layer_norm(x, 4, w.double()), DTypeError, "one dtype"),
        (lambda x, w: local_response_norm(x, 2), ShapeError, "input must be"),
        (lambda x, w: local_response_norm(x[None], 0), UsageError, "size"),
    ],
)
def test_bad_arguments_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call(nnmed.Tensor(np.zeros((2, 4), np.float32)), nnmed.Tensor([1.0, 1.0, 1.0]))


@pytest.mark.parametrize(("offset", "spread", "width"), [(10, 0.015, 3), (1000, 0.1, 8)])
def test_layer_norm_of_rows_whose_mean_is_large(offset, spread, width):
    """What the mean loses when it is rounded is taken from the rows as well."""
    rng = np.random.default_rng(0)
    x = (offset + spread * rng.standard_normal((50, width))).astype(np.float32)
    dy = rng.standard_normal((50, width)).astype(np.float32)
    found = []
    for dtype in (np.float32, np.float64):
        tensor = nnmed.Tensor(x.astype(dtype), requires_grad=True)
        y = layer_norm(tensor, (width,))
        (dx,) = nnmed.grad(y, [tensor], nnmed.Tensor(dy.astype(dtype)))
        found.append((y.numpy(), dx.numpy()))
    for single, double in zip(*found):
        np.testing.assert_allclose(single, double, rtol=0, atol=2e-6 * np.abs(double).max())
