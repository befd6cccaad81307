"""Fast pooling kernels against the loops, in blocks of a few rows."""

from __future__ import annotations

import numpy as np
import pytest

from nnmed.kernels import blocks
from nnmed.kernels.pooling import cpu, cpu_max, phases, reference

# kernel, stride, padding, dilation
WINDOWS = [
    ((2, 2), (2, 2), (0, 0), (1, 1)),
    ((3, 3), (2, 2), (1, 1), (1, 1)),
    ((3, 3), (3, 3), (1, 1), (1, 1)),
    ((3, 2), (1, 3), (1, 0), (2, 1)),
    ((1, 4), (2, 1), (0, 2), (1, 1)),
    ((2, 3), (4, 5), (0, 1), (1, 1)),
    ((9, 9), (2, 3), (4, 4), (1, 1)),
]


@pytest.fixture(autouse=True, params=["small-blocks", "usual-blocks"])
def block_size(request, monkeypatch):
    if request.param == "small-blocks":
        monkeypatch.setattr(phases, "BLOCK", 40)
        monkeypatch.setattr(cpu_max, "SCATTERED", 40)


def output_size(size, kernel, stride, padding, dilation, up):
    counts = []
    for n, k, s, p, d in zip(size, kernel, stride, padding, dilation):
        room = n + 2 * p - (k - 1) * d - 1
        count = (-(-room // s) if up else room // s) + 1
        counts.append(count - (up and (count - 1) * s >= n + p))
    return tuple(counts)


@pytest.mark.parametrize("size", [(11, 13), (12, 10)])
@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("windows", WINDOWS)
@pytest.mark.parametrize("special", [None, np.nan, -np.inf])
def test_max_pool_codes_and_gradient(windows, size, up, special):
    rng = np.random.default_rng(1)
    x = rng.integers(-2, 3, (3, 2, *size)).astype(np.float32)
    if special is not None:
        x[rng.random(x.shape) < 0.4] = special
    out = output_size(size, *windows, up)
    y, codes = cpu.max_pool2d(x, *windows, out)
    expected, expected_codes = reference.max_pool2d(x, *windows, out)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(codes, expected_codes)
    np.testing.assert_array_equal(cpu.max_pool2d(x, *windows, out, False)[0], expected)
    indices = cpu.max_pool2d_indices(codes, size, *windows)
    np.testing.assert_array_equal(indices, reference.max_pool2d_indices(codes, size, *windows))
    dy = rng.standard_normal(y.shape)
    dx = cpu.max_pool2d_input_grad(dy, codes, size, *windows)
    np.testing.assert_allclose(
        dx, reference.max_pool2d_input_grad(dy, codes, size, *windows), atol=1e-12
    )
    np.testing.assert_array_equal(
        cpu.gather_plane(dx, indices), reference.gather_plane(dx, indices)
    )


@pytest.mark.parametrize("size", [(11, 13), (12, 6)])
@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("divisor", [(True, None), (False, None), (True, 3)])
@pytest.mark.parametrize("windows", WINDOWS)
def test_average_and_gradient(windows, up, divisor, size):
    kernel, stride, padding, _ = windows
    rng = np.random.default_rng(1)
    x = rng.standard_normal((3, 2, *size))
    out = output_size(size, kernel, stride, padding, (1, 1), up)
    y = cpu.avg_pool2d(x, kernel, stride, padding, out, *divisor)
    expected = reference.avg_pool2d(x, kernel, stride, padding, out, *divisor)
    np.testing.assert_allclose(y, expected, atol=1e-13)
    dy = rng.standard_normal(y.shape)
    arguments = (dy, size, kernel, stride, padding, *divisor)
    np.testing.assert_allclose(
        cpu.avg_pool2d_input_grad(*arguments),
        reference.avg_pool2d_input_grad(*arguments),
        atol=1e-13,
    )


@pytest.mark.parametrize("out", [(1, 1), (3, 4), (11, 13), (15, 2)])
def test_adaptive_windows(out):
    rng = np.random.default_rng(1)
    x = rng.integers(-2, 3, (3, 2, 11, 13)).astype(np.float64)
    for fast, slow in zip(cpu.adaptive_max_pool2d(x, out), reference.adaptive_max_pool2d(x, out)):
        np.testing.assert_array_equal(fast, slow)
    np.testing.assert_allclose(
        cpu.adaptive_avg_pool2d(x, out), reference.adaptive_avg_pool2d(x, out), atol=1e-13
    )
    dy = rng.standard_normal((3, 2, *out))
    np.testing.assert_allclose(
        cpu.adaptive_avg_pool2d_input_grad(dy, (11, 13)),
        reference.adaptive_avg_pool2d_input_grad(dy, (11, 13)),
        atol=1e-13,
    )


def test_the_last_value_stays_where_a_position_repeats():
    values = np.arange(2 * 3 * 2 * 4.0).reshape(2, 3, 2, 4)
    indices = np.random.default_rng(1).integers(0, 6, values.shape)
    np.testing.assert_array_equal(
        cpu.place_plane(values, indices, (3, 2)), reference.place_plane(values, indices, (3, 2))
    )


@pytest.mark.parametrize("out", [(1, 1), (3, 4), (4, 2)])
def test_adaptive_maximum_of_nan_and_minus_infinity(out):
    rng = np.random.default_rng(2)
    x = rng.integers(-2, 3, (3, 2, 8, 9)).astype(np.float32)
    x[rng.random(x.shape) < 0.3] = -np.inf
    x[0][rng.random(x[0].shape) < 0.3] = np.nan
    for fast, slow in zip(cpu.adaptive_max_pool2d(x, out), reference.adaptive_max_pool2d(x, out)):
        np.testing.assert_array_equal(fast, slow)


def test_codes_take_one_byte_while_they_fit():
    x = np.zeros((1, 1, 20, 20), np.float32)
    kernel = (16, 16), (1, 1), (0, 0), (1, 1)
    assert cpu.max_pool2d(x, *kernel, (5, 5))[1].dtype == np.uint8
    kernel = (17, 16), (1, 1), (0, 0), (1, 1)
    assert cpu.max_pool2d(x, *kernel, (4, 5))[1].dtype == np.uint16


def test_cut_covers_everything_once():
    for images, rows, row_elements in [(0, 4, 4), (3, 7, 10), (5, 1, 1000), (2, 100, 3)]:
        seen = np.zeros((images, rows), int)
        for n0, n1, a, b in blocks.cut(images, rows, row_elements, size=64):
            seen[n0:n1, a:b] += 1
        assert (seen == 1).all()
