"""The networks: shapes, names, memory layout, and equality with PyTorch's blocks."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed import functional as F
from nnmed import models, nn
from nnmed.autograd import op as op_module
from nnmed.backend.arrays import as_channels_last, is_channels_last
from nnmed.errors import UsageError


@pytest.mark.parametrize("name", models.MODELS)
def test_shapes(name):
    model = models.build(name, 3, 5)
    x = nnmed.Tensor(np.zeros((2, 3, 33, 40), np.float32))
    assert model(x).shape == (2, 5)
    assert model.features(x).ndim == 4
    np.testing.assert_array_equal(model.classify(model.features(x)).data, model(x).data)


def test_an_unknown_model_is_named():
    with pytest.raises(UsageError, match="resnet"):
        models.build("vgg", 1, 2)
    for networks in (0, "2", 1.5):
        with pytest.raises(UsageError, match="networks"):
            models.build("cnn", 1, 2, networks)


def test_resnet18_has_the_parameters_of_the_paper():
    model = models.resnet18()
    assert sum(p.numel() for p in model.parameters()) == 11_689_512
    names = set(model.state_dict())
    assert {"conv1.weight", "layer2.0.downsample.0.weight", "layer4.1.bn2.running_var"} <= names


class Joined(nn.Module):
    """The ways in which maps are joined: stride, transposed convolution, concatenation."""

    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(3, 8, 3, padding=1)
        self.bn = nn.BatchNorm2d(8)
        self.deep = nn.Conv2d(8, 16, 3, padding=1)
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.out = nn.Conv2d(16, 2, 1)

    def forward(self, x):
        first = F.relu(self.bn(self.down(x)))
        deep = F.relu(self.deep(F.max_pool2d(first, 2)))
        up = F.relu(self.up(deep)) + F.interpolate(deep[:, :8], scale_factor=2.0)
        return self.out(nnmed.concatenate([first, up], 1))


BATCH = 5  # no other length in the network, so that weights are not taken for maps


class LayoutObserver:
    """Collects the ops whose maps are not on channels-last memory."""

    def __init__(self):
        self.strays, self.seen = [], 0

    def check(self, op, what, array):
        if array is not None and array.ndim == 4 and len(array) == BATCH and 1 not in array.shape:
            self.seen += 1
            # A slice of channels is strided, but its channels still lie side by side; a
            # number repeated to a map has no memory order (stride 0).
            if not is_channels_last(array) and array.strides[1] not in (0, array.itemsize):
                self.strays.append(f"{op.name} {what} {array.shape} {array.strides}")

    def forward(self, op, inputs, output):
        self.check(op, "output", output._array)

    def backward(self, op, dy, gradients):
        for gradient, need in zip(gradients, op.needs):
            if need:
                self.check(op, "gradient", None if gradient is None else gradient._array)


@pytest.mark.parametrize(
    "make",
    [Joined, lambda: models.ResNet(3, 2, (1, 1), 8), lambda: models.UNet(3, 2, 4, levels=2)],
)
def test_every_activation_and_gradient_is_channels_last(make):
    rng = np.random.default_rng(0)
    image = as_channels_last(rng.standard_normal((BATCH, 3, 16, 16)).astype(np.float32))
    model, observer = make(), LayoutObserver()
    op_module.observers.append(observer)
    try:
        output = model(nnmed.from_numpy(image))
        (output * output).mean().backward()
    finally:
        op_module.observers.remove(observer)
    assert observer.seen > 10
    assert not observer.strays, observer.strays


@pytest.mark.oracle
def test_a_residual_network_equals_pytorchs(torch):
    """The network written again in PyTorch, with the same weights: output and gradients."""
    model = models.ResNet(1, 2, (1, 2), 4)
    x = np.random.default_rng(0).standard_normal((3, 1, 12, 12)).astype(np.float32)
    output = model(nnmed.Tensor(x))
    output[:, 1].sum().backward()
    state = {
        name: torch.tensor(t.numpy().copy()) for name, t in models.ResNet(1, 2, (1, 2), 4)
        .state_dict().items()
    }  # fmt: skip
    state.update({n: torch.tensor(p.numpy().copy()) for n, p in model.named_parameters()})
    for name, _ in model.named_parameters():
        state[name].requires_grad_(True)

    functional = torch.nn.functional

    def bn(x, name):
        return functional.batch_norm(
            x, None, None, state[f"{name}.weight"], state[f"{name}.bias"], training=True
        )

    def block(x, name, stride):
        y = functional.relu(bn(functional.conv2d(x, state[f"{name}.conv1.weight"], None, stride, 1),
                               f"{name}.bn1"))  # fmt: skip
        y = bn(functional.conv2d(y, state[f"{name}.conv2.weight"], None, 1, 1), f"{name}.bn2")
        if f"{name}.downsample.0.weight" in state:
            x = functional.conv2d(x, state[f"{name}.downsample.0.weight"], None, stride)
            x = bn(x, f"{name}.downsample.1")
        return functional.relu(y + x)

    y = functional.relu(
        bn(functional.conv2d(torch.tensor(x), state["conv1.weight"], None, 2, 1), "bn1")
    )
    y = block(block(block(y, "layer1.0", 1), "layer2.0", 2), "layer2.1", 1)
    expected = functional.linear(y.mean((2, 3)), state["fc.weight"], state["fc.bias"])
    expected[:, 1].sum().backward()
    np.testing.assert_allclose(output.data, expected.detach().numpy(), rtol=1e-4, atol=1e-5)
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(
            parameter.grad.data, state[name].grad.numpy(), rtol=1e-3, atol=1e-4, err_msg=name
        )
