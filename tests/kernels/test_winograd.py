"""Winograd's convolution: exact in theory, close in float32, the same for any cut of the work."""

from __future__ import annotations

import tracemalloc
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nnmed
from nnmed import Tensor
from nnmed import functional as F
from nnmed.backend.arrays import as_channels_last
from nnmed.backend.threads import get_num_threads, set_num_threads
from nnmed.kernels.conv import blocks, cpu, im2col, toom_cook, winograd
from nnmed.kernels.conv import winograd_large as large
from nnmed.kernels.conv import winograd_tiles as tiles

POINTS = [0, 1, -1], [0, 2 / 3, -2 / 3, 3 / 2, -3 / 2]
ONE = ((1, 1), (1, 1))
NAMES = ["F(2x2)", "F(4x4)"]


def run(kernels, arrays, padding=ONE):
    """Return y, dx and dweight."""
    x, weight, bias, dy = arrays
    arguments = (1, 1), padding, (1, 1), 1
    return {
        "y": kernels.conv2d(x, weight, bias, *arguments),
        "dx": kernels.conv2d_input_grad(dy, weight, x.shape[2:], *arguments),
        "dweight": kernels.conv2d_weight_grad(dy, x, (3, 3), *arguments),
    }


def draw_arrays(n, channels, outputs, size, padding=ONE, with_bias=True):
    """Return x, weight, bias and dy, float32."""
    rng = np.random.default_rng(0)
    seen = [length + sum(ends) - 2 for length, ends in zip(size, padding)]
    shapes = (n, channels, *size), (outputs, channels, 3, 3), (outputs,), (n, outputs, *seen)
    x, weight, bias, dy = (rng.standard_normal(shape).astype(np.float32) for shape in shapes)
    return x, weight, bias if with_bias else None, dy


def truth(arrays, padding=ONE):
    """Return the results in float64, in the direct form."""
    return run(im2col, [None if a is None else a.astype(np.float64) for a in arrays], padding)


def force(patch, name):
    """Let the form of this name do all the work."""
    form = winograd.FORMS[NAMES.index(name)]
    patch.setattr(winograd, "cheapest", lambda *_: form)
    return form


@pytest.mark.parametrize("points", POINTS)
def test_one_dimension_is_the_sum(points):
    output, weight, input = toom_cook.matrices(points)
    m, t = output.shape
    rng = np.random.default_rng(0)
    g, d = rng.standard_normal(3), rng.standard_normal(t)
    got = output @ ((weight @ g) * (input @ d))
    expected = [d[i : i + 3] @ g for i in range(m)]
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-13)


def test_the_smallest_form_is_the_one_in_the_text():
    d, g = np.random.default_rng(0).standard_normal((2, 4))
    output, weight, input = toom_cook.matrices(POINTS[0])
    first = [d[0] - d[2], (d[1] + d[2]) / 2, (d[2] - d[1]) / 2, d[3] - d[1]]
    second = [g[0], g[0] + g[1] + g[2], g[0] - g[1] + g[2], g[2]]
    np.testing.assert_allclose(input @ d, first, atol=1e-15)
    np.testing.assert_allclose(weight @ g[:3], second, atol=1e-15)
    np.testing.assert_array_equal(output, [[1, 1, 1, 0], [0, 1, -1, 1]])


@pytest.mark.parametrize("form", winograd.FORMS)
def test_two_dimensions_rounded_are_nearly_the_sum(form):
    coefficients = np.einsum(
        "yk,kg,kd->ygd", *(m.astype(np.float64) for m in (form.output, form.weight, form.input))
    ).reshape(form.m, form.m, 3, 3, form.t, form.t)
    expected = np.zeros_like(coefficients)
    for i, j, u, v in np.ndindex(form.m, form.m, 3, 3):
        expected[i, j, u, v, i + u, j + v] = 1
    np.testing.assert_allclose(coefficients, expected, rtol=0, atol=3e-7)


@pytest.mark.parametrize("form", winograd.FORMS)
def test_turned_weight(form):
    g = np.random.default_rng(0).standard_normal((3, 3)).astype(np.float32)
    np.testing.assert_allclose(
        form.turned_weight @ g[::-1, ::-1].ravel(), form.weight @ g.ravel(), rtol=1e-5, atol=1e-6
    )


# Values that cut the work at other places than usual, or make filters large.
CUTS = {
    (tiles, "BLOCK_COLUMNS"): 40, (tiles, "SMALL_PRODUCT"): 100_000,
    (tiles, "MIN_PRODUCT_TILES"): 10**6, (winograd, "MIN_TILES"): 1,
    (winograd, "MIN_SUMMED_TILES"): 2, (winograd, "SUM_BYTES"): 1,
    (winograd, "PRODUCT_NUMBERS"): 50, (winograd, "MAX_SUMS"): 3, (winograd, "LARGE"): 1,
    (winograd, "LARGE_SUMS"): 1, (large, "LEAST_OUTPUTS"): 1, (large, "SLICE"): 3,
    (large, "SHARED"): 5000, (large, "MIN_TILES"): 2,
}  # fmt: skip


@st.composite
def layers(draw):
    """Return batch, channels, outputs, size and padding, with an output of one pixel or more."""
    n, channels, outputs = draw(st.tuples(st.integers(1, 3), st.integers(1, 7), st.integers(1, 7)))
    most = draw(st.sampled_from([2, 2, 2, 4]))  # above 2 the direct form takes over
    ends = st.tuples(st.integers(0, most), st.integers(0, most))
    padding = draw(st.tuples(ends, ends))
    size = tuple(draw(st.integers(max(1, 3 - sum(ends)), 23)) for ends in padding)
    return n, channels, outputs, size, padding


@pytest.mark.parametrize("name", NAMES)
@given(layers(), st.booleans(), st.sets(st.sampled_from(list(CUTS))))
@settings(max_examples=300, deadline=None)
def test_equals_the_direct_form(name, layer, with_bias, cuts):
    padding = layer[-1]
    arrays = draw_arrays(*layer, with_bias)
    with pytest.MonkeyPatch.context() as patch:
        force(patch, name)
        for cut in cuts:
            patch.setattr(*cut, CUTS[cut])
        got = run(winograd, arrays, padding)
    terms = {"y": layer[1] * 9, "dx": layer[2] * 9, "dweight": arrays[3][:, 0].size}
    for key, expected in truth(arrays, padding).items():
        assert got[key].dtype == np.float32
        assert got[key].shape == expected.shape
        tolerance = 5e-5 * np.sqrt(terms[key])
        np.testing.assert_allclose(got[key], expected, rtol=0, atol=tolerance, err_msg=key)


LARGE = {(winograd, "LARGE"): 1, (winograd, "LARGE_SUMS"): 1, (large, "LEAST_OUTPUTS"): 1}
# Form, constants, and (N, C, O, (H, W)).
SHARED = {
    "F(2x2)": ("F(2x2)", {}, (3, 20, 24, (21, 22))),
    "F(4x4)": ("F(4x4)", {}, (3, 20, 24, (33, 30))),
    "few sums": (
        "F(4x4)",
        {(winograd, "SUM_BYTES"): 150_000, (winograd, "PRODUCT_NUMBERS"): 1000},
        (6, 20, 24, (33, 30)),
    ),
    "large": ("F(2x2)", LARGE, (4, 20, 50, (13, 12))),
    "large, in groups": ("F(4x4)", {**LARGE, (large, "SHARED"): 20_000}, (5, 20, 50, (13, 12))),
}


@pytest.mark.parametrize("case", SHARED)
def test_the_number_of_threads_changes_no_bit(case, monkeypatch):
    name, constants, layer = SHARED[case]
    force(monkeypatch, name)
    for constant, value in constants.items():
        monkeypatch.setattr(*constant, value)
    arrays = draw_arrays(*layer)
    before = get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3, 5):
            set_num_threads(threads)
            results.append(run(winograd, arrays))
    finally:
        set_num_threads(before)
    for other in results[1:]:
        for key, expected in results[0].items():
            np.testing.assert_array_equal(other[key], expected, err_msg=key)


@pytest.mark.parametrize(("name", "bound"), [("F(2x2)", 6e-6), ("F(4x4)", 3e-5)])
@pytest.mark.parametrize("channels", [64, 256])
def test_error_in_standard_deviations(channels, name, bound, monkeypatch):
    force(monkeypatch, name)
    arrays = draw_arrays(1, channels, channels, (24, 24), with_bias=False)
    got = run(winograd, arrays)
    for key, expected in truth(arrays).items():
        assert np.abs(got[key] - expected).max() < bound * expected.std(), key


def test_float64_takes_the_direct_form():
    arrays = [a.astype(np.float64) for a in draw_arrays(1, 64, 64, (24, 24))]
    expected = run(im2col, arrays)
    for kernels in (winograd, cpu):
        got = run(kernels, arrays)
        for key in expected:
            np.testing.assert_array_equal(got[key], expected[key], err_msg=key)


def test_the_choice_of_the_form_knows_which_channels_are_read(monkeypatch):
    # From 2 channels to 200: dx reads 200 and makes 2.
    seen = []
    monkeypatch.setattr(winograd, "pays", lambda *sizes: seen.append(sizes[1:]))
    run(cpu, draw_arrays(1, 2, 200, (8, 8)))
    assert seen == [(2, 200), (200, 2), (2, 200)]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", NAMES)
def test_nan_and_infinity_spoil_only_the_tiles_that_read_them(name, value, monkeypatch):
    form = force(monkeypatch, name)
    arrays = draw_arrays(3, 5, 6, (15, 14))
    clean = run(winograd, arrays)
    x, dy, row, column = arrays[0], arrays[3], 8, 5
    x[1, 2, row, column] = dy[1, 3, row, column] = value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = run(winograd, arrays)
    spoilt = np.zeros(x.shape[2:], bool)
    for i, j in np.ndindex(4 + 4, 4 + 4):  # tile (i, j) reads from one pixel before it on
        top, left = i * form.m, j * form.m
        if 0 <= row - top + 1 < form.t and 0 <= column - left + 1 < form.t:
            spoilt[top : top + form.m, left : left + form.m] = True
    for key in ("y", "dx"):
        assert np.isnan(got[key][1][:, spoilt]).all()
        got[key][1][:, spoilt] = clean[key][1][:, spoilt]
        np.testing.assert_array_equal(got[key], clean[key], err_msg=key)
    dweight = got["dweight"]
    assert np.isnan(dweight[3]).all()
    assert np.isnan(dweight[:, 2]).all()
    dweight[3], dweight[:, 2] = clean["dweight"][3], clean["dweight"][:, 2]
    np.testing.assert_array_equal(dweight, clean["dweight"])


@pytest.mark.parametrize("padding", [((-2, -3), (1, 1)), ((0, -1), (-4, 0))])
@pytest.mark.parametrize("name", NAMES)
def test_nan_in_what_is_cropped_counts_for_nothing(name, padding, monkeypatch):
    force(monkeypatch, name)
    arrays = draw_arrays(2, 4, 5, (13, 14), padding)
    x = arrays[0]
    clean = run(winograd, arrays, padding)
    (top, bottom), (left, right) = ((max(-end, 0) for end in ends) for ends in padding)
    inside = x[..., top : 13 - bottom, left : 14 - right].copy()
    x[...] = np.nan
    x[..., top : 13 - bottom, left : 14 - right] = inside
    got = run(winograd, arrays, padding)
    for key in clean:
        np.testing.assert_array_equal(got[key], clean[key], err_msg=key)


def test_nan_whose_windows_see_padding_only_counts_for_nothing():
    x, weight = draw_arrays(2, 4, 4, (12, 13))[:2]
    x[:, :, 0] = x[:, :, -1] = x[..., 0] = x[..., -1] = np.nan
    with nnmed.use_kernels(conv="winograd"):
        y = F.conv_transpose2d(Tensor(x), Tensor(weight), padding=3)
    assert np.isfinite(y.numpy()).all()


@pytest.mark.parametrize("kernels", ["winograd", "im2col", "cpu"])
def test_empty_batch(kernels):
    x = Tensor(np.zeros((0, 8, 9, 9), np.float32), requires_grad=True)
    weight = Tensor(np.ones((5, 8, 3, 3), np.float32), requires_grad=True)
    bias = Tensor(np.ones(5, np.float32), requires_grad=True)
    with nnmed.use_kernels(conv=kernels):
        y = F.conv2d(x, weight, bias, padding=1)
        y.sum().backward()
    assert y.shape == (0, 5, 9, 9)
    assert x.grad.shape == x.shape
    np.testing.assert_array_equal(weight.grad.numpy(), np.zeros(weight.shape))
    np.testing.assert_array_equal(bias.grad.numpy(), np.zeros(5))


def test_inputs_are_only_read_whatever_their_memory(monkeypatch):
    force(monkeypatch, "F(4x4)")
    arrays = draw_arrays(2, 6, 7, (10, 11))
    expected = run(winograd, arrays)
    layouts = {
        "negative strides": [np.ascontiguousarray(a[::-1])[::-1] for a in arrays],
        "from right to left": [np.ascontiguousarray(a[..., ::-1])[..., ::-1] for a in arrays],
        "every other": [np.repeat(a, 2, axis=-1)[..., ::2] for a in arrays],
        "channels last": [as_channels_last(a) if a.ndim == 4 else a for a in arrays],
    }
    for layout, given_arrays in layouts.items():
        for array, values in zip(given_arrays, arrays):
            np.testing.assert_array_equal(array, values)
            array.flags.writeable = False
        got = run(winograd, given_arrays)
        for key in expected:
            np.testing.assert_array_equal(got[key], expected[key], err_msg=f"{layout}, {key}")
        for array, values in zip(given_arrays, arrays):
            np.testing.assert_array_equal(array, values)


@pytest.mark.parametrize("is_large", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_scratch_does_not_grow_with_the_batch(name, is_large, monkeypatch):
    force(monkeypatch, name)
    for constant, value in LARGE.items() if is_large else ():
        monkeypatch.setattr(*constant, value)
    before = get_num_threads()
    set_num_threads(1)
    try:
        few, many = (_scratch_bytes(n) for n in (32, 64))
    finally:
        set_num_threads(before)
    most = 24 << 20 if is_large else 16 << 20
    assert many < 1.1 * few < most  # all tiles of x at once would take 36 MiB and more


def _scratch_bytes(n):
    arrays = draw_arrays(n, 64, 64, (32, 32))
    arrays = [as_channels_last(a) if a.ndim == 4 else a for a in arrays]
    vars(blocks._scratch).clear()
    tracemalloc.start()
    try:
        results = run(winograd, arrays)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return peak - sum(array.nbytes for array in results.values())
