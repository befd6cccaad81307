"""Sampling at the places of a grid."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed.backend.arrays import is_channels_last
from nnmed.errors import DTypeError, ShapeError, UsageError
from nnmed.ops.grid_sample import affine_grid, grid_sample
from tests.op_case import OpCase, channels_last, op_tests


def places(*shape):
    """Return a grid that reaches over the edges."""
    return lambda rng: rng.uniform(-1.6, 1.6, shape)


PICTURE = dict(input=(2, 3, 4, 5), grid=places(2, 3, 4, 2))
VOLUME = dict(input=(1, 2, 3, 4, 2), grid=places(1, 2, 2, 3, 3))

CASES = [
    *(
        OpCase(grid_sample, PICTURE, dict(mode=mode, padding_mode=padding, align_corners=aligned))
        for mode in ("bilinear", "nearest", "bicubic")
        for padding in ("zeros", "border", "reflection")
        for aligned in (False, True)
    ),
    *(
        OpCase(grid_sample, VOLUME, dict(mode=mode, padding_mode=padding, align_corners=aligned))
        for mode, padding, aligned in (
            ("bilinear", "zeros", False),
            ("bilinear", "reflection", True),
            ("bilinear", "border", False),
            ("nearest", "zeros", True),
        )
    ),
    OpCase(
        grid_sample,
        dict(input=(1, 1, 1, 1), grid=places(1, 2, 2, 2)),
        dict(padding_mode="reflection", align_corners=True),
    ),
    OpCase(affine_grid, dict(theta=(2, 2, 3)), dict(size=(2, 1, 3, 4))),
    OpCase(affine_grid, dict(theta=(2, 2, 3)), dict(size=(2, 1, 1, 4), align_corners=True)),
    OpCase(affine_grid, dict(theta=(1, 3, 4)), dict(size=(1, 2, 3, 1, 2), align_corners=False)),
]

TestGridSample = op_tests(CASES, family="resample")


@pytest.mark.oracle
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("align_corners", [False, True])
def test_places_on_pixels_edges_and_far_away(mode, padding_mode, align_corners, torch):
    x = np.random.default_rng(3).standard_normal((1, 2, 4, 4))
    line = np.linspace(-3, 3, 97)  # on centres, between them, on edges, on mirrors
    if padding_mode != "reflection":
        line = np.concatenate([line, [-1e4, 1e4, -1e30, 1e30]])
    grid = np.stack(np.meshgrid(line, line), axis=-1)[None]
    options = dict(mode=mode, padding_mode=padding_mode, align_corners=align_corners)
    y = grid_sample(nnmed.Tensor(x), nnmed.Tensor(grid), **options)
    expected = torch.nn.functional.grid_sample(torch.tensor(x), torch.tensor(grid), **options)
    np.testing.assert_allclose(y.numpy(), expected.numpy(), atol=1e-9)


@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_any_grid_gives_finite_samples_and_gradients(mode, padding_mode):
    wild = np.array([np.nan, np.inf, -np.inf, 3e38, -1e20, 0.0])
    grid = np.stack(np.meshgrid(wild, wild), axis=-1)[None].astype(np.float32)
    x = nnmed.Tensor(np.arange(12, dtype=np.float32).reshape(1, 1, 3, 4), requires_grad=True)
    grid = nnmed.Tensor(grid, requires_grad=True)
    y = grid_sample(x, grid, mode, padding_mode)
    y.sum().backward()
    for array in (y.numpy(), x.grad.numpy(), grid.grad.numpy()):
        assert np.isfinite(array).all()
    least = grid_sample(x, nnmed.Tensor(np.full((1, 1, 1, 2), -1, np.float32)), mode, padding_mode)
    assert y.numpy()[0, 0, 0, 0] == least.numpy()[0, 0, 0, 0]


def test_nan_outside_is_not_read():
    x = np.full((1, 1, 2, 2), np.nan)
    x[0, 0, 1, 1] = 5
    corner = nnmed.Tensor(np.array([[[[1.5, 1.5], [9.0, 9.0]]]]))
    y = grid_sample(nnmed.Tensor(x), corner, align_corners=True)
    np.testing.assert_allclose(y.numpy(), [[[[5 * 0.75**2, 0]]]])


def test_the_identity_and_a_flip():
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 4)).astype(np.float32)
    same = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    flip = np.array([[-1, 0, 0], [0, 1, 0]], np.float32)
    grid = affine_grid(nnmed.Tensor(np.stack([same, flip])), x.shape)
    y = grid_sample(nnmed.Tensor(x), grid).numpy()
    np.testing.assert_allclose(y[0], x[0], atol=1e-5)
    np.testing.assert_allclose(y[1], x[1, :, :, ::-1], atol=1e-5)


def test_layout_and_empty_batch():
    x = nnmed.from_numpy(channels_last(np.ones((2, 3, 4, 4), np.float32))).requires_grad_(True)
    grid = nnmed.Tensor(np.zeros((2, 5, 6, 2), np.float32))
    y = grid_sample(x, grid)
    y.backward(nnmed.from_numpy(channels_last(np.ones(y.shape, np.float32))))
    assert is_channels_last(y._array)
    assert is_channels_last(x.grad._array)
    assert grid_sample(x[:0], grid[:0]).shape == (0, 3, 5, 6)
    assert grid_sample(x, grid[:, :0]).shape == (2, 3, 0, 6)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x, g: grid_sample(x, g, mode="cubic"), UsageError, "mode"),
        (lambda x, g: grid_sample(x, g, padding_mode="wrap"), UsageError, "padding_mode"),
        (lambda x, g: grid_sample(x[0], g), ShapeError, "expected input"),
        (lambda x, g: grid_sample(x, g[:1]), ShapeError, "expected input"),
        (lambda x, g: grid_sample(x, g[..., :1]), ShapeError, "expected input"),
        (lambda x, g: grid_sample(x, g.double()), DTypeError, "one dtype"),
        (lambda x, g: grid_sample(x.long(), g), DTypeError, "float"),
        (
            lambda x, g: grid_sample(
                nnmed.Tensor(np.zeros((2, 1, 2, 2, 2), np.float32)),
                nnmed.Tensor(np.zeros((2, 1, 1, 1, 3), np.float32)),
                mode="bicubic",
            ),
            UsageError,
            "pictures only",
        ),
        (lambda x, g: affine_grid(x[0, :, :2, :3], (3, 1, 4, 4)), ShapeError, "theta must be"),
        (lambda x, g: affine_grid(x[0, :, :2, :3], (2, 4, 4)), ShapeError, "size must be"),
        (lambda x, g: affine_grid(x[0, :, :2, :3], 4), UsageError, "size must be a sequence"),
        (lambda x, g: affine_grid(x[0, :, :2, :3], (2, 1, 0, 4)), ShapeError, "size must be"),
    ],
)
def test_bad_arguments_are_named(call, error, words):
    x = nnmed.Tensor(np.zeros((2, 2, 4, 4), np.float32))
    with pytest.raises(error, match=words):
        call(x, nnmed.Tensor(np.zeros((2, 3, 3, 2), np.float32)))
