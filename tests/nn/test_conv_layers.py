"""Convolution layers of signals and volumes, and what padding may be made of."""

from __future__ import annotations

import numpy as np
import pytest

from nnmed import nn
from nnmed.autograd.tensor import Tensor
from nnmed.errors import ShapeError, UsageError
from tests.nn import test_layers as layers

SIGNALS, IMAGES, VOLUMES = (2, 4, 9), (2, 4, 7, 6), (1, 4, 5, 6, 4)

# (name of the class, positional arguments, keyword arguments, shape of the input)
LAYERS = [
    ("Conv1d", (4, 6, 3), {}, SIGNALS),
    ("Conv1d", (4, 6, 3, 2, 1, 2, 2, False), {}, SIGNALS),
    ("Conv1d", (4, 6, 4), {"padding": "same", "padding_mode": "circular"}, (4, 9)),
    ("Conv3d", (4, 6, 3), {}, VOLUMES),
    ("Conv3d", (4, 6, (3, 2, 1), 2, (1, 0, 2), (1, 2, 1), 2, False), {}, VOLUMES),
    ("Conv3d", (4, 8, (1, 3, 3)), {"padding": "valid", "groups": 4}, VOLUMES[1:]),
    ("Conv3d", (4, 6, (5, 3, 1)), {"padding": "same"}, VOLUMES),
    ("Conv1d", (4, 6, 3, 1, 2), {"padding_mode": "reflect"}, SIGNALS),
    ("Conv2d", (4, 6, 3, 2, (1, 2)), {"padding_mode": "reflect"}, IMAGES),
    ("Conv2d", (4, 6, (4, 3)), {"padding": "same", "padding_mode": "replicate"}, IMAGES),
    ("Conv2d", (4, 6, 3), {"padding": "valid", "padding_mode": "circular"}, IMAGES),
    ("Conv2d", (4, 6, 3, 1, (0, 2)), {"padding_mode": "circular", "groups": 2}, IMAGES[1:]),
    ("Conv3d", (4, 6, 3, 1, (0, 1, 2)), {"padding_mode": "reflect"}, VOLUMES),
    ("Conv3d", (4, 6, 3, 2, 1), {"padding_mode": "replicate"}, VOLUMES),
    ("Conv3d", (4, 6, 2, 1, (1, 2, 0)), {"padding_mode": "circular"}, VOLUMES),
    ("ConvTranspose1d", (4, 6, 3), {}, SIGNALS),
    ("ConvTranspose1d", (4, 6, 3, 2, 1, 1, 2, True, 2), {}, SIGNALS[1:]),
    ("ConvTranspose3d", (4, 6, 2, 2), {}, VOLUMES),
    ("ConvTranspose3d", (4, 6, (3, 2, 3), (2, 1, 3), 1, (1, 0, 2), 2, False), {}, VOLUMES),
]  # fmt: skip


@pytest.mark.oracle
@pytest.mark.parametrize("case", LAYERS, ids=layers.identify)
def test_layer_equals_pytorch(torch, case, tmp_path):
    layers.test_layer_equals_pytorch(torch, case, tmp_path)


@pytest.mark.oracle
@pytest.mark.parametrize("name", sorted({name for name, *_ in LAYERS}))
def test_argument_names_and_initial_bounds_equal_pytorch(torch, name):
    torch.manual_seed(0)
    layers.test_argument_names_equal_pytorch(torch, (name,))
    layers.test_default_initialisation_has_the_bounds_of_pytorch(torch, name)


@pytest.mark.oracle
@pytest.mark.parametrize("size", [(7, 9, 3), (8, 10, 4), (1, 3, 8, 9, 4)])
def test_output_size_of_a_transposed_convolution(torch, size):
    layer, other = (
        module.ConvTranspose3d(2, 3, 3, stride=2, padding=1) for module in (nn, torch.nn)
    )  # fmt: skip
    x = np.zeros((1, 2, 4, 5, 2), np.float32)
    shape = layer(Tensor(x), output_size=size).shape
    assert shape == tuple(other(torch.from_numpy(x), output_size=list(size)).shape)


def test_output_sizes_that_cannot_be_reached_are_named():
    layer = nn.ConvTranspose1d(2, 3, 3, stride=2, padding=1)
    for size in ((5,), (9,)):
        with pytest.raises(ShapeError, match=r"ConvTranspose1d.*between \(7,\) and \(8,\)"):
            layer(Tensor(np.zeros((2, 4), np.float32)), output_size=size)


def test_padding_by_more_than_the_mode_has_is_an_error():
    layer = nn.Conv1d(1, 1, 3, padding=4, padding_mode="reflect")
    with pytest.raises(ShapeError, match="reflect"):
        layer(Tensor(np.zeros((1, 1, 4), np.float32)))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: nn.Conv2d(4, 6, -1), "Conv2d: kernel_size must be integers of at least 1"),
        (lambda: nn.Conv1d(4, 6, (3, 3)), "Conv1d: kernel_size must be an integer or one"),
        (lambda: nn.Conv3d(4, 6, (3, 3)), "Conv3d: kernel_size must be an integer or 3"),
        (lambda: nn.Conv3d(4, 6, 3, (1, 1, 2), "same"), "Conv3d: padding='same' needs stride 1"),
        (lambda: nn.Conv2d(4, 6, 3, padding_mode="constant"), "padding_mode is one of zeros"),
        (lambda: nn.ConvTranspose2d(4, 6, 3, padding_mode="reflect"), "padding_mode is 'zeros'"),
    ],
)
def test_wrong_arguments_are_named(call, words):
    with pytest.raises(UsageError, match=words):
        call()
