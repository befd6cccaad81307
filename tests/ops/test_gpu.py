"""Ops on the GPU: devices that are mixed, numbers, indices, and the order of memory."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import nnmed
from nnmed import Tensor
from nnmed import functional as F
from nnmed.autograd import op as op_module
from nnmed.backend.arrays import as_channels_last, is_channels_last
from nnmed.backend.cuda import Source
from nnmed.errors import DeviceError, DTypeError, UsageError

RNG = np.random.default_rng(3)


def leaf(array, device):
    return Tensor(array).to(device).requires_grad_()


def picture(device, channels=3):
    array = as_channels_last(RNG.standard_normal((2, channels, 4, 5)))
    return leaf(array, device)


# -- devices --------------------------------------------------------------------------------------


def test_a_move_is_differentiable_in_both_directions(gpu):
    x = Tensor([1.0, 2.0], requires_grad=True)
    y = x.to(gpu)
    assert (y.device, y.is_leaf, y.cuda() is y, y.to(gpu) is y) == (gpu, False, True, True)
    z = (y * y).cpu()
    assert z.device == "cpu"
    (gradient,) = nnmed.grad(z.sum(), x, create_graph=True)
    assert gradient.device == "cpu"
    (gradient * gradient).sum().backward()
    np.testing.assert_array_equal(gradient.numpy(), [2, 4])
    np.testing.assert_array_equal(x.grad.numpy(), [8, 16])


def test_a_move_keeps_the_order_of_memory(gpu):
    x = picture("cpu").to(gpu)
    assert is_channels_last(x._array)
    assert is_channels_last(x.cpu()._array)


@pytest.mark.parametrize(
    "mix",
    [
        lambda a, b: a + b,
        lambda a, b: a < b,
        lambda a, b: a @ b,
        lambda a, b: nnmed.concatenate([a, b]),
        lambda a, b: nnmed.where(a > 0, b, 1.0),
        lambda a, b: F.linear(a, b),
        lambda a, b: F.cross_entropy(a, b[:, 0].long()),
        lambda a, b: F.mse_loss(a, b),
        lambda a, b: a + np.ones((3, 3), np.float32),
    ],
)
def test_two_devices_are_an_error_that_names_both(mix, gpu):
    a = Tensor(np.ones((3, 3), np.float32))
    with pytest.raises(DeviceError, match=r"(?s)cpu.*gpu|gpu.*cpu"):
        mix(a.to(gpu), a)


def test_losses_take_constant_weights_to_the_input(gpu):
    x, labels = Tensor(np.eye(3)).to(gpu), Tensor([0, 1, 2]).to(gpu)
    weight = np.array([1.0, 2.0, 3.0])
    assert F.cross_entropy(x, labels, weight).device == gpu


# -- arithmetic -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "kernel"),
    [
        (lambda a, b: a * b, "mul_grad"),
        (lambda a, b: a / b, "div_grad"),
        (lambda a, b: a**b, "pow_grad"),
        (lambda a, b: a**3.5, "pow_scalar_grad"),
        (lambda a, b: a**0, "pow_scalar_grad"),
        (lambda a, b: a**1, "pow_scalar_grad"),
        (lambda a, b: a**2, "pow_scalar_grad"),
        (lambda a, b: a**-1, "pow_scalar_grad"),
        (lambda a, b: nnmed.sqrt(a), "sqrt_grad"),
        (lambda a, b: nnmed.sin(a), "sin_grad"),
        (lambda a, b: nnmed.cos(a), "cos_grad"),
        (lambda a, b: nnmed.abs(a), "abs_grad"),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_gradient_of_arithmetic_is_one_kernel(function, kernel, dtype, gpu, monkeypatch):
    values = [-np.inf, -2, -1, -0.0, 0, 0.5, 1, 3, np.inf, np.nan]
    a, b = np.array(np.meshgrid(values, values), dtype).reshape(2, 10, 2, 5)
    dy = RNG.standard_normal(a.shape).astype(dtype)
    launched, launch = [], Source.launch
    monkeypatch.setattr(
        Source,
        "launch",
        lambda self, name, *rest: launched.append(name) or launch(self, name, *rest),
    )
    gradients = []
    for device in ("cpu", gpu):
        given = leaf(a, device), leaf(as_channels_last(b), device)
        function(*given).backward(Tensor(dy).to(device))
        gradients.append([None if t.grad is None else t.grad.numpy() for t in given])
    assert launched == [kernel]
    for ours, expected in zip(*reversed(gradients)):
        assert (ours is None) == (expected is None)
        if ours is not None:
            np.testing.assert_allclose(ours, expected, rtol=1e-6 if dtype is np.float32 else 1e-14)


def test_a_gradient_beside_a_broadcast_one_keeps_the_order_of_memory(gpu):
    x, scale = picture(gpu), leaf(RNG.standard_normal((2, 3, 1, 1)), gpu)
    (scale * x).backward(Tensor(as_channels_last(RNG.standard_normal(x.shape))).to(gpu))
    assert is_channels_last(x.grad._array)


def test_what_is_not_wanted_is_not_computed(gpu):
    a, b = leaf(RNG.standard_normal(9), gpu), Tensor(RNG.standard_normal(9)).to(gpu)
    for y, expected in ((a / b, 1 / b), (b / a, -b / a**2), (b * a, b)):
        (gradient,) = nnmed.grad(y.sum(), [a])
        np.testing.assert_allclose(gradient.numpy(), expected.numpy(), rtol=1e-12)


# -- numbers --------------------------------------------------------------------------------------


def test_numbers_go_to_the_other_operand(gpu):
    x = Tensor(np.array([0.5, -1.5])).to(gpu)
    for y in (x + 1, 2 - x, x * True, x**2, x > 0, np.float32(3) * x, nnmed.maximum(x, 0.1)):
        assert y.device == gpu
    assert nnmed.where(x > 0, 1.0, 2).tolist() == [1.0, 2.0]
    assert (x + 0.1).tolist() == [0.5 + 0.1, -1.5 + 0.1]
    with pytest.raises(DTypeError, match="300 does not fit uint8"):
        Tensor(np.array([1], np.uint8)).to(gpu) + 300


def test_a_step_of_ops_neither_sends_nor_fetches(gpu, monkeypatch):
    cupy = pytest.importorskip("cupy")
    if not hasattr(cupy, "FUNCTIONS"):
        pytest.skip("real arrays cannot be watched")
    x, w = picture(gpu), leaf(np.ones((3, 1, 1)), gpu)
    labels = Tensor(np.zeros((2, 4, 5), np.uint8)).to(gpu)

    def stop(*_, **__):
        raise AssertionError("numbers between the card and the host")

    for name in ("get", "item", "tolist", "set", "__bool__", "__float__", "__int__"):
        monkeypatch.setattr(cupy.ndarray, name, stop)
    monkeypatch.setattr(cupy, "array", stop)
    y = nnmed.where(x > 0, x * w + 1, 0.5 - x).clip(-1, 1).exp()
    y = nnmed.concatenate([y, nnmed.maximum(y, 0.5)], 1)
    scores = y.mean((2, 3)) - y.logsumexp(1).max()
    values, _ = (scores**2).max(1)
    loss = values.sum() + F.cross_entropy(x, labels.long()) + F.dice_loss(x, labels)
    loss = loss + F.dice_ce_loss(x, labels.long()) + F.focal_loss(x[:, :1], labels, ignore_index=7)
    loss = loss + F.binary_cross_entropy(F.sigmoid(x), F.softmax(x, 1).detach())
    loss.backward()
    assert x.grad.shape == x.shape


# -- memory order ---------------------------------------------------------------------------------


class Strays:
    """An observer that lists maps whose channels do not lie side by side."""

    def __init__(self):
        self.seen, self.found = 0, []

    def forward(self, op, inputs, output):
        self.check(op, output)

    def backward(self, op, dy, gradients):
        for gradient in gradients:
            self.check(op, gradient)

    def check(self, op, tensor):
        if tensor is not None and tensor.ndim == 4 and 1 not in tensor.shape:
            self.seen += 1
            if tensor._array.strides[1] not in (0, tensor._array.itemsize):
                self.found.append((op.name, tensor._array.strides))


@pytest.mark.parametrize("create_graph", [False, True])
def test_channels_last_maps_stay_so(create_graph, gpu):
    x, other, w = picture(gpu), picture(gpu), leaf(np.ones((3, 1, 1)), gpu)
    strays = Strays()
    op_module.observers.append(strays)
    try:
        y = F.relu(x * w + other) - x / (abs(other) + 1) + (x**2).sqrt() * x.exp() + x.sin()
        y = nnmed.concatenate([y, nnmed.maximum(x, other), -x, x.float().double()], 1)
        y = nnmed.where((y > 0) & (y != 1), y, 0.0).clip(min=0.1).clone()
        y[:, 2:].amax((2, 3)).mean().backward(create_graph=create_graph)
    finally:
        op_module.observers.remove(strays)
    assert strays.seen > 30
    assert not strays.found
    for tensor in (x, other):
        assert is_channels_last(tensor.grad._array)


def test_broadcast_operands_of_fewer_dimensions(gpu):
    x, w = picture("cpu"), RNG.standard_normal((4, 5))
    expected = (x * Tensor(w)).numpy()
    np.testing.assert_array_equal((x.to(gpu) * Tensor(w).to(gpu)).numpy(), expected)
    np.testing.assert_array_equal((Tensor(w).to(gpu) * x.to(gpu)).numpy(), expected)


@pytest.mark.parametrize("moved", [as_channels_last, np.ascontiguousarray])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 1, 1, 1), (0, 3, 4, 5)])
def test_sums_of_channels(shape, moved, gpu):
    array = moved(RNG.standard_normal(shape))
    total = Tensor(array).to(gpu).sum((0, 2, 3), keepdim=True)
    np.testing.assert_allclose(total.numpy(), array.sum((0, 2, 3), keepdims=True), atol=1e-12)


# -- indices --------------------------------------------------------------------------------------

INDICES = [
    (slice(None), 1),
    (..., slice(None, None, -2)),
    (None, 2),
    np.array([2, 0, 2, -1]),
    [1, 1],
    (np.array([[0], [2]]), np.array([3, 0])),
    (slice(1, 3), np.array([0, 0, 3])),
    np.arange(12).reshape(3, 4) % 3 == 0,
    np.array([True, False, True]),
    (1, np.array([], int)),
]


@pytest.mark.parametrize("index", INDICES, ids=str)
@pytest.mark.parametrize("place", ["cpu", "gpu", "plain"])
def test_indices_of_either_device(index, place, gpu):
    def moved(part):
        return Tensor(part).to(place) if isinstance(part, np.ndarray) and place != "plain" else part

    results = []
    for device in ("cpu", gpu):
        if device == "cpu" and place == "gpu":
            key = index
        else:
            key = tuple(map(moved, index)) if isinstance(index, tuple) else moved(index)
        x = leaf(np.arange(12.0).reshape(3, 4), device)
        y = x[key]
        (y * y).sum().backward()
        with nnmed.no_grad():
            z = Tensor(x)
            z[key] = -1.0
            z[key] = y.detach() * 2
        results.append((y.numpy(), x.grad.numpy(), z.numpy()))
    for ours, expected in zip(*results[::-1]):
        np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("index", INDICES, ids=str)
@pytest.mark.parametrize("moved", [as_channels_last, np.ascontiguousarray])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradients_of_indices_are_the_cpus_to_the_last_bit(index, moved, dtype, gpu):
    array = moved(np.random.default_rng(0).standard_normal((3, 4, 5, 6)).astype(dtype))
    dy = np.random.default_rng(1).standard_normal(array[index].shape).astype(dtype)
    results = []
    with nnmed.deterministic(True):
        for device in ("cpu", gpu):
            x = leaf(array, device)
            (dx,) = nnmed.grad(x[index], x, Tensor(dy).to(device))
            results.append(dx)
    np.testing.assert_array_equal(results[1].numpy(), results[0].numpy())
    assert is_channels_last(results[1]._array) == (moved is as_channels_last)
    assert results[1].dtype == dtype


def test_sums_of_many_have_the_same_bits_in_every_run(gpu):
    rng = np.random.default_rng(0)
    index, dy = rng.integers(0, 3, 999), Tensor(rng.standard_normal(999).astype(np.float32))
    x = leaf(np.zeros(3, np.float32), gpu)
    with nnmed.deterministic(True):
        results = [nnmed.grad(x[index], x, dy.to(gpu))[0].numpy() for _ in range(3)]
    expected = np.zeros(3, np.float32)
    np.add.at(expected, index, dy.numpy())
    for result in results:
        np.testing.assert_array_equal(result, expected)
    np.testing.assert_allclose(nnmed.grad(x[index], x, dy.to(gpu))[0].numpy(), expected, rtol=1e-5)


def test_writing_where_the_last_value_is_not_known(gpu):
    x, y = Tensor([1.0, 2.0, 3.0]).to(gpu), Tensor([1.0, 2.0, 3.0])
    with nnmed.deterministic(True):
        for tensor in (x, y):
            tensor[:2] = 0.0
            tensor[[True, False, True]] = 5.0
        y[[0, 0]] = Tensor([6.0, 7.0])
        for index in ([0, 0], Tensor([0, 0]), (..., np.array([1]))):
            with pytest.raises(DeviceError, match="slices or a mask"):
                x[index] = 7.0
    assert (x.tolist(), y.tolist()) == ([5.0, 0.0, 5.0], [7.0, 0.0, 5.0])
    x[[0]] = 7.0
    assert x.tolist() == [7.0, 0.0, 5.0]


def test_an_index_of_the_gpu_into_an_array_of_the_cpu(gpu):
    x, index = Tensor([1.0, 2.0, 3.0]), Tensor([2, 0]).to(gpu)
    assert x[index].tolist() == [3.0, 1.0]
    x[index] = 0.0
    assert x.tolist() == [0.0, 2.0, 0.0]


def test_an_index_that_is_changed_later_does_not_change_the_gradient(gpu):
    x, index = leaf(np.arange(3.0), gpu), Tensor([0, 0]).to(gpu)
    y = x[index]
    index[...] = 2
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 0.0, 0.0]


# -- labels, which are not looked at --------------------------------------------------------------


def test_a_label_that_is_no_class_makes_a_segmentation_loss_nan(gpu):
    x = Tensor(RNG.standard_normal((1, 2, 3, 3))).to(gpu)
    labels = Tensor(np.full((1, 3, 3), 255, np.uint8)).to(gpu)
    assert np.isnan(F.dice_loss(x, labels).item())
    assert np.isfinite(F.dice_loss(x, labels, ignore_index=255).item())


# -- Python's protocols ---------------------------------------------------------------------------


def test_values_come_back_as_pythons(gpu):
    x = Tensor([[1.0, 2.0]]).to(gpu)
    assert x.tolist() == [[1.0, 2.0]]
    assert (x[0, 1].item(), float(x[0, 0]), int(x[0, 1]), bool(x[0, 0] > 0)) == (2.0, 1.0, 2, True)
    assert repr(x) == "Tensor([[1., 2.]], device='gpu')"
    assert f"{x[0, 0]:.2f}" == "1.00"
    assert [row.tolist() for row in x] == [[1.0, 2.0]]
    np.testing.assert_array_equal(np.asarray(x), [[1, 2]])
    assert list(range(3))[Tensor(2).to(gpu)] == 2


def test_copies_stay_on_the_device(gpu):
    x = leaf(np.ones(3), gpu)
    for y in (Tensor(x), copy.deepcopy(x), x.detach(), x.clone(), Tensor(x._array)):
        assert y.device == gpu
        assert y.tolist() == [1.0, 1.0, 1.0]
    assert Tensor([x[0], 2.0]).device == "cpu"  # a list of numbers


def test_writing_into_a_tensor(gpu):
    x = Tensor(np.zeros((2, 3))).to(gpu)
    x[0] = [1.0, 2.0, 3.0]
    x[1, :2] = 5
    x.data = x._array + 1
    assert x.tolist() == [[2, 3, 4], [6, 6, 1]]
    for value in (np.zeros((2, 3)), Tensor(np.zeros((2, 3)))):
        with pytest.raises(DeviceError, match=r"gpu.*cpu"):
            x.data = value
    with pytest.raises(DeviceError, match=r"cpu.*gpu"):
        Tensor(np.zeros((2, 3)))[...] = x
    with pytest.raises(UsageError, match="take numbers"):
        x[0] = {}


def test_dtypes(gpu):
    x = Tensor([1.5, -2.5]).to(gpu)
    for dtype in (np.float64, np.int64, np.int32, bool, np.uint8):
        y = abs(x).to(dtype)
        assert (y.device, y.dtype) == (gpu, dtype)
    assert (x.double() + x).dtype == np.float64
    assert (x > 0).sum().dtype == np.int64


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.bool_])
@pytest.mark.parametrize("loss", [F.dice_loss, F.focal_loss, F.dice_ce_loss])
def test_masks_of_any_dtype(loss, dtype, gpu):
    labels, results = np.arange(12).reshape(1, 3, 4) % 3 == 0, []
    for device in ("cpu", gpu):
        x = leaf(np.random.default_rng(0).standard_normal((1, 2, 3, 4)), device)
        (first,) = nnmed.grad(loss(x, Tensor(labels.astype(dtype)).to(device)), x)
        y = loss(x, Tensor(labels.astype(dtype)).to(device))
        (recorded,) = nnmed.grad(y, x, create_graph=True)
        results.append((y.numpy(), first.numpy(), recorded.numpy()))
    for ours, expected in zip(*results[::-1]):
        np.testing.assert_allclose(ours, expected, rtol=1e-12)
