"""CUDA normalisation against the loops, where packs of channels, parts and groups meet."""

from __future__ import annotations

import inspect
from itertools import product

import numpy as np
import pytest

from nnmed.backend.arrays import is_channels_last, to_device
from nnmed.kernels.normalization import cpu, reference
from nnmed.kernels.normalization import gpu as on_card

# (N, C, H, W): packs of four channels and others, one pixel, one channel, several parts and
# blocks of channels
SHAPES = [
    (2, 3, 5, 7), (3, 8, 6, 5), (1, 1, 1, 2), (5, 4, 1, 1), (2, 33, 4, 5), (2, 260, 3, 3),
    (1, 1, 90, 95), (2, 4, 70, 71), (3, 40, 20, 19),
]  # fmt: skip
# Of several numbers: the gradient of one is a difference of two large ones.
GROUPS = {
    (n, c, h, w): [g for g in (1, 2, 3, 4, 11, 40) if c % g == 0 and c * h * w > g]
    for n, c, h, w in SHAPES
}
# (M, D): one number, packs and others, more than a warp keeps, more than a block keeps
ROWS = [(1, 1), (7, 33), (40, 12), (300, 4), (3, 1028), (5, 301), (2, 2051), (1, 8200), (600, 70)]
CLOSE = {np.float32: 1e-5, np.float64: 1e-10}
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
offsets = pytest.mark.parametrize("offset", [0.0, 30.0, -1e4])


def normal(dtype, *shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(dtype)


def on_gpu(name, *arguments):
    """Return what the card makes of the arguments, on the host."""
    given = [to_device(a, "gpu") if isinstance(a, np.ndarray) else a for a in arguments]
    made = getattr(on_card, name)(*given)
    return [to_device(a, "cpu") for a in (made if isinstance(made, tuple) else (made,))]


def check(name, *arguments, close=None):
    """Hold results beside the loops, relative to the largest number of each."""
    dtype = arguments[0].dtype.type
    expected = getattr(reference, name)(*arguments)
    expected = expected if isinstance(expected, tuple) else (expected,)
    for got, exact in zip(on_gpu(name, *arguments), expected, strict=True):
        assert got.dtype == exact.dtype
        assert got.shape == exact.shape
        scale = np.abs(exact).max(initial=1.0)
        tolerance = close or CLOSE[dtype]
        np.testing.assert_allclose(got / scale, exact / scale, atol=tolerance, err_msg=name)


def test_all_functions_have_the_same_signatures():
    assert on_card.__all__ == cpu.__all__
    for name in cpu.__all__:
        ours, theirs = (inspect.signature(getattr(m, name)) for m in (on_card, reference))
        assert ours == theirs, name


@dtypes
@offsets
@pytest.mark.parametrize("shape", SHAPES)
def test_batches(shape, offset, dtype, gpu):
    x, dy = normal(dtype, *shape) + dtype(offset), normal(dtype, *shape[::-1]).T
    weight, bias = normal(dtype, 2, shape[1])
    check("batch_moments", x)
    mean, var = reference.batch_moments(x)
    for affine in ((weight, bias), (None, None)):
        y = reference.batch_norm(x, mean, var, *affine, 1e-5, True)
        for relu in (False, True):
            check("batch_norm", x, mean, var, *affine, 1e-5, relu)
        for training, output in product((True, False), (None, y)):
            check("batch_norm_grad", dy, x, mean, var, affine[0], 1e-5, training, output)


@dtypes
@offsets
@pytest.mark.parametrize("shape", SHAPES)
def test_groups(shape, offset, dtype, gpu):
    x, dy = normal(dtype, *shape) + dtype(offset), normal(dtype, *shape[::-1]).T
    weight, bias = normal(dtype, 2, shape[1])
    for groups in GROUPS[shape]:
        check("group_moments", x, groups)
        moments = reference.group_moments(x, groups)
        for affine in ((weight, bias), (None, None)):
            check("group_norm", x, *moments, *affine, 1e-5)
            check("group_norm_grad", dy, x, *moments, affine[0], 1e-5)


@dtypes
@pytest.mark.parametrize("offset", [0.0, 3.0, 300.0])
@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("shape", ROWS)
def test_rows(shape, centred, offset, dtype, gpu):
    x, dy = normal(dtype, *shape) + dtype(offset), normal(dtype, *shape[::-1]).T
    weight, bias = normal(dtype, 2, shape[1])
    # In float32 the mean itself is rounded, which is offset / spread times its precision.
    close = 2e-4 if dtype is np.float32 and offset > 100 else None
    for affine in ((weight, bias), (weight, None), (None, None)):
        check("layer_norm", x, *affine, 1e-5, centred, close=close)
        moments = reference.layer_norm(x, *affine, 1e-5, centred)[1:]
        check("layer_norm_grad", dy, x, *moments, affine[0], centred, close=close)


@dtypes
def test_moments_far_from_zero_are_exact_to_the_last_digits(dtype, gpu):
    x = normal(dtype, 4, 4, 40, 40) + dtype(5000)
    for got, exact in zip(on_gpu("batch_moments", x), reference.batch_moments(x), strict=True):
        assert got.dtype == np.float64
        np.testing.assert_allclose(got, exact, rtol=1e-6 if dtype is np.float32 else 1e-12)


def test_one_number_far_from_all_others(gpu):
    """The first, from which differences are taken: it costs the mean no more than the spread."""
    x = normal(np.float32, 2, 4, 40, 40)
    x[0, :, 0, 0] = 1e5
    (mean, var), (exact, exact_var) = on_gpu("batch_moments", x), reference.batch_moments(x)
    np.testing.assert_allclose(var, exact_var, rtol=1e-5)
    assert (np.abs(mean - exact) < 1e-5 * np.sqrt(exact_var)).all()


def test_constant_channel_has_no_variance(gpu):
    mean, var = on_gpu("batch_moments", np.full((3, 2, 5, 5), 0.1, np.float32))
    np.testing.assert_allclose(mean, 0.1, rtol=1e-7)
    assert not var.any()


def test_nan_stays_in_its_channel_and_its_row(gpu):
    x = normal(np.float64, 2, 3, 4, 4)
    x[0, 1, 2, 2] = np.nan
    mean, var = on_gpu("batch_moments", x)
    assert np.isnan(mean).tolist() == np.isnan(var).tolist() == [False, True, False]
    (y,) = on_gpu("batch_norm", x, mean, var, None, None, 1e-5)
    np.testing.assert_array_equal(np.isnan(y).all((0, 2, 3)), [False, True, False])
    dx = on_gpu("batch_norm_grad", x[:, ::-1].copy(), x, mean, np.ones(3), None, 1e-5, False)[0]
    np.testing.assert_array_equal(np.isnan(dx).any((0, 2, 3)), [False, True, False])
    y = on_gpu("layer_norm", x.reshape(24, 4), None, None, 1e-5, True)[0]
    assert np.isnan(y).all(1).nonzero()[0].tolist() == [6]
    assert np.isfinite(y).all(1).sum() == 23


@pytest.mark.parametrize("shape", [(0, 4, 3, 3), (2, 4, 0, 3)])
def test_batches_of_nothing(shape, gpu):
    x, ones = np.zeros(shape, np.float32), np.ones(4, np.float32)
    mean, var = on_gpu("batch_moments", x)
    assert mean.shape == var.shape == (4,)
    assert on_gpu("batch_norm", x, mean, var, ones, ones, 1e-5)[0].shape == shape
    moments = on_gpu("group_moments", x, 2)
    assert moments[0].shape == (len(x), 2)
    assert on_gpu("group_norm", x, *moments, ones, ones, 1e-5)[0].shape == shape
    for results in (
        on_gpu("batch_norm_grad", x, x, mean, var, ones, 1e-5, True),
        on_gpu("group_norm_grad", x, x, *moments, ones, 1e-5),
    ):
        assert results[0].shape == shape
        for gradient in results[1:]:
            np.testing.assert_array_equal(gradient, np.zeros(4))


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_rows_of_nothing(shape, gpu):
    x = np.zeros(shape, np.float32)
    y, mean, inverse = on_gpu("layer_norm", x, None, None, 1e-5, True)
    assert (y.shape, mean.shape, inverse.shape) == (shape, shape[:1], shape[:1])
    dx, dweight, dbias = on_gpu("layer_norm_grad", x, x, mean, inverse, None, True)
    assert dx.shape == shape
    np.testing.assert_array_equal([dweight, dbias], np.zeros((2, shape[1])))


def test_results_lie_channels_last_and_inputs_anywhere(gpu):
    """Four numbers at once must begin at multiples of 16 bytes."""
    x = normal(np.float32, 2, 4, 6, 5)
    flat = to_device(np.append(np.float32(0), np.moveaxis(x, 1, -1)), gpu)
    moved = flat[1:].reshape(2, 6, 5, 4).transpose(0, 3, 1, 2)
    assert is_channels_last(moved)
    mean, var = on_card.batch_moments(moved)
    y = on_card.batch_norm(moved, mean, var, None, None, 1e-5)
    dx = on_card.batch_norm_grad(moved, moved, mean, var, None, 1e-5, True)[0]
    moments = reference.batch_moments(x)
    for got, name, arguments in (
        (y, "batch_norm", (x, *moments, None, None, 1e-5)),
        (dx, "batch_norm_grad", (x, x, *moments, None, 1e-5, True)),
    ):
        assert is_channels_last(got)
        expected = getattr(reference, name)(*arguments)
        expected = expected[0] if isinstance(expected, tuple) else expected
        np.testing.assert_allclose(to_device(got, "cpu"), expected, atol=1e-5)


def test_statistics_of_float32_may_be_given(gpu):
    """Running ones are."""
    x = normal(np.float32, 2, 4, 3, 3)
    mean, var = normal(np.float32, 4), np.ones(4, np.float32)
    check("batch_norm", x, mean, var, None, None, 1e-5)
    check("batch_norm_grad", x, x, mean, var, None, 1e-5, False)
