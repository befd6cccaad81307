"""conv1d, conv3d and their transposes: values, first and second derivatives, messages."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed.backend.arrays import is_channels_last
from nnmed.errors import ShapeError, UsageError
from nnmed.functional import conv1d, conv2d, conv3d, conv_transpose1d, conv_transpose3d
from nnmed.ops.conv import Conv, ConvTranspose, ConvWeightGrad
from tests.op_case import OpCase, op_tests


def case(function, x, weight, bias=True, label="", **kwargs):
    transposed = "transpose" in function.__name__
    outputs = weight[1] * kwargs.get("groups", 1) if transposed else weight[0]
    inputs = dict(input=x, weight=weight, bias=(outputs,) if bias else None)
    return OpCase(function, inputs, kwargs, label=label)


SIGNALS = [
    case(conv1d, (2, 3, 9), (4, 3, 3)),
    case(conv1d, (2, 4, 9), (6, 2, 4), bias=False, stride=2, padding=(3,), dilation=2, groups=2),
    case(conv1d, (2, 3, 6), (2, 3, 4), padding="same", dilation=2),
    case(conv1d, (2, 3, 6), (3, 1, 2), padding="valid", groups=3),
    case(conv1d, (3, 6), (2, 3, 1), label="unbatched"),
    case(conv1d, (2, 3, 1), (2, 3, 3), stride=2, padding=1, label="one value"),
    case(conv_transpose1d, (2, 3, 5), (3, 2, 3)),
    case(
        conv_transpose1d, (2, 4, 5), (4, 2, 3), stride=3, padding=1, output_padding=2, groups=2,
        dilation=2,
    ),
    case(conv_transpose1d, (3, 5), (3, 2, 2), bias=False, stride=(2,), label="unbatched"),
]  # fmt: skip
VOLUMES = [
    case(conv3d, (2, 2, 4, 3, 5), (3, 2, 2, 3, 2)),
    case(conv3d, (1, 2, 4, 4, 3), (2, 2, 3, 3, 3), bias=False, padding=1),
    case(conv3d, (1, 2, 5, 4, 5), (2, 2, 2, 3, 2), stride=(2, 1, 3), padding=(0, 2, 1)),
    case(conv3d, (1, 2, 5, 3, 4), (2, 2, 3, 2, 1), dilation=(2, 1, 3), padding=(1, 0, 1)),
    case(conv3d, (1, 2, 3, 3, 4), (2, 2, 2, 3, 2), padding="same", dilation=(2, 1, 1)),
    case(conv3d, (1, 4, 3, 4, 3), (4, 2, 3, 2, 2), groups=2, padding=1, stride=2),
    case(conv3d, (1, 3, 3, 4, 3), (6, 1, 2, 2, 2), groups=3),
    case(conv3d, (2, 3, 3, 2, 4), (2, 3, 1, 1, 1)),
    case(conv3d, (2, 3, 3, 3, 4), (2, 3, 1, 1, 1), stride=2, padding=(1, 0, 1)),
    case(conv3d, (2, 3, 4, 2), (2, 2, 2, 2, 2), padding=(0, 0, 1), label="unbatched"),
    case(conv3d, (1, 2, 1, 1, 1), (2, 2, 3, 3, 3), stride=2, padding=1, label="one voxel"),
    case(conv_transpose3d, (1, 2, 2, 3, 2), (2, 3, 3, 2, 3)),
    case(conv_transpose3d, (2, 3, 2, 3, 2), (3, 2, 2, 2, 2), bias=False, stride=2),
    case(
        conv_transpose3d, (1, 4, 2, 2, 2), (4, 1, 3, 2, 3), stride=(2, 3, 1), padding=(1, 0, 1),
        output_padding=(1, 2, 0), groups=2, dilation=(1, 2, 1),
    ),
    case(conv_transpose3d, (2, 2, 3, 2), (2, 2, 1, 2, 2), stride=2, label="unbatched"),
]  # fmt: skip

TestSignals = op_tests(SIGNALS, family="conv")
TestVolumes = op_tests(VOLUMES, family="conv")

WINDOWS = (2, 1, 1), ((1, 0), (1, 1), (0, 1)), (1, 2, 1), 2


@pytest.mark.parametrize(
    ("op", "arguments", "shapes"),
    [
        (Conv, (), [(1, 2, 4, 3, 2), (2, 1, 2, 2, 1)]),
        (ConvTranspose, ((4, 3, 2),), [(1, 2, 2, 3, 3), (2, 1, 2, 2, 1)]),
        (ConvWeightGrad, ((2, 2, 1),), [(1, 2, 2, 3, 3), (1, 2, 4, 3, 2)]),
    ],
    ids=["Conv", "ConvTranspose", "ConvWeightGrad"],
)
def test_each_op_of_volumes_to_third_order(op, arguments, shapes):
    rng = np.random.default_rng(0)
    tensors = [nnmed.Tensor(rng.standard_normal(s), requires_grad=True) for s in shapes]

    def call(*inputs):
        return op(*arguments, *WINDOWS)(*inputs)

    def gradient(*inputs):
        y = call(*inputs)
        return nnmed.grad((y * y * y).sum(), list(inputs), create_graph=True)[0]

    assert nnmed.gradcheck(call, tensors)
    assert nnmed.gradgradcheck(call, tensors)
    assert nnmed.gradgradcheck(gradient, tensors)


def test_a_kernel_one_slice_deep_is_a_2d_convolution_of_each_slice():
    rng = np.random.default_rng(1)
    x, weight = rng.standard_normal((2, 3, 4, 5, 6)), rng.standard_normal((4, 3, 1, 3, 3))
    y = conv3d(nnmed.Tensor(x), nnmed.Tensor(weight), padding=(0, 1, 1)).numpy()
    for z in range(4):
        flat = conv2d(nnmed.Tensor(x[:, :, z]), nnmed.Tensor(weight[:, :, 0]), padding=1)
        np.testing.assert_allclose(y[:, :, z], flat.numpy(), rtol=1e-12)


@pytest.mark.parametrize(
    ("function", "axes"),
    [(conv1d, 1), (conv_transpose1d, 1), (conv3d, 3), (conv_transpose3d, 3)],
)
def test_activations_and_gradients_are_channels_last_and_batches_may_be_empty(function, axes):
    for batch in (2, 0):
        x = nnmed.Tensor(np.zeros((batch, 3, *(5,) * axes), np.float32), requires_grad=True)
        weight = nnmed.Tensor(np.ones((3, 3, *(3,) * axes), np.float32), requires_grad=True)
        y = function(x, weight, nnmed.Tensor(np.ones(3, np.float32)))
        y.sum().backward()
        assert x.grad.shape == x.shape
        np.testing.assert_array_equal(weight.grad.numpy(), 0)
        if batch:
            assert is_channels_last(y._array)
            assert is_channels_last(x.grad._array)


def test_flops_of_a_volume():
    shapes = [(1, 2, 4, 3, 2), (2, 1, 2, 2, 1)], (1, 2, 2, 3, 3)
    assert Conv(*WINDOWS).flops(*shapes) == 2 * (1 * 2 * 2 * 3 * 3) * (1 * 2 * 2 * 1)


def tensor(*shape):
    return nnmed.Tensor(np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: conv1d(tensor(2, 3, 4, 4), tensor(2, 3, 3)),
            ShapeError,
            r"conv1d: input must be \(N, C, L\) or \(C, L\)",
        ),
        (lambda: conv1d(tensor(1, 3, 4), tensor(2, 3, 3, 3)), ShapeError, "3 dimensions"),
        (lambda: conv1d(tensor(1, 3, 2), tensor(2, 3, 3)), ShapeError, "conv1d.*3 pixels long"),
        (lambda: conv1d(tensor(1, 3, 4), tensor(2, 3, 3), None, (1, 1)), UsageError, "one integer"),
        (lambda: conv3d(tensor(4, 4, 4), tensor(2, 3, 3, 3, 3)), ShapeError, r"\(C, D, H, W\)"),
        (
            lambda: conv3d(tensor(1, 3, 2, 4, 4), tensor(2, 3, 3, 3, 3)),
            ShapeError,
            "conv3d.*3 pixels deep",
        ),
        (
            lambda: conv3d(tensor(1, 3, 4, 4, 4), tensor(2, 3, 3, 3, 3), padding=(1, 1)),
            UsageError,
            "padding must be an integer or 3 integers",
        ),
        (
            lambda: conv3d(tensor(1, 3, 4, 4, 4), tensor(2, 3, 3, 3, 3), None, (2, 1, 1), "same"),
            UsageError,
            "conv3d: padding 'same' needs stride 1",
        ),
        (
            lambda: conv_transpose3d(tensor(1, 3, 4, 4, 4), tensor(2, 3, 3, 3, 3)),
            ShapeError,
            "conv_transpose3d: weight expects 2",
        ),
        (
            lambda: conv_transpose1d(tensor(1, 3, 4), tensor(3, 3, 3), output_padding=1),
            UsageError,
            "conv_transpose1d.*output_padding",
        ),
    ],
)
def test_bad_arguments_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call()
