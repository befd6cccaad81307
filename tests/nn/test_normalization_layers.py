"""Layers of normalisation: beside torch.nn, their statistics and their errors."""

from __future__ import annotations

import numpy as np
import pytest

from nnmed import nn
from nnmed.autograd.tensor import Tensor
from nnmed.errors import ShapeError, UsageError
from tests.nn import test_layers as layers

SIGNALS, IMAGES, VOLUMES = (2, 4, 9), (2, 4, 7, 6), (2, 4, 3, 2, 4)
TRACKING = {"affine": True, "track_running_stats": True}

# (name of the class, positional arguments, keyword arguments, shape of the input)
LAYERS = [
    ("BatchNorm3d", (4,), {"momentum": 0.3}, VOLUMES),
    ("BatchNorm3d", (4, 1e-3, None, False), {}, VOLUMES),
    ("InstanceNorm1d", (4,), {}, SIGNALS),
    ("InstanceNorm1d", (4,), {"affine": True, "bias": False}, SIGNALS[1:]),
    ("InstanceNorm2d", (4, 1e-3, 0.3), TRACKING, IMAGES),
    ("InstanceNorm2d", (4,), TRACKING, IMAGES[1:]),
    ("InstanceNorm3d", (4,), {"track_running_stats": True}, VOLUMES),
    ("GroupNorm", (2, 4), {}, IMAGES),
    ("GroupNorm", (4, 4, 0.1), {"bias": False}, (3, 4, 2)),
    ("GroupNorm", (1, 4), {"affine": False}, VOLUMES),
    ("LayerNorm", (6,), {}, IMAGES),
    ("LayerNorm", ([7, 6], 0.1), {"bias": False}, IMAGES),
    ("LayerNorm", ((4, 7, 6),), {"elementwise_affine": False}, IMAGES),
    ("RMSNorm", (6,), {}, IMAGES),
    ("RMSNorm", ((7, 6), 0.1), {"elementwise_affine": False}, IMAGES),
    ("LocalResponseNorm", (3,), {"alpha": 0.5}, IMAGES),
    ("LocalResponseNorm", (2,), {"beta": 1.5, "k": 2.0}, SIGNALS),
]


@pytest.mark.oracle
@pytest.mark.parametrize("case", LAYERS, ids=layers.identify)
def test_layer_equals_pytorch(torch, case, tmp_path):
    if layers.make(case, torch.nn).state_dict():
        layers.test_layer_equals_pytorch(torch, case, tmp_path)
    ours, theirs = layers.make(case, nn), layers.make(case, torch.nn)
    assert repr(ours) == repr(theirs)
    x = layers.draw(case[-1])
    layers.close(ours(Tensor(x)), theirs(torch.from_numpy(x)))


@pytest.mark.oracle
@pytest.mark.parametrize("name", sorted({name for name, *_ in LAYERS}))
def test_argument_names_equal_pytorch(torch, name):
    layers.test_argument_names_equal_pytorch(torch, (name,))


def test_fresh_layers_have_weights_of_one_and_biases_of_zero():
    for layer in (nn.GroupNorm(2, 4), nn.LayerNorm(4), nn.RMSNorm(4), nn.BatchNorm3d(4)):
        for name, parameter in layer.named_parameters():
            assert (parameter.numpy() == (name == "weight")).all()


@pytest.mark.parametrize("kind", [nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d])
def test_batch_norm_with_relu_is_the_pair(kind):
    shape = {nn.BatchNorm1d: SIGNALS, nn.BatchNorm2d: IMAGES, nn.BatchNorm3d: VOLUMES}[kind]
    fused, plain = kind(4, relu=True), kind(4)
    assert repr(fused) == repr(plain)[:-1] + ", relu=True)"
    assert [*fused.state_dict()] == [*plain.state_dict()]
    for training in (True, False):
        y = plain.train(training)(Tensor(layers.draw(shape)))
        expected = np.maximum(y.numpy(), 0)
        y = fused.train(training)(Tensor(layers.draw(shape)))
        np.testing.assert_array_equal(y.numpy(), expected)
        assert 0 < (expected == 0).mean() < 1


def test_instance_norm_follows_the_running_statistics_in_evaluation():
    x = layers.draw(IMAGES) * 3 + 1
    layer = nn.InstanceNorm2d(4, momentum=1.0, track_running_stats=True)
    layer(Tensor(x))
    np.testing.assert_allclose(layer.running_mean.numpy(), x.mean((0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(
        layer.running_var.numpy(), x.var((2, 3), ddof=1).mean(0), rtol=1e-5
    )  # fmt: skip
    shape = 1, 4, 1, 1
    mean, var = (t.numpy().reshape(shape) for t in (layer.running_mean, layer.running_var))
    expected = (x - mean) / np.sqrt(var + 1e-5)
    np.testing.assert_allclose(layer.eval()(Tensor(x)).numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: nn.GroupNorm(3, 4), UsageError, "num_groups=3 must divide"),
        (lambda: nn.GroupNorm(0, 4), UsageError, "num_groups"),
        (
            lambda: nn.BatchNorm2d(4, eps="0")(Tensor(layers.draw((2, 4, 3, 3)))),
            UsageError,
            "eps must",
        ),
        (lambda: nn.LayerNorm((4, -1)), UsageError, "normalized_shape"),
        (lambda: nn.InstanceNorm2d("4"), UsageError, "num_features"),
        (lambda: nn.BatchNorm3d(4)(Tensor(layers.draw(IMAGES))), ShapeError, "5-d"),
        (lambda: nn.InstanceNorm2d(3)(Tensor(layers.draw(IMAGES))), ShapeError, "3 channels"),
        (lambda: nn.InstanceNorm2d(4)(Tensor(layers.draw((4, 2)))), ShapeError, "3-d or 4-d"),
        (lambda: nn.LayerNorm(5)(Tensor(layers.draw(IMAGES))), ShapeError, "must end in"),
    ],
)
def test_bad_arguments_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call()
