"""CUDA resampling, padding and windows against the loops: packs, several blocks, borders."""

from __future__ import annotations

import numpy as np
import pytest

from nnmed.backend.arrays import is_channels_last, to_device
from nnmed.kernels.resample import gpu as on_card
from nnmed.kernels.resample import reference, taps
from nnmed.kernels.resample.windows import Windows

TOLERANCE = {np.float32: dict(rtol=1e-5, atol=1e-5), np.float64: dict(rtol=1e-12, atol=1e-12)}
KINDS = ["nearest", "linear", "cubic", "area", "antialiased"]
MODES = ["constant", "reflect", "replicate", "circular"]
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def normal(dtype, *shape):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def both(name, gpu, *arguments):
    """Return what the card makes, still there, and what the loops make."""
    given = [to_device(a, gpu) if isinstance(a, np.ndarray) else a for a in arguments]
    return getattr(on_card, name)(*given), getattr(reference, name)(*arguments)


def check(name, gpu, *arguments):
    """Compare them, and return the loops' result."""
    got, expected = both(name, gpu, *arguments)
    assert got.dtype == expected.dtype
    tolerance = TOLERANCE.get(expected.dtype.type, {})
    np.testing.assert_allclose(to_device(got, "cpu"), expected, err_msg=name, **tolerance)
    return expected


def taps_of(kind, size, output_size, dtype):
    scale, dtype = size / output_size, np.dtype(dtype)
    if kind == "nearest":
        return taps.nearest_taps(size, output_size, scale, False, dtype)
    if kind == "area":
        return taps.area_taps(size, output_size, dtype)
    if kind == "antialiased":
        return taps.antialiased_taps(size, output_size, scale, "bicubic", dtype)
    make = {"linear": taps.linear_taps, "cubic": taps.cubic_taps}[kind]
    return make(size, output_size, scale, False, dtype)


@dtypes
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 3, 8])
@pytest.mark.parametrize(
    ("sizes", "out"),
    [
        ((1, 1), (1, 1)),
        ((1, 1), (5, 4)),
        ((5, 7), (1, 1)),
        ((5, 7), (10, 3)),
        ((5, 8), (5, 16)),
        ((24,), (48,)),
        ((3, 4, 5), (6, 4, 2)),
    ],
)
def test_interpolate_and_its_transpose(kind, channels, sizes, out, dtype, gpu):
    matrices = tuple(taps_of(kind, *lengths, dtype) for lengths in zip(sizes, out))
    y = check("interpolate", gpu, normal(dtype, 2, channels, *sizes), matrices)
    back = tuple(matrix.T for matrix in matrices)
    check("interpolate", gpu, y, back)
    assert is_channels_last(both("interpolate", gpu, y, back)[0])


@pytest.mark.parametrize("channels", [1, 4])
def test_nan_reaches_only_what_reads_it(channels, gpu):
    matrix = taps_of("linear", 6, 12, np.float64)
    x = normal(np.float64, 2, channels, 6, 6)
    x[0, 0, 2, 3], x[1, 0, 1, 4] = np.nan, np.inf
    for matrices in ((matrix, matrix), (matrix.T, matrix.T)):
        x = check("interpolate", gpu, x, matrices)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.int32, np.uint8, bool])
@pytest.mark.parametrize(
    ("shape", "widths"),
    [
        ((2, 3, 4, 5), ((0, 0), (0, 0), (1, 2), (3, 0))),
        ((2, 8, 4, 5), ((0, 0), (0, 0), (-3, 0), (1, 1))),
        ((5, 3, 4, 5), ((0, 0), (1, 0), (-1, 2), (-2, -1))),
        ((2, 3, 3, 4, 5), ((0, 0), (0, 0), (2, 1), (1, 2), (0, 3))),
        ((2, 4, 6), ((0, 0), (0, 0), (2, 3))),
        ((3, 4), ((0, 0), (2, 1))),
        ((0, 4, 3, 3), ((0, 0), (0, 0), (1, 1), (1, 1))),
    ],
)
def test_pad_and_its_gradient(mode, dtype, shape, widths, gpu):
    value = 7 if mode == "constant" else None
    x = (np.random.default_rng(0).standard_normal(shape) * 100 + 120).astype(dtype)
    got, expected = both("pad", gpu, x, widths, mode, value or 0)
    assert got.dtype == dtype
    np.testing.assert_array_equal(to_device(got, "cpu"), expected)
    assert len(shape) < 4 or is_channels_last(got)
    if expected.dtype.kind == "f":
        check("pad_input_grad", gpu, expected, widths, mode)


@pytest.mark.parametrize(
    ("shape", "widths"),
    [((3,), ((2, 1),)), ((0, 2), ((1, 1), (0, 1))), ((3, 2), ((-3, 2), (1, -2)))],
)
@pytest.mark.parametrize("value", [7, -np.inf, np.nan])
def test_a_constant_pads_every_axis(shape, widths, value, gpu):
    y = check("pad", gpu, normal(np.float64, *shape), widths, "constant", value)
    check("pad_input_grad", gpu, y, widths, "constant")


@dtypes
@pytest.mark.parametrize(
    ("images", "channels", "size", "places"),
    [(2, 1, 11, 50), (2, 7, 11, 50), (3, 8, 9, 120), (1, 4, 1, 1), (0, 3, 5, 4), (1, 300, 2, 7)],
)
def test_sampling_and_its_gradients(images, channels, size, places, dtype, gpu):
    rng = np.random.default_rng(4)
    x, dy = normal(dtype, images, channels, size), normal(dtype, images, channels, places)
    index, weight = rng.integers(-2, size, (4, images, places)), normal(dtype, 4, images, places)
    if size > 1:
        x[:, :, 0] = np.nan  # what lies outside does not read the first pixel
        index[index == 0] = 1
    check("sample", gpu, x, index, weight)
    check("sample_input_grad", gpu, dy, index, weight, size)
    check("sample_weight_grad", gpu, dy, x, index)


def test_the_gradient_of_sampling_has_the_same_bits_again(gpu):
    rng = np.random.default_rng(0)
    dy, weight = normal(np.float32, 2, 4, 900), normal(np.float32, 4, 2, 900)
    given = [to_device(array, gpu) for array in (dy, rng.integers(0, 5, weight.shape), weight)]
    first, again = (to_device(on_card.sample_input_grad(*given, 5), "cpu") for _ in range(2))
    np.testing.assert_array_equal(first, again)


@dtypes
@pytest.mark.parametrize("shape", [(2, 3, 6, 7), (1, 1, 1, 1), (0, 2, 5, 5), (2, 4, 17, 9)])
@pytest.mark.parametrize(
    "windows",
    [
        Windows((2, 2), (1, 1), (1, 1), (1, 1)),
        Windows((3, 2), (2, 1), (2, 1), (1, 3)),
        Windows((1, 1), (1, 1), (3, 0), (2, 2)),
        Windows((2, 3), (1, 2), (1, 2), (3, 2)),
    ],
)
def test_windows_and_back(windows, shape, dtype, gpu):
    y = check("unfold", gpu, normal(dtype, *shape), windows)
    check("fold", gpu, y, windows, shape[2:])


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("interpolate", ((taps_of("linear", 6, 12, np.float32),) * 2,)),
        ("pad", (((0, 0), (0, 0), (1, 1), (2, 2)), "reflect", 0)),
        ("pad_input_grad", (((0, 0), (0, 0), (1, 1), (1, 0)), "reflect")),
    ],
)
def test_arrays_that_begin_anywhere_in_memory(name, arguments, gpu):
    """Four numbers at once must begin at multiples of 16 bytes."""
    x = normal(np.float32, 2, 4, 6, 6)
    flat = to_device(np.append(np.float32(0), np.moveaxis(x, 1, -1)), gpu)
    moved = flat[1:].reshape(2, 6, 6, 4).transpose(0, 3, 1, 2)
    got = to_device(getattr(on_card, name)(moved, *arguments), "cpu")
    expected = getattr(reference, name)(x, *arguments)
    np.testing.assert_allclose(got, expected, **TOLERANCE[np.float32])
