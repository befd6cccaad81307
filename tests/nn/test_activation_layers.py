"""Activation and dropout layers: repr, names, values and gradients as torch.nn's."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed import nn
from nnmed.autograd.tensor import Tensor
from nnmed.backend import random
from nnmed.errors import ShapeError, UsageError
from tests.nn import test_layers as layers

SHAPE = (3, 4, 6)
IMAGES = (2, 4, 7, 6)

# (name of the class, positional arguments, keyword arguments, shape of the input)
LAYERS = [
    ("ReLU6", (), {}, SHAPE),
    ("PReLU", (), {}, SHAPE),
    ("PReLU", (4,), {"init": 0.1}, IMAGES),
    ("CELU", (0.5,), {}, SHAPE),
    ("SELU", (), {}, SHAPE),
    ("Mish", (), {}, SHAPE),
    ("LogSigmoid", (), {}, SHAPE),
    ("Tanhshrink", (), {}, SHAPE),
    ("Softsign", (), {}, SHAPE),
    ("Softplus", (2.0, 3.0), {}, SHAPE),
    ("Threshold", (0.1, 20.0), {}, SHAPE),
    ("Hardtanh", (-0.5,), {"max_val": 0.7}, SHAPE),
    ("Hardsigmoid", (), {}, SHAPE),
    ("Hardswish", (), {}, SHAPE),
    ("Hardshrink", (0.3,), {}, SHAPE),
    ("Softshrink", (), {"lambd": 0.3}, SHAPE),
    ("GLU", (1,), {}, SHAPE),
    ("GLU", (), {}, SHAPE),
    ("Softmin", (1,), {}, SHAPE),
    ("Softmax2d", (), {}, IMAGES),
    ("Softmax2d", (), {}, SHAPE),
]
DROPOUTS = ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout")
# Hardtanh's deprecated min_value and max_value are left out.
NAMES = sorted({name for name, *_ in LAYERS} - {"Hardtanh"} | {"RReLU", *DROPOUTS})


@pytest.mark.oracle
@pytest.mark.parametrize("case", LAYERS, ids=layers.identify)
def test_layer_equals_pytorch(torch, case, tmp_path):
    layers.test_layer_equals_pytorch(torch, case, tmp_path)


@pytest.mark.oracle
@pytest.mark.parametrize("name", NAMES)
def test_argument_names_equal_pytorch(torch, name):
    layers.test_argument_names_equal_pytorch(torch, (name,))


@pytest.mark.oracle
@pytest.mark.parametrize("name", DROPOUTS)
def test_dropout_layers_draw_in_training_only(torch, name):
    layer = getattr(nn, name)(0.4)
    assert repr(layer) == repr(getattr(torch.nn, name)(0.4))
    x = Tensor(np.ones({"Dropout1d": (20, 30, 4), "Dropout3d": (20, 30, 2, 2, 2)}.get(
        name, (20, 30, 4, 4)), np.float32))  # fmt: skip
    random.seed(1)
    first, second = layer(x).numpy(), layer(x).numpy()
    assert not np.array_equal(first, second)
    assert 0.3 < (first == first.min()).mean() < 0.5
    assert layer.eval()(x) is x
    with pytest.raises(UsageError, match=f"{name}: p must be"):
        getattr(nn, name)(-0.1)


@pytest.mark.oracle
def test_rrelu_draws_in_training_only(torch):
    layer = nn.RReLU(0.2, 0.4)
    assert repr(layer) == repr(torch.nn.RReLU(0.2, 0.4))
    x = Tensor(np.full(1000, -1, np.float32))
    first, second = layer(x).numpy(), layer(x).numpy()
    assert not np.array_equal(first, second)
    assert np.ptp(first) > 0.15
    np.testing.assert_allclose(layer.eval()(x).numpy(), -0.3, rtol=1e-6)


def test_a_slope_is_learnt():
    layer = nn.PReLU(2)
    x = nnmed.Tensor(np.array([[-1, -2], [3, -4]], np.float32))
    layer(x).sum().backward()
    np.testing.assert_array_equal(layer.weight.grad.numpy(), [-1, -6])


def test_senseless_arguments_are_named():
    with pytest.raises(ShapeError, match="PReLU: num_parameters"):
        nn.PReLU(0)
    with pytest.raises(UsageError, match="PReLU: num_parameters"):
        nn.PReLU(1.5)
    with pytest.raises(UsageError, match="PReLU: init"):
        nn.PReLU(1, init=None)
    with pytest.raises(ShapeError, match="Softmax2d"):
        nn.Softmax2d()(Tensor(np.ones((2, 3), np.float32)))
    with pytest.raises(UsageError, match=r"Hardswish.*inplace"):
        nn.Hardswish(inplace=True)
