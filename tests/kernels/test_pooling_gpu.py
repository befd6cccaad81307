"""CUDA pooling against the loops, where packs of channels, blocks and borders meet."""

from __future__ import annotations

import numpy as np
import pytest

from nnmed.backend.arrays import is_channels_last, to_device
from nnmed.kernels.pooling import gpu as on_card
from nnmed.kernels.pooling import reference

# (N, C, H, W): packs of four channels and others, one pixel, several blocks, no image
SHAPES = [(2, 3, 11, 13), (2, 8, 12, 10), (1, 1, 1, 1), (3, 4, 1, 7), (2, 33, 6, 5), (0, 4, 5, 5)]
# kernel, stride, padding, dilation
WINDOWS = [
    ((2, 2), (2, 2), (0, 0), (1, 1)),
    ((3, 3), (2, 2), (1, 1), (1, 1)),
    ((3, 2), (1, 3), (1, 0), (2, 1)),
    ((3, 3), (2, 1), (1, 1), (2, 3)),
    ((2, 3), (4, 5), (0, 1), (1, 1)),
    ((1, 1), (3, 3), (0, 0), (1, 1)),
    ((9, 9), (2, 3), (4, 4), (1, 1)),
    ((17, 18), (3, 2), (8, 9), (1, 1)),
]
TOLERANCE = {np.float32: dict(rtol=1e-5, atol=1e-5), np.float64: dict(rtol=1e-12, atol=1e-12)}
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
shapes = pytest.mark.parametrize("shape", SHAPES)


def output_size(size, kernel, stride, padding, dilation, up):
    """Return how many windows fit; rounded up, the last one may reach over the edge."""
    counts = []
    for n, k, s, p, d in zip(size, kernel, stride, padding, dilation):
        room = n + 2 * p - (k - 1) * d - 1
        count = (-(-room // s) if up else room // s) + 1
        counts.append(count - (up and (count - 1) * s >= n + p))
    return tuple(counts)


def layers():
    """Yield shape, windows and output size wherever a window fits and touches the picture."""
    for shape in SHAPES:
        for windows in WINDOWS:
            for up in (False, True):
                size = output_size(shape[2:], *windows, up)
                if min(size) > 0 and (windows[3] == (1, 1) or min(shape[2:]) > 4):
                    yield shape, windows, size


def normal(dtype, *shape):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def both(name, gpu, *arguments):
    """Return what the card makes, on the host, and what the loops make."""
    results = []
    for module, device in ((on_card, gpu), (reference, "cpu")):
        given = [to_device(a, device) if isinstance(a, np.ndarray) else a for a in arguments]
        made = getattr(module, name)(*given)
        made = made if isinstance(made, tuple) else (made,)
        if module is on_card:
            assert all(is_channels_last(a) for a in made if a is not None)
        results.append([None if a is None else to_device(a, "cpu") for a in made])
    return results


def check(name, gpu, dtype, *arguments):
    for got, expected in zip(*both(name, gpu, *arguments), strict=True):
        assert got.dtype == expected.dtype
        np.testing.assert_allclose(got, expected, err_msg=name, **TOLERANCE[dtype])


@dtypes
@pytest.mark.parametrize("special", [None, np.nan, -np.inf])
def test_max_pool_codes_and_gradient(special, dtype, gpu):
    rng = np.random.default_rng(1)
    for shape, windows, size in layers():
        x = rng.integers(-2, 3, shape).astype(dtype)  # full of ties
        if special is not None:
            x[rng.random(shape) < 0.4] = special
        (y, codes), (expected, expected_codes) = both("max_pool2d", gpu, x, *windows, size)
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(codes, expected_codes)
        assert codes.itemsize == (1 if np.prod(windows[0]) <= 256 else 2)
        y, none = on_card.max_pool2d(to_device(x, gpu), *windows, size, need_codes=False)
        assert none is None
        np.testing.assert_array_equal(to_device(y, "cpu"), expected)
        indices, expected = both("max_pool2d_indices", gpu, codes, shape[2:], *windows)
        np.testing.assert_array_equal(indices, expected)
        dy = normal(dtype, *codes.shape)
        check("max_pool2d_input_grad", gpu, dtype, dy, codes, shape[2:], *windows)


def test_max_pool_of_a_window_with_many_cells(gpu):
    """Its codes take four bytes."""
    x, windows = normal(np.float32, 1, 1, 260, 260), ((256, 257), (2, 2), (0, 0), (1, 1))
    y, codes = (
        to_device(a, "cpu") for a in on_card.max_pool2d(to_device(x, gpu), *windows, (3, 2))
    )
    assert codes.dtype == np.uint32
    for i, j in np.ndindex(3, 2):
        window = x[0, 0, 2 * i : 2 * i + 256, 2 * j : 2 * j + 257]
        assert y[0, 0, i, j] == window.max()
        assert codes[0, 0, i, j] == window.argmax()
    check("max_pool2d_input_grad", gpu, np.float32, y, codes, (260, 260), *windows)


@dtypes
@pytest.mark.parametrize("divisor", [(True, None), (False, None), (True, 3)])
def test_average_pool_and_gradient(divisor, dtype, gpu):
    for shape, (kernel, stride, padding, dilation), size in layers():
        if dilation == (1, 1):
            windows = kernel, stride, padding
            check("avg_pool2d", gpu, dtype, normal(dtype, *shape), *windows, size, *divisor)
            dy = normal(dtype, *shape[:2], *size)
            check("avg_pool2d_input_grad", gpu, dtype, dy, shape[2:], *windows, *divisor)


@dtypes
@shapes
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (1, 4), (7, 7), (25, 30)])
def test_adaptive_pools_and_gradient(size, shape, dtype, gpu):
    x = np.round(normal(dtype, *shape))
    check("adaptive_avg_pool2d", gpu, dtype, x, size)
    check("adaptive_avg_pool2d_input_grad", gpu, dtype, normal(dtype, *shape[:2], *size), shape[2:])
    check("adaptive_max_pool2d", gpu, dtype, x, size)
    x[np.random.default_rng(1).random(shape) < 0.3] = np.nan
    check("adaptive_max_pool2d", gpu, dtype, x, size)


@dtypes
@pytest.mark.parametrize("shape", [(1, 2, 70, 71), (2, 40, 30, 31), (3, 1, 1, 1000)])
def test_means_of_whole_pictures_in_several_parts(shape, dtype, gpu):
    x = normal(dtype, *shape) + 100
    check("adaptive_avg_pool2d", gpu, dtype, x, (1, 1))


@dtypes
@shapes
def test_values_at_positions_that_repeat(shape, dtype, gpu):
    size = 3, 4
    values = normal(dtype, *shape)
    indices = np.random.default_rng(2).integers(0, 12, shape)
    for name in ("scatter_plane", "place_plane"):
        check(name, gpu, dtype, values, indices, size)
    check("gather_plane", gpu, dtype, normal(dtype, *shape[:2], *size), indices)
    whole = np.random.default_rng(3).integers(-9, 9, (*shape[:2], *size))
    check("gather_plane", gpu, dtype, whole, indices)


def test_arrays_that_begin_anywhere_in_memory(gpu):
    """Four numbers at once must begin at multiples of 16 bytes."""
    x, windows = normal(np.float32, 2, 4, 6, 5), WINDOWS[1]
    flat = to_device(np.append(np.float32(0), np.moveaxis(x, 1, -1)), gpu)
    moved = flat[1:].reshape(2, 6, 5, 4).transpose(0, 3, 1, 2)
    assert is_channels_last(moved)
    y, codes = on_card.max_pool2d(moved, *windows, (3, 3))
    expected, expected_codes = reference.max_pool2d(x, *windows, (3, 3))
    np.testing.assert_array_equal(to_device(y, "cpu"), expected)
    np.testing.assert_array_equal(to_device(codes, "cpu"), expected_codes)
