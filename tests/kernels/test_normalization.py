"""Fast normalisation kernels against the loops, in blocks of a few rows."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from nnmed.backend import threads
from nnmed.kernels.normalization import channels, cpu, layer, reference


@pytest.fixture(autouse=True, params=[(8, 24), None], ids=["small-blocks", "usual-blocks"])
def block_size(request, monkeypatch):
    if request.param is not None:
        monkeypatch.setattr(channels, "_ROW", request.param[0])
        monkeypatch.setattr(channels, "_PIECE", request.param[1])


@pytest.mark.parametrize("shape", [(3, 4, 5, 7), (2, 3, 8, 8), (5, 11, 1, 1), (1, 1, 1, 2)])
@pytest.mark.parametrize("offset", [0.0, 30.0, -1e4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_loops(shape, offset, dtype):
    rng = np.random.default_rng(2)
    x, dy = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
    x += dtype(offset)
    weight, bias = (rng.standard_normal(shape[1]).astype(dtype) for _ in range(2))
    # What float32 loses is its rounding of x itself; the formulas must not add to it.
    tolerance = dict(rtol=1e-5, atol=1e-5) if dtype is np.float32 else dict(rtol=1e-8, atol=1e-9)
    mean, var = cpu.batch_moments(x)
    exact_mean, exact_var = reference.batch_moments(x)
    np.testing.assert_allclose(mean, exact_mean, **tolerance)
    np.testing.assert_allclose(var, exact_var, **tolerance)
    y = cpu.batch_norm(x, exact_mean, exact_var, weight, bias, 1e-5)
    assert y.dtype == dtype
    np.testing.assert_allclose(
        y, reference.batch_norm(x, exact_mean, exact_var, weight, bias, 1e-5), **tolerance
    )
    y = np.maximum(y, 0)
    cut = cpu.batch_norm(x, exact_mean, exact_var, weight, bias, 1e-5, relu=True)
    np.testing.assert_array_equal(cut, y)
    for training, output in product((True, False), (None, y)):
        arguments = (dy, x, exact_mean, exact_var, weight, 1e-5, training, output)
        results = cpu.batch_norm_grad(*arguments), reference.batch_norm_grad(*arguments)
        for fast, slow in zip(*results):
            scale = max(1.0, np.abs(slow).max())
            np.testing.assert_allclose(fast / scale, slow / scale, **tolerance)


@pytest.mark.parametrize(
    ("shape", "groups"), [((3, 4, 5, 7), 2), ((9, 6, 3, 2), 6), ((2, 4, 1, 1), 1)]
)
@pytest.mark.parametrize("offset", [0.0, 30.0, -1e4])
def test_groups_equal_loops(shape, groups, offset):
    rng = np.random.default_rng(2)
    x, dy = rng.standard_normal((2, *shape))
    x += offset
    weight, bias = rng.standard_normal((2, shape[1]))
    moments = reference.group_moments(x, groups)
    for fast, slow in zip(cpu.group_moments(x, groups), moments):
        np.testing.assert_allclose(fast, slow, rtol=1e-9)
    arguments = x, *moments, weight, bias, 1e-5
    np.testing.assert_allclose(
        cpu.group_norm(*arguments), reference.group_norm(*arguments), atol=1e-8
    )
    arguments = dy, x, *moments, weight, 1e-5
    for fast, slow in zip(cpu.group_norm_grad(*arguments), reference.group_norm_grad(*arguments)):
        np.testing.assert_allclose(fast, slow, atol=1e-8)


@pytest.mark.parametrize("shape", [(7, 33), (40, 1), (1, 5), (0, 3), (100, 12)])
@pytest.mark.parametrize("offset", [0.0, 3.0, 300.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("centred", [True, False])
def test_rows_equal_loops(shape, offset, dtype, centred, monkeypatch):
    monkeypatch.setattr(layer, "_PIECE", 200)
    rng = np.random.default_rng(2)
    x, dy = rng.standard_normal((2, *shape)).astype(dtype)
    x[::2] += dtype(offset)  # a piece holds rows near and far from zero
    weight, bias = rng.standard_normal((2, shape[1])).astype(dtype)
    # In float32 the mean itself is rounded, which is offset / spread times its precision.
    tolerance = 1e-9 if dtype is np.float64 else 2e-4 if offset > 100 else 2e-5
    for affine in ((weight, bias), (None, None)):
        results = cpu.layer_norm(x, *affine, 1e-5, centred)
        for fast, slow in zip(results, reference.layer_norm(x, *affine, 1e-5, centred)):
            assert fast.dtype == dtype
            np.testing.assert_allclose(fast, slow, rtol=tolerance, atol=tolerance)
        arguments = dy, x, *results[1:], affine[0], centred
        results = cpu.layer_norm_grad(*arguments), reference.layer_norm_grad(*arguments)
        for fast, slow in zip(*results):
            scale = np.abs(slow).max(initial=1.0)
            np.testing.assert_allclose(fast / scale, slow / scale, atol=tolerance)


def test_nan_stays_in_its_row():
    x = np.random.default_rng(0).standard_normal((9, 40)).astype(np.float32)
    x[3, 5], x[6, 1] = np.nan, np.inf
    expected = np.isin(np.arange(9), (3, 6))
    y, mean, inverse = cpu.layer_norm(x, None, None, 1e-5, True)
    np.testing.assert_array_equal(np.isnan(y).all(1), expected)
    np.testing.assert_array_equal(np.isfinite(y).all(1), ~expected)
    dx, _, _ = cpu.layer_norm_grad(np.ones_like(x), x, mean, inverse, None, True)
    np.testing.assert_array_equal(np.isfinite(dx).all(1), ~expected)


@pytest.mark.parametrize("shape", [(1, 64, 48), (3, 7, 16), (5, 1, 3), (1, 997, 32), (0, 4, 2)])
def test_pieces_cover_all_rows_once(shape):
    walk = channels.Channels(*shape)
    x = np.zeros((shape[0], shape[2], shape[1], 1), np.float32)
    walk.for_pieces(lambda piece: np.add(piece, 1, out=piece), view := walk.view(x))
    assert (view == 1).all()
    np.testing.assert_array_equal(walk.totals(view, view)[0], np.full(shape[::2], shape[1]))


def test_threads_do_not_change_a_bit(monkeypatch):
    monkeypatch.setattr(layer, "_PIECE", 500)
    rng = np.random.default_rng(2)
    x, dy = rng.standard_normal((2, 6, 4, 9, 11)).astype(np.float32)
    rows, weight = x.reshape(24, 99), np.ones(4, np.float32)

    def run(count):
        threads.set_num_threads(count)
        batch, groups = cpu.batch_moments(x), cpu.group_moments(x, 2)
        y, mean, inverse = cpu.layer_norm(rows, None, None, 1e-5, True)
        return [
            cpu.batch_norm(x, *batch, weight, weight, 1e-5),
            *cpu.batch_norm_grad(dy, x, *batch, weight, 1e-5, True),
            cpu.group_norm(x, *groups, weight, weight, 1e-5),
            *cpu.group_norm_grad(dy, x, *groups, weight, 1e-5),
            y,
            *cpu.layer_norm_grad(dy.reshape(24, 99), rows, mean, inverse, None, True),
        ]

    before = threads.get_num_threads()
    try:
        for one, three in zip(run(1), run(3)):
            np.testing.assert_array_equal(one, three)
    finally:
        threads.set_num_threads(before)


def test_float32_variance_far_from_zero():
    x = (np.random.default_rng(0).standard_normal((4, 2, 32, 32)) + 5000).astype(np.float32)
    np.testing.assert_allclose(cpu.batch_moments(x)[1], reference.batch_moments(x)[1], rtol=1e-6)


def test_constant_channel_has_no_variance():
    x = np.full((3, 2, 5, 5), 0.1, np.float32)
    mean, var = cpu.batch_moments(x)
    np.testing.assert_allclose(mean, 0.1, rtol=1e-6)
    assert (var < 1e-15).all()


def test_nan_stays_in_its_channel():
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 4))
    x[0, 1, 2, 2] = np.nan
    mean, var = cpu.batch_moments(x)
    assert np.isnan(mean).tolist() == np.isnan(var).tolist() == [False, True, False]
    y = cpu.batch_norm(x, mean, var, None, None, 1e-5)
    np.testing.assert_array_equal(np.isnan(y).all((0, 2, 3)), [False, True, False])


@pytest.mark.parametrize("spreads", [3, 10, 31, 100])
def test_sums_of_the_gradient_do_not_suffer_from_a_far_mean(spreads):
    rng = np.random.default_rng(3)
    x = (rng.standard_normal((4, 6, 32, 32)) + spreads).astype(np.float32)
    dy = (rng.standard_normal(x.shape) + 1).astype(np.float32)
    mean, var = reference.batch_moments(x)
    dx, dweight, _ = cpu.batch_norm_grad(dy, x, mean, var, None, 1e-5, True)
    exact_dx, exact_dweight, _ = reference.batch_norm_grad(
        *(a.astype(np.float64) for a in (dy, x)), mean, var, None, 1e-5, True
    )
    values = x.size / x.shape[1]
    np.testing.assert_allclose(dweight, exact_dweight, rtol=0, atol=4e-5 * values**0.5)
    np.testing.assert_allclose(dx, exact_dx, rtol=0, atol=4e-6)
