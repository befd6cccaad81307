"""Optimizers on the GPU: the steps of the CPU, and states that go from one to the other."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nnmed import nn, optim
from nnmed.autograd.tensor import Tensor
from nnmed.errors import DeviceError
from nnmed.optim import swa_utils
from nnmed.optim.swa_utils import AveragedModel
from tests.optim.test_optimizers import ALL, OVERRIDES, gradients, make, start

CLOSE = {np.float32: {"rtol": 3e-6, "atol": 3e-6}, np.float64: {"rtol": 1e-12, "atol": 1e-12}}


def make_on(device, name, dtype=np.float32):
    function, options = ALL[name]
    parameters = [Tensor(a).to(device).requires_grad_() for a in start(dtype)]
    groups = [{"params": parameters[:2]}, {"params": parameters[2:], **OVERRIDES}]
    return parameters, getattr(optim, function)(groups, **options)


def run(parameters, optimizer, steps, dtype=np.float32):
    for step in steps:
        for parameter, gradient in zip(parameters, gradients(step, dtype)):
            parameter.grad = None
            if gradient is not None:
                parameter.grad = Tensor(gradient).to(parameter.device)
        optimizer.step()
        optimizer.zero_grad()


def assert_same(ours, expected, dtype=np.float32):
    for parameter, other in zip(ours, expected):
        assert parameter.dtype == dtype
        np.testing.assert_allclose(parameter.numpy(), other.numpy(), **CLOSE[dtype])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ALL)
def test_equals_the_cpu(name, dtype, gpu):
    ours, optimizer = make_on(gpu, name, dtype)
    expected, other = make(name, dtype)
    run(ours, optimizer, range(10), dtype)
    run(expected, other, range(10), dtype)
    assert all(parameter.device == gpu for parameter in ours)
    assert_same(ours, expected, dtype)


@pytest.mark.parametrize("devices", [("cpu", "gpu"), ("gpu", "cpu"), ("gpu", "gpu")])
@pytest.mark.parametrize("name", ["momentum", "amsgrad", "nadam", "lamb"])
def test_a_state_goes_from_one_device_to_the_other(name, devices, gpu):
    expected, whole = make(name)
    run(expected, whole, range(9))
    first, before = make_on(devices[0], name)
    run(first, before, range(5))
    second, after = make_on(devices[1], name)
    for parameter, other in zip(second, first):
        parameter.data = other.to(devices[1])
    after.load_state_dict(before.state_dict())
    run(first, before, range(5, 7))  # nothing is shared
    run(second, after, range(5, 9))
    assert_same(second, expected)


def test_a_packed_state_lies_on_the_cpu(gpu):
    parameters, optimizer = make_on(gpu, "adam")
    run(parameters, optimizer, range(2))
    metadata, arrays = optim.pack_state(optimizer.state_dict())
    json.dumps(metadata)
    assert all(isinstance(array, np.ndarray) for array in arrays.values())
    _, other = make_on(gpu, "adam")
    other.load_state_dict(optim.unpack_state(metadata, arrays))
    for ours, theirs in zip(other.state.values(), optimizer.state.values()):
        np.testing.assert_array_equal(ours["exp_avg"].get(), theirs["exp_avg"].get())


def test_parameters_on_both_devices(gpu):
    expected, whole = make("adamw")
    run(expected, whole, range(3))
    ours, _ = make_on(gpu, "adamw")
    ours[2] = Tensor(ours[2].numpy(), requires_grad=True)
    groups = [{"params": ours[:2]}, {"params": ours[2:], **OVERRIDES}]
    run(ours, optim.AdamW(groups, lr=0.02), range(3))
    assert_same(ours, expected)


def test_zero_grad_makes_zeros_there(gpu):
    parameters, optimizer = make_on(gpu, "sgd")
    parameters[0].grad = Tensor(np.ones((4, 3), np.float32)).to(gpu)
    optimizer.zero_grad(set_to_none=False)
    assert parameters[0].grad.device == gpu
    assert not parameters[0].grad.numpy().any()


def test_a_gradient_or_a_state_on_the_other_device(gpu):
    layer = nn.Linear(2, 1)
    optimizer = optim.Adam(layer.parameters())
    for parameter in layer.parameters():
        parameter.grad = Tensor(np.ones(parameter.shape, np.float32))
    optimizer.step()
    layer.to(gpu)
    with pytest.raises(DeviceError, match="before making its optimizer"):
        optimizer.step()
    layer.weight.grad = Tensor(np.ones((1, 2), np.float32))
    with pytest.raises(DeviceError, match="is on gpu and its gradient on cpu"):
        optimizer.step()


def test_a_training_run_equals_the_cpu(gpu):
    def train(device):
        model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 2)).double()
        for number, parameter in enumerate(model.parameters()):
            parameter.data = np.random.default_rng(number).standard_normal(parameter.shape)
        optimizer = optim.AdamW(model.to(device).parameters(), lr=0.01)
        schedule = optim.lr_scheduler.LinearLR(optimizer, start_factor=0.1, total_iters=5)
        for step in range(8):
            x = np.random.default_rng(step).standard_normal((6, 5))
            optimizer.zero_grad()
            (model(Tensor(x).to(device)) ** 2).mean().backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        return model.parameters()

    assert_same(train(gpu), train("cpu"), np.float64)


def network(value):
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    for number, tensor in enumerate((*model.parameters(), *model.buffers())):
        tensor.data = number + value
    return model


@pytest.mark.parametrize("kind", ["swa", "ema", "ema one"])
def test_averages_of_a_model(kind, gpu):
    def average(device):
        options = {
            "swa": {},
            "ema": {"multi_avg_fn": swa_utils.get_ema_multi_avg_fn(0.8)},
            "ema one": {"avg_fn": swa_utils.get_ema_avg_fn(0.8)},
        }[kind]
        averaged = AveragedModel(network(0).to(device), use_buffers=kind != "ema", **options)
        for value in (1, 5, 2):
            averaged.update_parameters(network(value).to(device))
        return averaged

    ours, expected = average(gpu).state_dict(), average("cpu").state_dict()
    for name, tensor in expected.items():
        assert ours[name].dtype == tensor.dtype
        np.testing.assert_allclose(ours[name].numpy(), tensor.numpy(), rtol=1e-6, err_msg=name)
    for device in ("cpu", gpu):
        resumed = AveragedModel(network(0).to(device))
        resumed.load_state_dict(ours)
        assert resumed.n_averaged == 3
