"""Fast resampling kernels against the loops, in blocks of a few rows."""

from __future__ import annotations

import numpy as np
import pytest

from nnmed.kernels import blocks
from nnmed.kernels.resample import cpu, cpu_interpolate, cpu_pad, cpu_sample, reference
from nnmed.kernels.resample.taps import (
    Taps,
    antialiased_taps,
    area_taps,
    cubic_taps,
    linear_taps,
    nearest_taps,
)
from nnmed.kernels.resample.windows import Windows

DTYPE = np.dtype(np.float64)
KINDS = ["nearest", "linear", "cubic", "area", "antialiased"]
SIZES = [(1, 1), (1, 4), (9, 1), (5, 12), (12, 5), (7, 7), (6, 12), (12, 6), (40, 80), (36, 12)]


@pytest.fixture(autouse=True, params=[40, blocks.BLOCK], ids=["small-blocks", "usual-blocks"])
def block_size(request, monkeypatch):
    monkeypatch.setattr(cpu_interpolate, "PIECE", request.param)
    monkeypatch.setattr(cpu_pad, "BLOCK", request.param)
    monkeypatch.setattr(cpu_sample, "BLOCK", request.param)


def taps_of(kind, size, output_size):
    scale = size / output_size
    if kind == "nearest":
        return nearest_taps(size, output_size, scale, False, DTYPE)
    if kind == "area":
        return area_taps(size, output_size, DTYPE)
    if kind == "antialiased":
        return antialiased_taps(size, output_size, scale, "bicubic", DTYPE)
    return {"linear": linear_taps, "cubic": cubic_taps}[kind](
        size, output_size, scale, False, DTYPE
    )


def matrix(taps):
    result = np.zeros((len(taps), taps.size))
    np.add.at(result, (np.arange(len(taps))[:, None], taps.index), taps.weight)
    return result


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [3, 300])
@pytest.mark.parametrize(
    ("sizes", "out"),
    [
        ((5, 7), (1, 1)),
        ((5, 7), (4, 17)),
        ((5, 7), (10, 14)),
        ((6, 8), (3, 16)),
        ((5, 7), (5, 7)),
        ((24,), (48,)),
        ((24,), (8,)),
        ((6, 7, 8), (12, 7, 4)),
    ],
)
def test_interpolate_and_its_transpose_equal_loops(kind, channels, sizes, out):
    rng = np.random.default_rng(4)
    taps = tuple(taps_of(kind, *lengths) for lengths in zip(sizes, out))
    x = rng.standard_normal((2, channels, *sizes))
    y, expected = (kernel.interpolate(x, taps) for kernel in (cpu, reference))
    np.testing.assert_allclose(y, expected, atol=1e-13)
    back = tuple(t.T for t in taps)
    dx, expected = (kernel.interpolate(y, back) for kernel in (cpu, reference))
    np.testing.assert_allclose(dx, expected, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("size", "output_size"), SIZES)
def test_transposed_taps_make_the_transposed_matrix(kind, size, output_size):
    taps = taps_of(kind, size, output_size)
    np.testing.assert_allclose(matrix(taps.T), matrix(taps).T)
    np.testing.assert_allclose(matrix(taps).sum(axis=1), 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("size", "output_size"), SIZES)
def test_bands_make_the_matrix(kind, size, output_size):
    taps = taps_of(kind, size, output_size)
    for t in (taps, taps.T):
        result = np.zeros((len(t), t.size))
        for group in t.band.groups:
            _, step, inputs = group.matrices.shape
            for number, (first, block) in enumerate(zip(group.first, group.matrices)):
                start = group.start + number * step
                result[start : start + step, first : first + inputs] += block
        np.testing.assert_allclose(result, matrix(t))


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_nan_reaches_only_what_reads_it(channels):
    taps = taps_of("linear", 12, 24)
    x = np.random.default_rng(4).standard_normal((2, channels, 12, 12))
    expected = reference.interpolate(x, (taps, taps))
    x[0, 0, 5, 6], x[1, 0, 3, 8] = np.nan, np.inf
    with np.errstate(all="raise"):
        y = cpu.interpolate(x, (taps, taps))
    expected[0, 0, 9:13, 11:15], expected[1, 0, 5:9, 15:19] = np.nan, np.inf
    np.testing.assert_allclose(y, expected, atol=1e-14)


def test_irregular_taps_of_nothing_are_zero():
    index, weight = np.array([[0], [3], [1], [1], [0]]), np.array([[0.0], [1], [2], [0], [0.5]])
    x = np.array([[[np.nan, 2.0, 3.0, 4.0]]])
    y = cpu.interpolate(x, (Taps(index, weight, 4),))
    np.testing.assert_array_equal(y, [[[0, 4, 4, 0, np.nan]]])


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize(
    ("shape", "widths"),
    [
        ((2, 3, 4, 5), ((0, 0), (0, 0), (1, 2), (3, 0))),
        ((5, 3, 4, 5), ((0, 0), (1, 0), (-1, 2), (-2, -1))),
        ((2, 3, 4, 5), ((0, 0), (0, 0), (-3, 0), (1, 1))),
        ((2, 3, 3, 4, 5), ((0, 0), (0, 0), (2, 1), (1, 2), (0, 3))),
        ((3, 4), ((0, 0), (2, 1))),
        ((0, 2), ((0, 0), (0, 1))),
    ],
)
def test_pad_equals_loops(mode, shape, widths):
    rng = np.random.default_rng(4)
    x = rng.standard_normal(shape).astype(np.float32)
    y, expected = (kernel.pad(x, widths, mode, 7) for kernel in (cpu, reference))
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, expected)
    dy = rng.standard_normal(y.shape)
    dx, expected = (kernel.pad_input_grad(dy, widths, mode) for kernel in (cpu, reference))
    np.testing.assert_allclose(dx, expected, atol=1e-14)


@pytest.mark.parametrize(
    ("shape", "widths"),
    [((3,), ((2, 1),)), ((0, 2), ((1, 1), (0, 1))), ((3, 2), ((-3, 2), (1, -2)))],
)
def test_a_constant_pads_every_axis(shape, widths):
    x = np.random.default_rng(4).standard_normal(shape)
    y = cpu.pad(x, widths, "constant", 7)
    np.testing.assert_array_equal(y, reference.pad(x, widths, "constant", 7))
    dx = cpu.pad_input_grad(y, widths, "constant")
    np.testing.assert_array_equal(dx, reference.pad_input_grad(y, widths, "constant"))


@pytest.mark.parametrize("channels", [1, 7])
def test_sampling_and_its_gradients_equal_loops(channels):
    rng = np.random.default_rng(4)
    x, dy = rng.standard_normal((2, channels, 11)), rng.standard_normal((2, channels, 50))
    index, weight = rng.integers(-2, 11, (3, 2, 50)), rng.standard_normal((3, 2, 50))
    x[1, 0, 0] = np.nan  # where indices are clipped to
    index[index == 0] = 1
    for name, arguments in (
        ("sample", (x, index, weight)),
        ("sample_input_grad", (dy, index, weight, 11)),
        ("sample_weight_grad", (dy, x, index)),
    ):
        y, expected = (getattr(kernel, name)(*arguments) for kernel in (cpu, reference))
        assert np.isfinite(y).all()
        np.testing.assert_allclose(y, expected, atol=1e-13)


@pytest.mark.parametrize(
    "windows",
    [
        Windows((2, 2), (1, 1), (0, 0), (1, 1)),
        Windows((3, 2), (2, 1), (2, 1), (1, 3)),
        Windows((1, 1), (1, 1), (3, 0), (2, 2)),
    ],
)
def test_windows_and_back_equal_loops(windows):
    x = np.random.default_rng(4).standard_normal((2, 3, 6, 7))
    y, expected = (kernel.unfold(x, windows) for kernel in (cpu, reference))
    np.testing.assert_array_equal(y, expected)
    dx, expected = (kernel.fold(y, windows, (6, 7)) for kernel in (cpu, reference))
    np.testing.assert_allclose(dx, expected, atol=1e-13)
