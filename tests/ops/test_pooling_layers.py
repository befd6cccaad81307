"""Pooling layers against those of PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed import nn

SIZES = {"1": (2, 3, 9), "2": (2, 3, 7, 8), "3": (2, 3, 5, 6, 7)}
LAYERS = [
    ("MaxPool", (2,), {}),
    ("MaxPool", (3, 2, 1), dict(ceil_mode=True)),
    ("MaxPool", (2,), dict(stride=1, dilation=2)),
    ("AvgPool", (2,), {}),
    ("AvgPool", (3, 2, 1, True, False), {}),
    ("LPPool", (2, 3), dict(stride=2, ceil_mode=True)),
    ("AdaptiveAvgPool", (3,), {}),
    ("AdaptiveMaxPool", (2,), {}),
]


@pytest.mark.oracle
@pytest.mark.parametrize("dims", "123")
@pytest.mark.parametrize(("name", "arguments", "options"), LAYERS)
def test_a_layer_computes_and_prints_as_in_pytorch(name, arguments, options, dims, torch):
    x = np.random.default_rng(0).random(SIZES[dims], np.float32)
    ours, theirs = (
        getattr(module, f"{name}{dims}d")(*arguments, **options) for module in (nn, torch.nn)
    )
    expected = theirs(torch.tensor(x)).numpy()
    np.testing.assert_allclose(ours(nnmed.Tensor(x)).numpy(), expected, rtol=1e-5)
    if name != "AvgPool":  # PyTorch prints the numbers of AvgPool1d as tuples
        assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("dims", "123")
@pytest.mark.parametrize("name", ["MaxPool", "AdaptiveMaxPool"])
def test_a_layer_returns_the_positions_of_maxima(name, dims):
    x = np.random.default_rng(0).random(SIZES[dims], np.float32)
    layer = getattr(nn, f"{name}{dims}d")(2, return_indices=True)
    values, indices = layer(nnmed.Tensor(x))
    flat = np.take_along_axis(x.reshape(2, 3, -1), indices.numpy().reshape(2, 3, -1), axis=2)
    np.testing.assert_array_equal(flat.reshape(values.shape), values.numpy())


@pytest.mark.parametrize("dims", "123")
def test_unpooling_puts_maxima_back(dims):
    x = nnmed.Tensor(np.random.default_rng(0).random(SIZES[dims], np.float32))
    values, indices = getattr(nn, f"MaxPool{dims}d")(2, return_indices=True)(x)
    back = getattr(nn, f"MaxUnpool{dims}d")(2)(values, indices, output_size=x.shape)
    assert back.shape == x.shape
    np.testing.assert_array_equal(
        np.sort(back.numpy()[back.numpy() > 0]), np.sort(values.numpy().ravel())
    )


def test_average_with_another_divisor():
    x = nnmed.Tensor(np.ones((1, 1, 2, 2, 2), np.float32))
    assert nn.AvgPool3d(2, divisor_override=16)(x).item() == 0.5
