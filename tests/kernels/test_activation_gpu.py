"""CUDA activations against the reference loops: every function, edge values, rows, words."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from nnmed.backend.arrays import empty_channels_last, is_channels_last, to_device
from nnmed.backend.cuda import Source
from nnmed.backend.random import philox_uint32
from nnmed.kernels.activation import cpu, reference
from nnmed.kernels.activation import gpu as kernels

SETTINGS = {
    "elu": (1.3, 1.1, 0.7),
    "hardshrink": (0.5,),
    "hardtanh": (-1.0, 2.0),
    "leaky_relu": (0.1,),
    "softplus": (1.5, 20.0),
    "softshrink": (0.5,),
    "threshold": (0.5, 2.0),
}
OF_ROWS = ["softmax", "softmax_grad", "log_softmax", "log_softmax_grad"]
DRAWING = ["dropout", "dropout_grad", "random_slopes"]
CASES = [
    (name, SETTINGS.get(name.removesuffix("_grad"), ()))
    for name in cpu.__all__
    if "gelu" not in name and name not in OF_ROWS + DRAWING
]
CASES += [(name, (how,)) for name in ("gelu", "gelu_grad") for how in ("none", "tanh")]
# The borders of pieces, both tails, and numbers whose powers and exponentials overflow: a thread
# takes 4 of VALUES, and one of BEYOND.
VALUES = [0.0, -0.0, 0.5, -0.5, 1, -1, 2, 3, -3, 1e-20, -1e-20, 4, -4, 7, 12, -12, 21, -21, 60, -60]
BEYOND = [np.nan, -np.nan, np.inf, 500.0, -500.0]
CLOSE = {np.float32: {"rtol": 1e-5, "atol": 1e-6}, np.float64: {"rtol": 1e-12, "atol": 1e-15}}
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
KEY = 2**64 - 5, 2**63 + 11


def arguments_of(name, x):
    """The arrays that a function takes: x as it is, others of the same shape."""
    names = [*inspect.signature(getattr(reference, name)).parameters]
    rng = np.random.default_rng(0)
    arrays = {key: rng.uniform(0.5, 2, x.shape).astype(x.dtype) for key in ("dy", "w", "a")}
    arrays |= {"x": x, "y": x, "b": x}
    return [arrays[key] for key in names if key in arrays]


def assert_equals(expected, name, arrays, settings):
    """Run a function on the GPU and hold it beside what is expected."""
    got = getattr(kernels, name)(*(to_device(a, "gpu") for a in arrays), *settings)
    pairs = zip(*((r if isinstance(r, tuple) else (r,)) for r in (expected, got)), strict=True)
    for right, result in pairs:
        assert result.dtype == arrays[0].dtype
        tolerance = CLOSE[arrays[0].dtype.type]
        np.testing.assert_allclose(to_device(result, "cpu"), right, **tolerance)


def assert_equals_reference(name, arrays, *settings):
    exact = [a.astype(np.float64) for a in arrays]
    assert_equals(getattr(reference, name)(*exact, *settings), name, arrays, settings)


def test_all_functions_have_the_same_signatures(gpu):
    assert kernels.__all__ == cpu.__all__
    for name in cpu.__all__:
        ours, theirs = (inspect.signature(getattr(m, name)) for m in (kernels, reference))
        assert ours == theirs, name


@DTYPES
@pytest.mark.parametrize(("name", "settings"), CASES)
def test_edges_of_the_formulas(name, settings, dtype, gpu):
    assert_equals_reference(name, arguments_of(name, np.array(VALUES, dtype)), *settings)


@DTYPES
@pytest.mark.parametrize(("name", "settings"), CASES)
def test_nan_infinity_and_overflow(name, settings, dtype, gpu):
    x = np.array(BEYOND, dtype)
    arrays = arguments_of(name, x)
    expected = getattr(reference, name)(*(a.astype(np.float64) for a in arrays), *settings)
    if name in ("gelu_grad", "mish_grad"):
        expected[2] = arrays[0][2]  # at infinity the limit; the formula has infinity times 0
    assert_equals(expected, name, arrays, settings)


@DTYPES
def test_no_step_overflows_at_the_largest_number(dtype, gpu):
    x = to_device(np.array([np.finfo(dtype).max], dtype), gpu)
    for y in (kernels.hardswish(x), kernels.gelu(x, "tanh"), kernels.silu(x), kernels.mish(x)):
        assert y.get() == x.get()


@DTYPES
@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (1, 1, 1, 1), (3, 7, 5, 9), (257,)])
def test_shapes(shape, dtype, gpu):
    x = np.asarray(np.random.default_rng(1).standard_normal(shape), dtype)
    assert_equals_reference("silu", [x])
    assert_equals_reference("leaky_relu_grad", [x, x], 0.2)
    assert_equals_reference("glu_grad", [x, x, x])


# Along few and many elements, side by side and apart, for a thread and for a warp.
ROWS = [
    ((), 0), ((1,), 0), ((5, 1), 1), ((5, 2), -1), ((300, 3), 1), ((3, 31), 1), ((3, 32), 1),
    ((9, 33), 1), ((2, 257), 1), ((40, 3), 0), ((2, 33, 4), 1), ((2, 3, 4, 5), 1),
    ((2, 3, 4, 5), 2), ((2, 3, 40, 5), -2), ((0, 4), 1), ((4, 0), 1),
]  # fmt: skip


@DTYPES
@pytest.mark.parametrize(("shape", "dim"), ROWS)
def test_softmax_rows(shape, dim, dtype, gpu):
    rng = np.random.default_rng(2)
    x, dy = (np.asarray(rng.standard_normal(shape), dtype) for _ in range(2))
    for name in ("softmax", "log_softmax"):
        y = getattr(reference, name)(x.astype(np.float64), dim).astype(dtype)
        assert_equals_reference(name, [x], dim)
        assert_equals_reference(f"{name}_grad", [dy, y], dim)


@DTYPES
@pytest.mark.parametrize("size", [4, 40])
def test_softmax_of_far_numbers(size, dtype, gpu):
    far = np.resize(np.array([3e4, -3e4, 3e4, -np.inf], dtype), size)
    holed = np.resize(np.array([1.0, 2.0, np.nan, 3.0], dtype), size)
    assert_equals_reference("softmax", [np.stack([far, holed])], 1)
    assert_equals_reference("log_softmax", [np.stack([far, holed])], 1)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("dim", [1, 3])
def test_softmax_keeps_channels_last(name, dim, gpu):
    x = empty_channels_last((2, 5, 3, 4), np.float32)
    x[...] = np.random.default_rng(3).standard_normal(x.shape)
    assert_equals_reference(name, [x], dim)
    assert is_channels_last(getattr(kernels, name)(to_device(x, gpu), dim))


# Around 4 elements of a thread, 8 of a byte and 2048 of a block; 4 at a time and one by one.
DRAWN = [
    (), (0,), (1,), (3,), (4,), (7,), (8,), (9,), (12,), (2047,), (2049,), (2052,), (4096,),
    (2, 3, 5, 7), (2, 3, 2, 5, 3), (2, 9, 16, 16),
]  # fmt: skip


@DTYPES
@pytest.mark.parametrize("shape", DRAWN)
@pytest.mark.parametrize("p", [2**-32, 0.3, 1.0])
def test_dropout_drops_the_units_of_the_cpu(shape, p, dtype, gpu):
    x = np.asarray(np.random.default_rng(4).standard_normal(shape), dtype)
    expected, expected_bits = cpu.dropout(x, p, KEY)
    y, bits = kernels.dropout(to_device(x, gpu), p, KEY)
    np.testing.assert_array_equal(bits.get(), expected_bits)
    np.testing.assert_array_equal(to_device(y, "cpu"), expected)
    dx = kernels.dropout_grad(to_device(x, gpu), bits, p)
    np.testing.assert_array_equal(to_device(dx, "cpu"), expected)
    if p < 1 and x.size < 2000:
        np.testing.assert_array_equal(bits.get(), reference.dropout(x, p, KEY)[1])


def test_a_word_at_the_border_is_kept(gpu):
    words = philox_uint32(KEY, 0, 16)
    _, bits = kernels.dropout(to_device(np.ones(16), gpu), float(words[9]) / 2**32, KEY)
    kept = np.unpackbits(bits.get(), bitorder="little")
    np.testing.assert_array_equal(kept, words >= words[9])


@pytest.mark.parametrize("kernel", ["dropout", "random_slopes"])
def test_a_key_on_the_device_draws_the_same(kernel, gpu):
    x = to_device(-np.ones((3, 700)), gpu)
    arguments = (0.3,) if kernel == "dropout" else (0.1, 0.3)
    keys = to_device(np.array([[0, 1], KEY], np.uint64), gpu)
    expected = getattr(kernels, kernel)(x, *arguments, KEY)
    drawn = getattr(kernels, kernel)(x, *arguments, keys[1])
    for ours, same in zip(drawn, expected):
        np.testing.assert_array_equal(ours.get(), same.get())


@pytest.mark.parametrize("order", ["rows", "channels last", "reversed"])
def test_dropout_of_any_layout(order, gpu):
    x = np.random.default_rng(5).standard_normal((2, 3, 5, 7)).astype(np.float32)
    expected, expected_bits = cpu.dropout(x, 0.4, KEY)
    given = to_device(x, gpu)
    if order == "channels last":
        given = to_device(np.ascontiguousarray(x.transpose(0, 2, 3, 1)), gpu)
        given = given.transpose(0, 3, 1, 2)
    if order == "reversed":
        given = to_device(np.ascontiguousarray(x[:, ::-1]), gpu)[:, ::-1]
    y, bits = kernels.dropout(given, 0.4, KEY)
    np.testing.assert_array_equal(bits.get(), expected_bits)
    np.testing.assert_array_equal(to_device(y, "cpu"), expected)


@DTYPES
@pytest.mark.parametrize("start", [1, 2, 4])
def test_draws_for_a_view_that_begins_anywhere(start, dtype, gpu):
    whole = np.random.default_rng(7).standard_normal(2056 + start).astype(dtype)
    x, given = whole[start:], to_device(whole, gpu)[start:]
    expected, _ = cpu.dropout(x, 0.4, KEY)
    y, bits = kernels.dropout(given, 0.4, KEY)
    for result in (y, kernels.dropout_grad(given, bits, 0.4)):
        np.testing.assert_array_equal(result.get(), expected)
    slopes = kernels.random_slopes(given, 0.1, 0.4, KEY)
    expected = cpu.random_slopes(x, 0.1, 0.4, KEY)
    np.testing.assert_allclose(slopes.get(), expected, rtol=2 * np.finfo(dtype).eps)


@pytest.mark.parametrize(("size", "threads"), [(2056, 514), (2057, 2057)])
def test_a_thread_takes_4_elements_where_it_can(size, threads, gpu, monkeypatch):
    counts, for_each = [], Source.for_each
    monkeypatch.setattr(
        Source,
        "for_each",
        lambda self, kernel, dtype, count, *arguments: (
            counts.append(count) or for_each(self, kernel, dtype, count, *arguments)
        ),
    )
    bits = to_device(np.full(-(-size // 8), 0b10110010, np.uint8), gpu)
    kernels.dropout_grad(to_device(np.ones(size, np.float32), gpu), bits, 0.5)
    assert counts == [threads]


@DTYPES
@pytest.mark.parametrize("shape", DRAWN)
def test_random_slopes_are_those_of_the_cpu(shape, dtype, gpu):
    x = np.asarray(np.random.default_rng(6).standard_normal(shape), dtype)
    slopes = kernels.random_slopes(to_device(x, gpu), 0.1, 0.4, KEY)
    expected = cpu.random_slopes(x, 0.1, 0.4, KEY)
    np.testing.assert_allclose(to_device(slopes, "cpu"), expected, rtol=2 * np.finfo(dtype).eps)
