"""The engine on the GPU: sums of gradients, sharing, versions, checkpoints, checks."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed import Tensor
from nnmed import functional as F
from nnmed.backend.arrays import as_channels_last, is_channels_last
from nnmed.errors import AnomalyError, DeviceError, GradientError, UsageError


def leaf(*values, device="gpu"):
    return Tensor(np.array(values, np.float64)).to(device).requires_grad_()


# -- gradients ------------------------------------------------------------------------------------


@pytest.mark.parametrize("create_graph", [False, True])
def test_gradients_add_up(create_graph, gpu):
    x = leaf(1.0, 2.0)
    for _ in range(2):
        y = x * x + x
        (y * 2.0).sum().backward(create_graph=create_graph)
    assert x.grad.device == gpu
    assert x.grad.tolist() == [12.0, 20.0]


@pytest.mark.parametrize("create_graph", [False, True])
def test_the_sum_of_gradients_keeps_the_order_of_memory(create_graph, gpu):
    array = as_channels_last(np.random.default_rng(0).standard_normal((2, 3, 4, 5)))
    x = Tensor(array).to(gpu).requires_grad_()
    for _ in range(2):
        y = x * 2.0
        (y * y + y.exp()).sum().backward(create_graph=create_graph)
    assert is_channels_last(x.grad._array)
    (gradient,) = nnmed.grad((x * x).sum(), x)
    assert is_channels_last(gradient._array)


def test_a_gradient_is_nobody_elses_array(gpu):
    a, b, c = leaf(1.0, 2.0), leaf(3.0, 4.0), leaf(5.0, 6.0, device="cpu")
    dy = Tensor(np.ones(2)).to(gpu)
    gradients = [*nnmed.grad(a + b + c.to(gpu), [a, b, c], dy), dy, *nnmed.grad(a.sum(), a)]
    assert [g.device for g in gradients] == [gpu, gpu, "cpu", gpu, gpu]
    for index, gradient in enumerate(gradients):
        for other in gradients[:index]:
            same = gradient.device == other.device
            assert not (same and np.may_share_memory(gradient._array, other._array))
    a.mean().backward()
    a.grad[0] = 7.0  # not a broadcast view
    assert a.grad.tolist() == [7.0, 0.5]


def test_a_model_may_lie_on_both_devices(gpu):
    w, v = leaf(2.0, 3.0, device="cpu"), leaf(4.0, 5.0)
    for _ in range(2):
        (((w * w).to(gpu) * v).cpu() * w).sum().backward()
    assert (w.grad.device, v.grad.device) == ("cpu", gpu)
    np.testing.assert_array_equal(w.grad.numpy(), 2 * 3 * w.numpy() ** 2 * v.numpy())
    np.testing.assert_array_equal(v.grad.numpy(), 2 * w.numpy() ** 3)


# -- what starts a backward -----------------------------------------------------------------------


def test_a_gradient_may_be_a_tensor_an_array_or_numbers(gpu):
    array = Tensor(np.array([3.0, 4.0])).to(gpu)._array
    for dy in (Tensor(array), array, [3.0, 4.0]):
        x = leaf(1.0, 2.0)
        (x * 2.0).backward(dy)
        assert x.grad.tolist() == [6.0, 8.0]
    assert nnmed.grad(x * 2.0, x, array)[0].tolist() == [6.0, 8.0]
    with pytest.raises(UsageError, match="made of numbers"):
        (x * 2.0).backward("text")


@pytest.mark.parametrize("devices", [("cpu", "gpu"), ("gpu", "cpu")])
@pytest.mark.parametrize("as_array", [False, True])
def test_a_gradient_from_another_device_is_an_error(devices, as_array, gpu):
    x, dy = leaf(1.0, 2.0, device=devices[0]), Tensor(np.ones(2)).to(devices[1])
    with pytest.raises(DeviceError, match=f"on {devices[1]} and the output on {devices[0]}"):
        (x * 2.0).backward(dy._array if as_array else dy)


# -- changes in place -----------------------------------------------------------------------------


def test_a_change_in_place_is_noticed(gpu):
    x = leaf(1.0, 2.0)
    y = x * x
    with nnmed.no_grad():
        x -= 1.0
    assert x.tolist() == [0.0, 1.0]
    with pytest.raises(GradientError, match="changed in place"):
        y.sum().backward()


def test_a_view_shares_its_version(gpu):
    x = leaf(1.0, 2.0, 3.0)
    y = x * x
    x.detach()[1:].reshape(2, 1)[0] = 5.0
    assert x.tolist() == [1.0, 5.0, 3.0]
    with pytest.raises(GradientError, match="changed in place"):
        y.sum().backward()


def test_a_broadcast_view_cannot_be_written_to(gpu):
    view = Tensor([1.0]).to(gpu).broadcast_to((3,))
    with pytest.raises(GradientError, match="broadcast view"):
        view[0] = 2.0
    Tensor([1.0, 2.0]).to(gpu)[None][:, 0] = 3.0  # a new axis of length 1 has a stride of 0 too


# -- checks and watchers --------------------------------------------------------------------------


def test_gradcheck(gpu):
    x, w = leaf(0.3, -0.7), leaf(1.5)

    def function(x, w):
        return F.sigmoid(x) * w, (x**2).sum()

    assert nnmed.gradcheck(function, [x, w])
    assert nnmed.gradgradcheck(function, [x, w])
    with pytest.raises(GradientError, match="element"):
        nnmed.gradcheck(lambda x: x * x.detach(), x)


def test_an_anomaly_is_named(gpu):
    x = leaf(1.0, -1.0)
    with nnmed.detect_anomaly(), pytest.raises(AnomalyError, match=r"Log gave nan at \(1,\)"):
        x.log()
    zero = leaf(0.0)
    with nnmed.detect_anomaly(), pytest.raises(AnomalyError, match=r"gradient of Sqrt .* inf"):
        zero.sqrt().backward(Tensor(np.ones(1)).to(gpu))


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_checkpoint_gives_the_same_gradients(create_graph, gpu):
    def block(x, w):
        return F.dropout(F.tanh(x * w), 0.5) * w

    gradients = []
    for run in (block, lambda *inputs: nnmed.checkpoint(block, *inputs)):
        nnmed.seed(0)
        x, w = leaf(*np.linspace(-1, 1, 9)), leaf(0.7)
        found = nnmed.grad(run(x, w).sum(), [x, w], create_graph=create_graph)
        gradients.append([g.numpy() for g in found])
    for ours, expected in zip(*gradients):
        np.testing.assert_array_equal(ours, expected)


def test_random_numbers_are_those_of_the_cpu(gpu):
    results = []
    for device in ("cpu", gpu):
        nnmed.seed(3)
        results.append(F.dropout(Tensor(np.ones((5, 7))).to(device), 0.4).numpy())
    np.testing.assert_array_equal(*results)
