"""Corners of the basic ops: ties, NaN, powers of 0, empty and 0-d tensors, odd indices."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed import Tensor
from nnmed.errors import DTypeError, OutOfRangeError, ShapeError, UsageError
from nnmed.ops import elementwise as e
from nnmed.ops import reduction, selection
from nnmed.ops.linalg import linear

NAN, INF = float("nan"), float("inf")


def leaf(values):
    return Tensor(np.array(values, np.float64), requires_grad=True)


def gradients(function, *arrays):
    tensors = [leaf(a) for a in arrays]
    return [g.numpy() for g in nnmed.grad(function(*tensors).sum(), tensors)]


@pytest.mark.oracle
@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_ties_and_nan_share_as_in_pytorch(name, torch):
    a = np.array([1, 1, NAN, 1, NAN, INF, -INF, 0.0])
    b = np.array([1, 2, 1, NAN, NAN, INF, INF, -0.0])
    ours = gradients(getattr(selection, name), a, b)
    x, y = (torch.tensor(v, requires_grad=True) for v in (a, b))
    theirs = torch.autograd.grad(getattr(torch, name)(x, y).sum(), [x, y])
    for o, t in zip(ours, theirs):
        np.testing.assert_array_equal(o, t.numpy())


@pytest.mark.oracle
def test_powers_of_zero_and_of_negatives_as_in_pytorch(torch):
    a = np.array([0, 0, 0, 0, -2, -2, -2, 2, 2, INF, 1, -1, 0.5, INF, -0.0])
    b = np.array([0, 1, 2, -1, 2, 3, 0.5, 0, 0.5, 0, NAN, INF, INF, -1, 3])
    ours = gradients(e.pow, a, b)
    x, y = (torch.tensor(v, requires_grad=True) for v in (a, b))
    theirs = torch.autograd.grad((x**y).sum(), [x, y])
    for o, t in zip(ours, theirs):
        np.testing.assert_allclose(o, t.numpy())


def test_the_mixed_second_derivative_of_a_power_at_exponent_0():
    a, b = leaf([2.0, 3.0]), leaf([0.0, 0.0])
    (da,) = nnmed.grad((a**b).sum(), a, create_graph=True)
    (mixed,) = nnmed.grad(da.sum(), b)
    np.testing.assert_allclose(mixed.data, [1 / 2, 1 / 3])  # a^(b-1) (1 + b ln a)


def test_clip_stops_an_infinite_gradient():
    (dx,) = gradients(lambda x: x.clip(0.0, 2.0).log(), [-1.0, 1.0])
    np.testing.assert_array_equal(dx, [0, 1])


@pytest.mark.parametrize(
    "function",
    [
        lambda x: 1.0 / x,
        lambda x: x / 0.0,
        lambda x: x**-1,
        lambda x: x**0.5,
        lambda x: x**x,
        lambda x: (x * -1e4).exp(),
        lambda x: x.log(),
        lambda x: x.sqrt(),
    ],
)
def test_infinities_come_without_warnings(function):
    x = leaf([0.0, -1.5])
    y = function(x)
    y.backward(np.ones(2))
    assert not np.isfinite(y.data).all()


@pytest.mark.parametrize(
    ("result", "dtype"),
    [
        (lambda: Tensor([1, 2]).clip(min=0.5), np.float32),
        (lambda: Tensor([1, 2]).clip(min=np.int64(2)), np.int64),
        (lambda: Tensor(np.uint8([200, 100])).sum(), np.int64),
        (lambda: Tensor(np.bool_([True, True])).sum(0), np.int64),
        (lambda: Tensor([1.0, 2.0]) + np.float64(1), np.float32),
        (lambda: Tensor([True]) * np.int32(2), np.int64),
    ],
)
def test_dtypes_of_integer_results(result, dtype):
    assert result().dtype == dtype


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: leaf([1, 2]) + leaf([1, 2, 3]), ShapeError, r"\(2,\), \(3,\)"),
        (lambda: Tensor([1, 2]) == Tensor([1, 2, 3]), ShapeError, r"\(2,\), \(3,\)"),
        (lambda: nnmed.where(Tensor([True]), leaf([1, 2]), leaf([1, 2, 3])), ShapeError, "shapes"),
        (lambda: leaf([1, 2]).broadcast_to((2, 3)), ShapeError, "broadcast"),
        (lambda: leaf([1, 2]).broadcast_to((2, -1)), ShapeError, "broadcast"),
        (lambda: leaf([1, 2]).reshape(-2, -1), ShapeError, "reshape"),
        (lambda: leaf(1.0).split(1), ShapeError, "0-d"),
        (lambda: leaf([[[1.0]]] * 2) @ leaf([[[1.0]]] * 3), ShapeError, "shapes"),
        (lambda: leaf([1, 2])[2], OutOfRangeError, r"shape \(2,\)"),
        (lambda: leaf([1, 2])[1.5], ShapeError, "integer or bool"),
        (lambda: leaf([1, 2]).sum("a"), UsageError, "dim"),
        (lambda: leaf([[1, 2]]).sum(0, 1), UsageError, "keepdim must be True or False, got 1"),
        (lambda: leaf([1, 2])[::0], OutOfRangeError, "step"),
        (lambda: leaf([1, 2]).var(True), UsageError, "dim must be an integer, got True"),
        (lambda: linear(leaf([1, 2]), leaf(1.0)), ShapeError, "1 or 2 dimensions"),
        (lambda: leaf([1, 2]).clip(Tensor([1.0])), UsageError, "numbers"),
        (lambda: leaf(np.zeros((0, 3))).max(0), ShapeError, "no maximum"),
        (lambda: Tensor([1, 2]) ** -1, DTypeError, "negative integer powers"),
        (lambda: Tensor(np.uint8([1])) == -1, DTypeError, "-1 does not fit uint8"),
        (lambda: Tensor([True]) - Tensor([True]), DTypeError, "bool"),
        (lambda: -Tensor([True]), DTypeError, "bool"),
        (lambda: ~Tensor([1.0]), DTypeError, "float32"),
        (lambda: Tensor([1.0]).to("foo"), DTypeError, "foo"),
        (lambda: nnmed.einsum("i->ii", leaf([1, 2])), UsageError, "output"),
        (lambda: nnmed.einsum("i->k", leaf([1, 2])), UsageError, "output"),
        (lambda: nnmed.einsum("i1->i", leaf([[1, 2]])), UsageError, "letters"),
        (lambda: nnmed.einsum("i,i", leaf([1, 2]), leaf([1, 2, 3])), ShapeError, "lengths 2 and 3"),
    ],
)
def test_errors_say_what_is_wrong(call, error, match):
    with pytest.raises(error, match=match):
        call()


@pytest.mark.parametrize(
    "index",
    [
        ((0, 0), (1, 1)),
        ((0, 0),),
        [[0, 1], [1, 0]],
        range(2),
        ([0, 0], 1),
        (np.array([0, 0]), None),
    ],
)
def test_sequences_in_an_index_may_repeat(index):
    x, dy = leaf(np.arange(12.0).reshape(3, 4)), np.random.default_rng(0)
    y = x[index]
    expected, dy = np.zeros((3, 4)), dy.standard_normal(y.shape)
    np.add.at(expected, index, dy)
    np.testing.assert_array_equal(nnmed.grad(y, x, Tensor(dy))[0].data, expected)


@pytest.mark.parametrize("name", ["sum", "mean", "var", "max", "min", "amax", "amin"])
def test_a_number_is_reduced_to_itself(name):
    x = leaf(3.0)
    y = getattr(reduction, name)(x, **({"correction": 0} if name == "var" else {}))
    (dx,) = nnmed.grad(y, x)
    assert (y.item(), dx.item()) == ((0, 0) if name == "var" else (3, 1))


def test_no_values_in_other_dimensions_are_no_trouble():
    x = leaf(np.zeros((0, 3)))
    assert x.max(1).values.shape == x.amin(dim=1).shape == x.argmax(axis=1).shape == (0,)
    assert (leaf(np.zeros((2, 3, 0))) @ leaf(np.zeros((0, 4)))).shape == (2, 3, 4)


def test_an_empty_tuple_of_dims_means_all():
    x = leaf([[1.0, 2], [3, 4]])
    assert x.sum(dim=()).item() == 10
    assert x.amax(dim=[], keepdim=True).shape == (1, 1)


def test_variance_without_degrees_of_freedom():
    assert np.isnan(leaf([1.0]).var().item())
    assert leaf([1.0, 2.0]).var(correction=3).item() == INF


def test_t_reverses_all_dimensions():
    assert leaf(np.zeros((2, 3, 4))).T.shape == (4, 3, 2)
    assert leaf(1.0).transpose(0, -1).shape == ()


def test_einsum_keeps_only_what_backward_needs():
    x = leaf([[1.0, 2]])
    y = nnmed.einsum("ij->ji", x)
    x.data = np.zeros((1, 2))
    y.sum().backward()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 3, 1, 2)])
def test_a_sum_that_threads_share_equals_numpys(dtype, order):
    rng = np.random.default_rng(0)
    shape = (2, 64, 64, e._LARGE // 4096)
    a, b = ((10 * rng.standard_normal(shape)).astype(dtype).transpose(order) for _ in range(2))
    expected = a + b
    y = (nnmed.from_numpy(a) + nnmed.from_numpy(b)).numpy()
    np.testing.assert_array_equal(y, expected)
    assert (y.dtype, y.strides) == (expected.dtype, expected.strides)


def test_a_large_sum_of_arrays_that_lie_differently_equals_numpys():
    a = np.random.default_rng(0).standard_normal((4, e._LARGE // 2), np.float32)
    turned, double = np.asfortranarray(a), a.astype(np.float64)
    repeated, gaps = np.broadcast_to(a[:1], a.shape), np.repeat(a, 2, axis=1)[:, ::2]
    pairs = [(a, b) for b in (a[::-1], a[:, ::-1], turned, double, repeated, gaps)]
    for x, y in [*pairs, (turned, turned), (repeated, repeated), (gaps, gaps), (a[::-1], a[::-1])]:
        assert not x.size < e._LARGE
        total = Tensor._wrap(x) + Tensor._wrap(y)
        np.testing.assert_array_equal(total.numpy(), x + y)


def test_joined_pictures_lie_as_numpy_lays_them():
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((2, 5, 6, c), np.float32).transpose(0, 3, 1, 2) for c in (3, 4))
    y = nnmed.concatenate([nnmed.from_numpy(a), nnmed.from_numpy(b)], 1).numpy()
    expected = np.concatenate([a, b], 1)
    np.testing.assert_array_equal(y, expected)
    assert y.strides == expected.strides
    squares = [nnmed.from_numpy(rng.standard_normal((6, 6))) for _ in range(3)]
    assert nnmed.stack(squares, 1).numpy().flags.c_contiguous
