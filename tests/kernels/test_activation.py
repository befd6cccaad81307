"""Activation kernels: accuracy of erf and gelu, memory layouts, chunk borders."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nnmed.backend import threads
from nnmed.kernels.activation import cpu, reference
from nnmed.kernels.elementwise import _LONG

erf = np.vectorize(math.erf, otypes=[np.float64])
erfc = np.vectorize(math.erfc, otypes=[np.float64])


def everywhere():
    tiny = np.geomspace(1e-300, 1e-3, 500)
    borders = [0.46875, 0.46875000001, 0.5, 4.0, 4.0000001, 6.0, 26.0]
    return np.concatenate([np.linspace(-7, 7, 20001), tiny, -tiny, borders])


def test_erf_float64_to_1e_15():
    x = everywhere()
    np.testing.assert_allclose(cpu.erf(x), erf(x), rtol=1e-15, atol=0)


def test_erf_float32():
    x = everywhere().astype(np.float32)
    x = x[np.abs(x) > 1e-30]
    y = cpu.erf(x)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, erf(x), rtol=4e-7)


def test_erf_at_special_values():
    for dtype in (np.float32, np.float64):
        x = np.array([0.0, np.inf, -np.inf, np.nan, 1e30], dtype)
        np.testing.assert_array_equal(cpu.erf(x), np.array([0, 1, -1, np.nan, 1], dtype))


def test_gelu_keeps_the_digits_of_its_left_tail():
    x = np.linspace(-30, 10, 4001)
    expected = x * erfc(-x / math.sqrt(2)) / 2
    np.testing.assert_allclose(cpu.gelu(x, "none"), expected, rtol=3e-13)


def test_sigmoid_keeps_the_digits_of_its_left_tail():
    x = np.linspace(-700, 30, 4001)
    np.testing.assert_allclose(cpu.sigmoid(x), np.exp(x) / (1 + np.exp(x)), rtol=1e-14)


@pytest.mark.parametrize("size", [0, 1, _LONG - 1, _LONG, _LONG + 1, 3 * _LONG + 5])
def test_chunk_borders(size):
    x = np.random.default_rng(0).standard_normal(size).astype(np.float32)
    np.testing.assert_array_equal(cpu.relu(x), np.maximum(x, 0))
    np.testing.assert_array_equal(cpu.relu_grad(x, -x), np.where(x < 0, x, 0))


LAYOUTS = {
    "rows": lambda a: a,
    "channels last": lambda a: np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1),
    "transposed": lambda a: np.ascontiguousarray(a.T).T,
    "every second": lambda a: np.repeat(a, 2, axis=2)[:, :, ::2],
    "reversed": lambda a: np.ascontiguousarray(a[::-1, :, ::-1])[::-1, :, ::-1],
}


@pytest.mark.parametrize("layout_x", LAYOUTS)
@pytest.mark.parametrize("layout_dy", LAYOUTS)
def test_layouts_may_differ(layout_x, layout_dy):
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, 3, 4, 5, 6)), rng.standard_normal((2, 3, 4, 5, 6))
    x, dy = x[..., 0], dy[..., 0]
    expected = cpu.silu_grad(np.ascontiguousarray(dy), np.ascontiguousarray(x))
    actual = cpu.silu_grad(LAYOUTS[layout_dy](dy), LAYOUTS[layout_x](x))
    np.testing.assert_array_equal(actual, expected)


def test_repeated_gradient_is_not_spread_out():
    x = np.random.default_rng(0).standard_normal((3, _LONG)).astype(np.float32)
    dy = np.broadcast_to(np.float32(0.5), x.shape)
    expected = cpu.tanh_grad(dy.copy(), x)
    np.testing.assert_array_equal(cpu.tanh_grad(dy, x), expected)


EXACT = {
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "logsigmoid": lambda x: np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x))),
    "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "silu": lambda x: x / (1 + np.exp(-x)),
}
ARGUMENTS = {"elu": (1.0,), "softplus": (1.0, 40.0)}


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_results_of_every_size_keep_their_digits(name, dtype):
    x = np.concatenate([np.linspace(-80, 40, 20001), np.linspace(-2, 2, 20001)])
    x = np.concatenate([x, np.geomspace(1e-6, 1, 100), -np.geomspace(1e-6, 1, 100)]).astype(dtype)
    expected = EXACT[name](x.astype(np.float64))
    y = getattr(cpu, name)(x, *ARGUMENTS.get(name, ()))
    assert y.dtype == dtype
    np.testing.assert_allclose(y, expected, rtol=6 * np.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pieces_are_chosen_by_the_sign_of_every_number(dtype):
    tiny, huge = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
    x = np.array([0.0, -0.0, tiny, -tiny, huge, -huge, np.inf, -np.inf], dtype)
    dy = np.full_like(x, 3)
    np.testing.assert_array_equal(cpu.relu_grad(dy, x), [0, 0, 3, 0, 3, 0, 3, 0])
    for slope in (0.1, -0.1, 1.7, 0.0):
        below = 3 * dtype(slope)
        expected = [below, below, 3, below, 3, below, 3, below]
        np.testing.assert_array_equal(cpu.leaky_relu_grad(dy, x, slope), expected)
        np.testing.assert_array_equal(cpu.prelu_grad(dy, x, np.full_like(x, slope))[0], expected)


# Whether NaN counts as a number above 0, with PyTorch; None where it stays NaN.
AT_NAN = {"leaky_relu": False, "prelu": False, "hardswish": None}


@pytest.mark.parametrize("name", AT_NAN)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradients_at_nan_of_either_sign(name, dtype, torch):
    x = np.resize(np.array([np.nan, np.copysign(np.nan, -1), 2, -2], dtype), 64)
    dy = np.full_like(x, 3)
    more = {"leaky_relu": (0.25,), "prelu": (np.full_like(x, 0.25),)}.get(name, ())
    ours, exact = (getattr(form, f"{name}_grad")(dy, x, *more) for form in (cpu, reference))
    ours, exact = (np.atleast_2d(np.array(result)) for result in (ours, exact))
    np.testing.assert_allclose(ours, exact, rtol=1e-6)
    expected = {True: 3, False: 0.75, None: np.nan}[AT_NAN[name]]
    np.testing.assert_array_equal(ours[0][:2], expected)
    theirs = torch.tensor(x, requires_grad=True)
    more = [torch.tensor([0.25], dtype=theirs.dtype)] if name == "prelu" else more
    getattr(torch.nn.functional, name)(theirs, *more).backward(torch.tensor(dy))
    np.testing.assert_allclose(ours[0], theirs.grad.numpy(), rtol=1e-6)


@pytest.mark.parametrize("shape", [(3, 5, 200, 210), (70, 9000), (40000, 6), (700, 3, 300)])
def test_softmax_is_bit_identical_for_any_number_of_threads(shape):
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    count = threads.get_num_threads()
    try:
        results = []
        for used in (1, 3):
            threads.set_num_threads(used)
            y = cpu.softmax(x, 1)
            results.append((y, cpu.softmax_grad(x, y, 1), cpu.log_softmax(x, 1)))
    finally:
        threads.set_num_threads(count)
    for one, three in zip(*results):
        np.testing.assert_array_equal(one, three)
