"""conv2d and conv_transpose2d: values, first and second derivatives, messages."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed.backend.arrays import is_channels_last
from nnmed.errors import DTypeError, ShapeError, UsageError
from nnmed.ops.conv import Conv, ConvTranspose, ConvWeightGrad
from nnmed.ops.conv_functions import conv2d, conv_transpose2d
from tests.op_case import OpCase, op_tests


def case(function, x, weight, bias=True, label="", **kwargs):
    outputs = weight[0] if function is conv2d else weight[1] * kwargs.get("groups", 1)
    inputs = dict(input=x, weight=weight, bias=(outputs,) if bias else None)
    return OpCase(function, inputs, kwargs, label=label)


CASES = [
    case(conv2d, (2, 3, 6, 5), (4, 3, 3, 3)),
    case(conv2d, (2, 3, 6, 5), (4, 3, 3, 3), bias=False, padding=1),
    case(conv2d, (2, 2, 7, 8), (3, 2, 3, 2), stride=(2, 3), padding=(1, 2)),
    case(conv2d, (1, 2, 9, 8), (2, 2, 3, 3), dilation=(2, 3), padding=2, stride=(1, 2)),
    case(conv2d, (2, 2, 5, 6), (3, 2, 2, 4), padding="same", dilation=(1, 2)),
    case(conv2d, (2, 2, 5, 6), (3, 2, 2, 4), padding="valid"),
    case(conv2d, (2, 4, 6, 6), (6, 2, 3, 3), groups=2, padding=1),
    case(conv2d, (2, 3, 6, 6), (6, 1, 3, 3), groups=3, padding=1, stride=2),
    case(conv2d, (2, 5, 4, 4), (3, 5, 1, 1)),
    case(conv2d, (2, 3, 5, 5), (3, 3, 1, 1), stride=2, padding=1),
    case(conv2d, (3, 6, 6), (2, 3, 3, 3), label="unbatched"),
    case(conv2d, (1, 20, 15, 14), (4, 20, 3, 3), padding=1, label="by kernel rows"),
    case(conv2d, (2, 3, 1, 2), (2, 3, 3, 3), stride=2, padding=1, label="one row"),
    case(conv_transpose2d, (2, 3, 4, 5), (3, 2, 3, 3)),
    case(conv_transpose2d, (2, 3, 4, 5), (3, 2, 2, 2), bias=False, stride=2),
    case(conv_transpose2d, (2, 2, 4, 3), (2, 3, 3, 4), stride=(2, 3), padding=1, output_padding=1),
    case(
        conv_transpose2d, (1, 2, 3, 4), (2, 2, 3, 2), dilation=3, output_padding=(2, 1), padding=2
    ),
    case(conv_transpose2d, (2, 4, 4, 4), (4, 3, 3, 3), groups=2, stride=2, padding=1),
    case(conv_transpose2d, (2, 3, 4, 4), (3, 2, 2, 2), groups=3, stride=2),
    case(conv_transpose2d, (2, 2, 5, 5), (2, 2, 2, 2), padding=2, label="padding over kernel"),
    case(conv_transpose2d, (3, 4, 4), (3, 2, 3, 3), label="unbatched"),
]

TestConv = op_tests(CASES, family="conv")


WINDOWS = (2, 1), ((1, 0), (2, 1)), (1, 2), 2


@pytest.mark.parametrize(
    ("op", "arguments", "shapes"),
    [
        (Conv, (), [(2, 4, 6, 5), (6, 2, 3, 2)]),
        (ConvTranspose, ((6, 5),), [(2, 6, 3, 6), (6, 2, 3, 2)]),
        (ConvWeightGrad, ((3, 2),), [(2, 6, 3, 6), (2, 4, 6, 5)]),
    ],
    ids=["Conv", "ConvTranspose", "ConvWeightGrad"],
)
def test_each_op_of_the_family_to_third_order(op, arguments, shapes):
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


def test_only_the_wanted_gradient_is_computed_and_kept():
    x = nnmed.Tensor(np.ones((1, 1, 4, 4), np.float32), requires_grad=True)
    weight = nnmed.Tensor(np.ones((1, 1, 3, 3), np.float32))
    y = conv2d(x, weight)
    assert y._op.inputs[0] is None
    y.sum().backward()
    assert weight.grad is None
    np.testing.assert_array_equal(x.grad.numpy()[0, 0], np.outer([1, 2, 2, 1], [1, 2, 2, 1]))


def test_activations_and_gradients_are_channels_last():
    x = nnmed.Tensor(np.zeros((2, 3, 8, 8), np.float32), requires_grad=True)
    weight = nnmed.Tensor(np.zeros((4, 3, 3, 3), np.float32), requires_grad=True)
    y = conv2d(x, weight, nnmed.Tensor(np.zeros(4, np.float32)), padding=1)
    assert is_channels_last(y._array)
    y.sum().backward()
    assert is_channels_last(x.grad._array)
    assert is_channels_last(conv_transpose2d(x, weight[:3], nnmed.Tensor([0.0] * 3))._array)


@pytest.mark.parametrize("function", [conv2d, conv_transpose2d])
@pytest.mark.parametrize("form", ["cpu", "im2col", "winograd"])
def test_empty_batch(function, form):
    x = nnmed.Tensor(np.zeros((0, 2, 5, 5), np.float32), requires_grad=True)
    weight = nnmed.Tensor(np.ones((2, 2, 3, 3), np.float32), requires_grad=True)
    with nnmed.use_kernels(conv=form):
        function(x, weight).sum().backward()
    assert x.grad.shape == x.shape
    np.testing.assert_array_equal(weight.grad.numpy(), 0)


def test_flops():
    shapes = [(2, 4, 6, 5), (6, 2, 3, 2)], (2, 6, 3, 6)
    assert Conv(*WINDOWS).flops(*shapes) == 2 * (2 * 6 * 3 * 6) * (2 * 3 * 2)


def tensor(*shape, dtype=np.float32):
    return nnmed.Tensor(np.zeros(shape, dtype))


X, W = tensor(8, 1, 64, 64), tensor(16, 3, 3, 3)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (
            lambda: conv2d(X, W),
            ShapeError,
            r"conv2d: weight expects 3 input channels, x has 1: "
            r"x \(8, 1, 64, 64\), weight \(16, 3, 3, 3\)",
        ),
        (lambda: conv2d(tensor(1, 6, 9, 9), W, groups=3), ShapeError, "expects 9 .*groups 3"),
        (lambda: conv2d(tensor(1, 9, 9, 9), W, groups=3), ShapeError, "cannot be split into 3"),
        (lambda: conv2d(tensor(1, 3, 9, 2), W), ShapeError, "window is 3 pixels wide"),
        (lambda: conv2d(tensor(1, 3, 2, 9), W, dilation=2), ShapeError, "5 pixels high"),
        (lambda: conv2d(tensor(3, 9), W), ShapeError, "input must be"),
        (lambda: conv2d(tensor(1, 3, 9, 9), tensor(3, 3, 3)), ShapeError, "4 dimensions"),
        (lambda: conv2d(tensor(1, 3, 9, 9), W, tensor(3)), ShapeError, r"bias must be \(16,\)"),
        (lambda: conv2d(tensor(1, 3, 9, 9), W, stride=0), UsageError, "stride"),
        (lambda: conv2d(tensor(1, 3, 9, 9), W, groups=0), UsageError, "groups"),
        (lambda: conv2d(tensor(1, 3, 9, 9), W, groups=1.0), UsageError, "groups.*integers"),
        (lambda: conv2d(tensor(1, 3, 9, 9), W, stride=1.5), UsageError, "stride.*integer"),
        (lambda: conv2d(tensor(1, 3, 9, 9), W, stride=nnmed.Tensor(2)), UsageError, "stride must"),
        (
            lambda: conv2d(tensor(1, 3, 9, 9), W, padding=nnmed.Tensor(1)),
            UsageError,
            "padding must",
        ),
        (lambda: conv2d(tensor(1, 3, 9, 9), W, padding=-1), UsageError, "negative"),
        (lambda: conv2d(tensor(1, 3, 9, 9), W, padding="full"), UsageError, "'full'"),
        (lambda: conv2d(tensor(1, 3, 9, 9), W, 0, 2, "same"), DTypeError, "bias"),
        (lambda: conv2d(tensor(1, 3, 9, 9), W, None, 2, "same"), UsageError, "needs stride 1"),
        (lambda: conv2d(tensor(1, 3, 9, 9, dtype=np.float64), W), DTypeError, "weight float32"),
        (lambda: conv_transpose2d(X, W), ShapeError, "expects 16 input channels"),
        (lambda: conv_transpose2d(W, W.permute(1, 0, 2, 3), groups=2), ShapeError, "2 groups"),
        (
            lambda: conv_transpose2d(W, W.permute(1, 0, 2, 3), output_padding=1),
            UsageError,
            "output_padding",
        ),
        (
            lambda: conv_transpose2d(W, W.permute(1, 0, 2, 3), padding=3),
            ShapeError,
            r"leaves an output of \(-1, -1\)",
        ),
    ],
)
def test_bad_arguments_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call()
