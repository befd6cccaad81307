"""What a user holds: dtypes, memory, versions."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import nnmed
from nnmed import Tensor
from nnmed.errors import (
    DeviceError,
    DTypeError,
    GradientError,
    NnmedError,
    OutOfRangeError,
    ShapeError,
)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (1.5, np.float32),
        ([1, 2], np.int64),
        ([1.0, 2], np.float32),
        (True, np.bool_),
        (np.float64(2), np.float32),
        (np.float64([2]), np.float64),
        (np.array(2.0), np.float64),
        (np.uint8([1]), np.uint8),
    ],
)
def test_dtype_of_new_tensors(value, dtype):
    assert Tensor(value).dtype == dtype


@pytest.mark.parametrize("value", [np.float16([1]), np.complex64([1]), np.array(["a"]), ["a"]])
def test_other_dtypes_are_refused(value):
    with pytest.raises(DTypeError, match="float32"):
        Tensor(value)


X32 = Tensor([1.0, 2.0], requires_grad=True)
X64 = Tensor(np.ones(2), requires_grad=True)
INT = Tensor([1, 2])


@pytest.mark.parametrize(
    ("result", "dtype"),
    [
        (lambda: X32 * 2, np.float32),
        (lambda: X32 * np.float64(0.1), np.float32),
        (lambda: np.float64(0.1) * X32, np.float32),
        (lambda: X32 * Tensor(np.array(2.0)), np.float32),
        (lambda: X32 * INT, np.float32),
        (lambda: X32 * X64, np.float64),
        (lambda: INT * 2.5, np.float32),
        (lambda: INT / INT, np.float32),
        (lambda: INT * 2, np.int64),
        (lambda: INT.exp(), np.float32),
        (lambda: X32 ** np.float64(2), np.float32),
        (lambda: X32.mean() + X32.var(), np.float32),
        (lambda: np.ones(2, np.float32) * X32, np.float32),
        (lambda: nnmed.where(X32 > 1, X32, 0.0), np.float32),
        (lambda: X32.clip(min=np.float64(0)), np.float32),
        (lambda: X32.sum() ** 0.5, np.float32),
    ],
)
def test_nothing_is_widened_silently(result, dtype):
    result = result()
    assert isinstance(result, Tensor)
    assert result.dtype == dtype
    if result.requires_grad:
        for x in (X32, X64):
            (gradient,) = nnmed.grad(result.sum(), x, allow_unused=True, retain_graph=True)
            assert gradient is None or gradient.dtype == x.dtype


def test_a_number_keeps_its_precision_beside_float64():
    assert (X64 * 0.1).data[0] == 0.1


def test_an_integer_has_no_gradient():
    with pytest.raises(GradientError, match="float"):
        Tensor([1, 2], requires_grad=True)


def test_tensor_copies_and_from_numpy_shares():
    a = np.zeros(2)
    copied, shared = Tensor(a), nnmed.from_numpy(a)
    a[0] = 5
    assert copied.data[0] == 0
    assert shared.data[0] == 5
    shared[1] = 7
    assert a[1] == 7


def test_data_and_numpy_are_read_only():
    x = Tensor([1.0])
    for array in (x.data, x.numpy(), np.asarray(x)):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 2


def changes():
    def assign(x):
        x.data = np.full(3, 9.0)

    def write_item(x):
        with nnmed.no_grad():
            x[0] = 9.0

    def write_through_view(x):
        x.detach().reshape(3, 1)[1] = 9.0

    def write_through_slice(x):
        with nnmed.no_grad():
            x[1:][0] = 9.0

    return [assign, write_item, write_through_view, write_through_slice]


@pytest.mark.parametrize("change", changes())
def test_backward_refuses_changed_inputs(change):
    x = Tensor(np.ones(3), requires_grad=True)
    y = (x * x).sum()
    change(x)
    with pytest.raises(GradientError, match=r"Mul at .*test_tensor.py:\d+ .*changed in place"):
        y.backward()


def test_backward_refuses_a_changed_output():
    x = Tensor(np.ones(3), requires_grad=True)
    y = x.exp()
    y.detach()[0] = 9.0
    with pytest.raises(GradientError, match="the output"):
        y.sum().backward()


def test_changes_that_no_gradient_needs_are_fine():
    x = Tensor(np.ones(3), requires_grad=True)
    y = (x + x).sum()
    x.data = np.zeros(3)
    y.backward()
    np.testing.assert_array_equal(x.grad.data, [2, 2, 2])


def test_a_copy_does_not_share_its_version():
    x = Tensor(np.ones((2, 3)), requires_grad=True)
    h = x.transpose(0, 1).reshape(6)  # this reshape has to copy
    y = (h * h).sum()
    h_version = h._version.count
    x.data = np.zeros((2, 3))
    assert h._version.count == h_version
    y.backward()


def test_recorded_tensors_cannot_be_written():
    x = Tensor(np.ones(3), requires_grad=True)
    with pytest.raises(GradientError, match="where"):
        x[0] = 1.0
    with pytest.raises(GradientError, match="where"):
        (x * 2)[0] = 1.0
    with pytest.raises(GradientError, match="where"):
        Tensor(np.ones(3))[0] = x[1]


def test_data_of_another_shape_is_refused():
    with pytest.raises(ShapeError, match=r"\(3,\).*\(2,\)"):
        Tensor(np.ones(3)).data = np.ones(2)


def test_broadcast_views_cannot_be_written():
    view = Tensor(np.ones((1, 3))).broadcast_to((2, 3))
    with pytest.raises(GradientError, match="read-only"):
        view[0] = 2.0


def test_detach_shares_memory_and_cuts_the_graph():
    x = Tensor([1.0], requires_grad=True)
    y = (x * 2).detach()
    assert not y.requires_grad
    assert y.is_leaf


def test_devices():
    x = Tensor([1.0])
    assert x.device == "cpu"
    assert x.to("cpu") is x
    assert x.cpu() is x
    with pytest.raises(DeviceError, match="unknown device"):
        x.to("cuda:0")


def test_to_dtype_is_differentiable():
    x = Tensor([1.0, 2.0], requires_grad=True)
    (x.double() * 3).sum().backward()
    assert x.grad.dtype == np.float32
    np.testing.assert_array_equal(x.grad.data, [3, 3])


def test_python_protocols():
    x = Tensor([[1.0, 2.0], [3.0, 4.0]])
    assert len(x) == 2
    assert [row.tolist() for row in x] == [[1, 2], [3, 4]]
    assert float(x[0, 1]) == 2
    assert bool(x[0, 0] > 0)
    assert repr(Tensor([1.0], requires_grad=True)) == "Tensor([1.], requires_grad=True)"
    assert "op=Mul" in repr(Tensor([1.0], requires_grad=True) * 2)
    assert x.T.shape == (2, 2)
    assert [1, 2, 3][Tensor(1)] == 2
    with pytest.raises(DTypeError, match="index"):
        [1, 2, 3][Tensor(1.0)]
    assert not any(value == x for value in (None,))
    with pytest.raises(OutOfRangeError, match="dim 5"):
        nnmed.Tensor([1.0]).size(5)
    with pytest.raises(ShapeError, match="one element"):
        x.item()


def test_channels_last_memory_survives_element_wise_ops():
    from nnmed.backend.arrays import empty_channels_last, is_channels_last

    x = nnmed.from_numpy(empty_channels_last((2, 3, 4, 5), np.float32)).requires_grad_()
    with nnmed.no_grad():
        x[...] = 0.5
    bias = Tensor(np.ones((1, 3, 1, 1), np.float32))
    for y in (x * 2 + bias, x.exp(), nnmed.where(x > 0, x, 0.0), x.clip(0, 1), x.clone(), x / x):
        assert is_channels_last(y._array)
        (gradient,) = nnmed.grad(y, x, nnmed.from_numpy(y.data))
        assert is_channels_last(gradient._array)


def test_values_of_another_shape_are_broadcast_into_place():
    x = Tensor(np.zeros((2, 3)))
    x[...] = np.arange(3)
    np.testing.assert_array_equal(x.data, [[0, 1, 2]] * 2)
    with pytest.raises(ShapeError, match=r"shape \(4,\) .* shape \(2, 3\)"):
        x[0] = np.ones(4)
    with pytest.raises(OutOfRangeError, match=r"shape \(2, 3\)"):
        x[5] = 0


def test_an_update_in_place_writes_into_the_leaf():
    w = Tensor([1.0, 2.0], requires_grad=True)
    same, y = w, (w * w).sum()
    with pytest.raises(GradientError, match="no_grad"):
        w -= 0.5
    with nnmed.no_grad():
        for leaf in (w,):  # the name is bound anew by each operator
            leaf -= 0.5
            leaf *= 2
    assert leaf is same
    np.testing.assert_array_equal(w.data, [1, 3])
    with pytest.raises(GradientError, match="changed in place"):
        y.backward()
    total = 0.0
    total += (w * 2).sum()
    total += w.sum()  # a result is not a leaf: += makes a new tensor
    total.backward()
    np.testing.assert_array_equal(w.grad.data, [3, 3])


def test_numbers_can_be_formatted():
    assert f"{Tensor(1.5):.3f} {Tensor([2.0]):.0f} {Tensor([1, 2])}" == (
        "1.500 2 Tensor([1, 2], dtype=int64)"
    )


@pytest.mark.parametrize("value", [[[1.0], [1.0, 2.0]], [[1], 2]])
def test_ragged_lists_are_refused(value):
    with pytest.raises(ShapeError, match="lengths"):
        Tensor(value)


def test_integers_beyond_int64_are_refused():
    with pytest.raises(DTypeError, match="int64"):
        Tensor([2**63])


def test_from_numpy_takes_the_plain_array():
    m = nnmed.from_numpy(np.ma.array([1.0, 2.0], mask=[False, True]))
    assert type((m * m)._array) is np.ndarray


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x.size("rows"),
        lambda x: x.reshape("a"),
        lambda x: x.reshape(3.0, 2.0),
        lambda x: x.permute(None),
        lambda x: x.expand(object()),
        lambda x: x.broadcast_to(1.5),
        lambda x: x.split(None),
        lambda x: x.split("a"),
        lambda x: nnmed.concatenate(None),
        lambda x: nnmed.concatenate("ab"),
        lambda x: nnmed.concatenate(Tensor(1.0)),
        lambda x: nnmed.stack(3),
        lambda x: nnmed.einsum(x, x),
        lambda x: x.__setitem__(0, {}),
        lambda x: setattr(x, "data", lambda: 0),
        lambda x: nnmed.grad(3, x),
        lambda x: nnmed.grad(x, None),
        lambda x: (x.requires_grad_() * 1).backward("down"),
    ],
)
def test_nonsense_is_named(call):
    with pytest.raises(NnmedError):
        call(Tensor(np.ones((2, 3))))


def test_lengths_may_be_tensors_and_numpy_integers():
    x = Tensor(np.ones((2, 3)))
    assert x.reshape(np.int32(3), Tensor(2)).shape == (3, 2)
    assert x.size(np.int64(1)) == 3


def test_the_gpu_needs_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(DeviceError, match=r"needs CuPy.*pip install"):
        Tensor([1.0]).to("gpu")


def test_the_gpu_needs_a_card(monkeypatch, gpu):
    import cupy

    monkeypatch.setattr(cupy.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="no CUDA device"):
        Tensor([1.0]).to(gpu)
