"""Fast resampling kernels against the loops, in blocks of a few rows."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from nnmed.kernels import blocks
from nnmed.kernels.resample import cpu, cpu_pad, reference
from nnmed.kernels.resample.taps import linear_taps, nearest_taps, transposed_taps

DTYPE = np.dtype(np.float64)


@pytest.fixture(autouse=True, params=[40, blocks.BLOCK], ids=["small-blocks", "usual-blocks"])
def block_size(request, monkeypatch):
    monkeypatch.setattr(cpu, "cut", partial(blocks.cut, size=request.param))
    monkeypatch.setattr(cpu_pad, "BLOCK", request.param)


def taps_of(kind, size, output_size):
    if kind == "nearest":
        return nearest_taps(size, output_size, size / output_size, False, DTYPE)
    return linear_taps(size, output_size, size / output_size, False, DTYPE)


@pytest.mark.parametrize("kind", ["nearest", "linear"])
@pytest.mark.parametrize("out", [(1, 1), (4, 17), (22, 3), (10, 14), (5, 7)])
def test_interpolate_equals_loops(kind, out):
    rng = np.random.default_rng(4)
    x = rng.standard_normal((2, 3, 5, 7))
    taps = taps_of(kind, 5, out[0]), taps_of(kind, 7, out[1])
    np.testing.assert_allclose(
        cpu.interpolate(x, *taps), reference.interpolate(x, *taps), atol=1e-14
    )
    dy = rng.standard_normal((2, 3, *out))
    np.testing.assert_allclose(
        cpu.interpolate_input_grad(dy, *taps, (5, 7)),
        reference.interpolate_input_grad(dy, *taps, (5, 7)),
        atol=1e-13,
    )


@pytest.mark.parametrize("kind", ["nearest", "linear"])
@pytest.mark.parametrize(("size", "output_size"), [(5, 12), (12, 5), (7, 7), (1, 4), (9, 1)])
def test_transposed_taps_make_the_transposed_matrix(kind, size, output_size):
    def matrix(index, weight, columns):
        result = np.zeros((len(index), columns))
        np.add.at(result, (np.arange(len(index))[:, None], index), weight)
        return result

    index, weight = taps_of(kind, size, output_size)
    back = transposed_taps(index, weight, size)
    np.testing.assert_allclose(matrix(*back, output_size), matrix(index, weight, size).T)


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
