"""Modules whose parameters lie on the GPU: moving, storing, filling, clipping, folding."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest

import nnmed
from nnmed import nn
from nnmed.autograd.tensor import Tensor
from nnmed.backend.arrays import as_channels_last, is_channels_last
from nnmed.errors import DeviceError, GradientError
from nnmed.nn import init
from nnmed.nn.utils import clip_grad_norm_, clip_grad_value_, fuse_conv_bn_eval


def network():
    """Return a network whose parameters, buffers and gradients are random."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    rng = np.random.default_rng(0)
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = np.abs(rng.standard_normal(tensor.shape)).astype(tensor.dtype)
    for parameter in model.parameters():
        parameter.grad = Tensor(rng.standard_normal(parameter.shape).astype(np.float32))
    return model


def assert_same(ours, expected):
    assert ours.state_dict().keys() == expected.state_dict().keys()
    for name, tensor in expected.state_dict().items():
        assert ours.state_dict()[name].dtype == tensor.dtype, name
        np.testing.assert_array_equal(ours.state_dict()[name].numpy(), tensor.numpy(), name)


# -- moving ---------------------------------------------------------------------------------------


def test_a_module_goes_there_and_back(gpu):
    model, expected = network(), network()
    parameters = list(model.parameters())
    for device in (gpu, "cpu"):
        assert model.to(device) is model
        assert all(a is b for a, b in zip(model.parameters(), parameters))
        tensors = [*parameters, *model.buffers(), *(p.grad for p in parameters)]
        assert {tensor.device for tensor in tensors} == {device}
        assert all(parameter.requires_grad for parameter in parameters)
        assert_same(model, expected)
        for ours, other in zip(parameters, expected.parameters()):
            np.testing.assert_array_equal(ours.grad.numpy(), other.grad.numpy())


def test_the_dtype_stays_or_changes_with_the_device(gpu):
    model = network().to(gpu).double()
    assert model[0].weight.dtype == model[0].weight.grad.dtype == np.float64
    assert model[1].num_batches_tracked.dtype == np.int64
    model.to("cpu", np.float32)
    assert model[1].running_var.device == "cpu"
    assert_same(model, network())


def test_channels_last_memory_stays_it(gpu):
    model = network()
    weight = model[0].weight
    weight._array = as_channels_last(weight._array)
    weight.grad._array = as_channels_last(weight.grad._array)
    for device in (gpu, "cpu"):
        model.to(device)
        assert is_channels_last(weight._array)
        assert is_channels_last(weight.grad._array)
    assert_same(model, network())


def test_to_where_it_is_copies_nothing(gpu):
    model = network().to(gpu)
    before = [(p._array, p._version.count) for p in model.parameters()]
    model.to(gpu)
    for parameter, (array, count) in zip(model.parameters(), before):
        assert parameter._array is array
        assert parameter._version.count == count


def test_a_copy_stands_alone(gpu):
    model = network().to(gpu)
    other = copy.deepcopy(model)
    assert other[0].weight.device == gpu
    other[0].weight.data = 0.0
    assert_same(model, network())


def test_zero_grad(gpu):
    model = network().to(gpu)
    model.zero_grad(set_to_none=False)
    assert model[0].weight.grad.device == gpu
    assert not model[0].weight.grad.numpy().any()
    model.zero_grad()
    assert model[0].weight.grad is None


# -- storing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("devices", [("cpu", "gpu"), ("gpu", "cpu"), ("gpu", "gpu")])
def test_a_state_goes_from_one_device_to_the_other(devices, gpu, tmp_path):
    source = network().to(devices[0])
    target = nn.Sequential(*(copy.deepcopy(m) for m in network())).to(devices[1])
    for tensor in target.state_dict().values():
        tensor.data = 0
    target.load_state_dict(source.state_dict())
    assert_same(target, network())
    for tensor in target.state_dict().values():
        tensor.data = 0
    nn.save_weights(source, tmp_path / "weights.safetensors", {"made": "here"})
    assert nn.load_weights(target, tmp_path / "weights.safetensors") == {"made": "here"}
    assert target[0].weight.device == devices[1]
    assert_same(target, network())


def test_raw_arrays_of_the_device_are_loaded(gpu):
    model = network().to(gpu)
    arrays = {name: tensor.data for name, tensor in network().to(gpu).state_dict().items()}
    model[0].weight.data = 0
    model.load_state_dict(arrays)
    assert_same(model, network())


# -- filling --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fill",
    [
        init.normal_, init.uniform_, init.ones_, init.zeros_, init.xavier_uniform_,
        init.xavier_normal_, init.kaiming_uniform_, init.kaiming_normal_, init.orthogonal_,
    ],
)  # fmt: skip
def test_init_gives_the_values_of_the_cpu(fill, gpu):
    results = []
    for device in ("cpu", gpu):
        nnmed.seed(3)
        tensor = Tensor(np.full((4, 3, 2, 2), 7, np.float32)).to(device)
        assert fill(tensor) is tensor
        assert tensor.device == device
        results.append(tensor.numpy())
    np.testing.assert_array_equal(*results)


def test_reset_running_stats(gpu):
    layer = network()[1].to(gpu)
    layer.reset_parameters()
    assert_same(layer, nn.BatchNorm2d(4))


# -- clipping -------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [2.0, 1.0, 3.5, math.inf])
@pytest.mark.parametrize("max_norm", [0.5, 100])
def test_clip_grad_norm(p, max_norm, gpu):
    ours, expected = network().to(gpu), network()
    ours[3].bias.grad = expected[3].bias.grad = None
    held = ours[0].weight.grad
    before = held.numpy().copy()
    norm = clip_grad_norm_(ours.parameters(), max_norm, norm_type=p)
    exact = clip_grad_norm_(expected.parameters(), max_norm, norm_type=p)
    assert (norm.device, norm.shape, norm.dtype) == (gpu, (), np.float32)
    np.testing.assert_allclose(norm.numpy(), exact.numpy(), rtol=1e-6)
    np.testing.assert_array_equal(held.numpy(), before)
    for parameter, other in zip(ours.parameters(), expected.parameters()):
        assert (parameter.grad is None) == (other.grad is None)
        if other.grad is not None:
            assert parameter.grad.device == gpu
            np.testing.assert_allclose(parameter.grad.numpy(), other.grad.numpy(), rtol=2e-6)


def test_clip_grad_value(gpu):
    ours, expected = network().to(gpu), network()
    for model in (ours, expected):
        clip_grad_value_(model.parameters(), 0.3)
    for parameter, other in zip(ours.parameters(), expected.parameters()):
        assert parameter.grad.device == gpu
        np.testing.assert_array_equal(parameter.grad.numpy(), other.grad.numpy())


def test_clipping_what_it_cannot(gpu):
    model = network().to(gpu)
    model[0].weight.grad.data = np.nan
    with pytest.raises(GradientError, match="nan"):
        clip_grad_norm_(model.parameters(), 1.0, error_if_nonfinite=True)
    assert np.isfinite(model[3].weight.grad.numpy()).all()
    clip_grad_norm_(model.parameters(), 1.0)
    assert np.isnan(model[3].weight.grad.numpy()).all()
    model[0].to("cpu")
    with pytest.raises(DeviceError, match="others on gpu"):
        clip_grad_norm_(model.parameters(), 1.0)


# -- running --------------------------------------------------------------------------------------


def test_a_folded_convolution_stays_on_the_device(gpu):
    conv, bn = (network().eval()[i] for i in (0, 1))
    expected = fuse_conv_bn_eval(conv, bn)
    fused = fuse_conv_bn_eval(conv.to(gpu), bn.to(gpu))
    assert fused.weight.device == fused.bias.device == gpu
    assert_same(fused, expected)


def test_a_summary(gpu):
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    expected = str(model.summary((2, 3)))
    assert str(model.to(gpu).summary((2, 3))) == expected


@pytest.mark.parametrize("momentum", [0.3, None])
def test_batch_norm_counts_its_batches(momentum, gpu):
    rng = np.random.default_rng(0)
    layers = nn.BatchNorm2d(3, momentum=momentum), nn.BatchNorm2d(3, momentum=momentum).to(gpu)
    for _ in range(3):
        x = Tensor(rng.standard_normal((4, 3, 5, 5)).astype(np.float32))
        for layer, device in zip(layers, ("cpu", gpu)):
            layer(x.to(device))
    for expected, ours in zip(*(layer.state_dict().values() for layer in layers)):
        assert ours.dtype == expected.dtype
        np.testing.assert_allclose(ours.numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)
    assert int(layers[1].num_batches_tracked) == 3
