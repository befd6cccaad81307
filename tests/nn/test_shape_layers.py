"""Padding, resizing and reshaping layers and Bilinear, as torch.nn."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from nnmed import nn
from nnmed.autograd.tensor import Tensor
from nnmed.errors import ShapeError, UsageError

SIGNALS, PICTURES, VOLUMES = (2, 4, 7), (2, 4, 6, 5), (1, 2, 4, 3, 5)
SIDES = {1: (SIGNALS, (2, 1)), 2: (PICTURES, (2, 1, 0, 3)), 3: (VOLUMES, (1, 2, 0, 1, 2, 1))}

# (name of the class, arguments, keyword arguments, shapes of the inputs)
LAYERS = [
    *(
        (f"{kind}Pad{dims}d", (padding,), {"value": 2.5} if kind == "Constant" else {}, [shape])
        for kind in ("Constant", "Zero", "Reflection", "Replication", "Circular")
        for dims, (shape, sides) in SIDES.items()
        for padding in (1, sides)
    ),
    ("ReflectionPad2d", ((1, -1, 0, 2),), {}, [PICTURES[1:]]),
    ("Upsample", (), {"scale_factor": 2}, [SIGNALS]),
    ("Upsample", (9,), {"mode": "linear", "align_corners": True}, [SIGNALS]),
    ("Upsample", ((9, 4),), {"mode": "bicubic"}, [PICTURES]),
    ("Upsample", ((2, 4, 7),), {"mode": "trilinear"}, [VOLUMES]),
    ("Upsample", (), {"scale_factor": 1.5, "mode": "area"}, [VOLUMES]),
    ("Upsample", (), {"scale_factor": (1.3, 0.7), "mode": "nearest-exact"}, [PICTURES]),
    ("UpsamplingNearest2d", (), {"scale_factor": 2}, [PICTURES]),
    ("UpsamplingBilinear2d", ((7, 9),), {}, [PICTURES]),
    ("Unfold", (2,), {}, [PICTURES]),
    ("Unfold", ((3, 2), 1, 1, (2, 1)), {}, [PICTURES[1:]]),
    ("Fold", ((4, 5), 2), {}, [(2, 8, 12)]),
    ("Fold", (4, 2, 1, 1, 2), {}, [(8, 9)]),
    ("PixelShuffle", (2,), {}, [PICTURES]),
    ("PixelUnshuffle", (3,), {}, [(2, 3, 6, 3)]),
    ("ChannelShuffle", (2,), {}, [PICTURES]),
    ("Unflatten", (1, (2, 2)), {}, [PICTURES]),
    ("Unflatten", (-1, (-1, 5)), {}, [PICTURES]),
    ("Bilinear", (3, 4, 5), {}, [(6, 3), (6, 4)]),
    ("Bilinear", (3, 4, 5, False), {}, [(2, 6, 3), (2, 6, 4)]),
]


def identify(layer):
    name, *arguments, _ = layer
    return name + " " + " ".join(map(str, arguments))


def draw(shape, seed):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def close(ours, theirs):
    np.testing.assert_allclose(ours.numpy(), theirs.detach().numpy(), rtol=2e-5, atol=2e-5)


@pytest.mark.oracle
@pytest.mark.parametrize("layer", LAYERS, ids=identify)
def test_layer_equals_pytorch(torch, layer):
    name, arguments, keywords, shapes = layer
    ours, theirs = (getattr(module, name)(*arguments, **keywords) for module in (nn, torch.nn))
    assert repr(ours) == repr(theirs)
    names, expected = (
        [key for key in inspect.signature(type(layer)).parameters if key not in ("device", "dtype")]
        for layer in (ours, theirs)
    )
    assert names == expected
    ours.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
    arrays = [draw(shape, seed) for seed, shape in enumerate(shapes)]
    inputs = [Tensor(array, requires_grad=True) for array in arrays]
    others = [torch.tensor(array, requires_grad=True) for array in arrays]
    y, z = ours(*inputs), theirs(*others)
    close(y, z)
    gradient = draw(y.shape, 9)
    y.backward(Tensor(gradient))
    z.backward(torch.tensor(gradient))
    leaves = [*inputs, *ours.parameters()], [*others, *theirs.parameters()]
    for tensor, other in zip(*leaves):
        close(tensor.grad, other.grad)


@pytest.mark.oracle
def test_bilinear_starts_within_the_bounds_of_pytorch(torch):
    ours, theirs = nn.Bilinear(30, 40, 20), torch.nn.Bilinear(30, 40, 20)
    for parameter, other in zip(ours.parameters(), theirs.parameters()):
        assert parameter.shape == tuple(other.shape)
        bound = other.abs().max().item()
        assert abs(parameter.numpy()).max() == pytest.approx(bound, rel=0.1)


def test_unflattening_an_empty_batch():
    assert nn.Unflatten(1, (2, -1))(Tensor(np.zeros((0, 6)))).shape == (0, 2, 3)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: nn.ZeroPad2d((1, 2)), UsageError),
        (lambda: nn.ConstantPad1d(1.5, 0), UsageError),
        (lambda: nn.ReflectionPad3d((1, 1, 1, 1, 1, 0.5)), UsageError),
        (lambda: nn.Unflatten(1, ()), UsageError),
        (lambda: nn.Unflatten(1, 2), UsageError),
        (lambda: nn.Upsample(scale_factor="2"), UsageError),
        (lambda: nn.Upsample(scale_factor=(2, None)), UsageError),
        (lambda: nn.Unflatten(1, (2.0, 3)), UsageError),
        (lambda: nn.Unflatten(1, (2, 2))(Tensor(np.zeros((2, 6)))), ShapeError),
        (lambda: nn.Unflatten(1, (-1, 4))(Tensor(np.zeros((2, 6)))), ShapeError),
        (lambda: nn.Unflatten(1, (-1, -1))(Tensor(np.zeros((2, 6)))), ShapeError),
        (lambda: nn.Bilinear(0, 2, 3), UsageError),
        (lambda: nn.Bilinear(2, -1, 3), UsageError),
    ],
)
def test_wrong_arguments(call, error):
    with pytest.raises(error):
        call()
