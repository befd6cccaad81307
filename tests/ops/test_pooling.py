"""Max, average and adaptive pooling."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed.errors import DTypeError, ShapeError, UsageError
from nnmed.ops.adaptive_pooling import adaptive_avg_pool2d, adaptive_max_pool2d
from nnmed.ops.pooling import avg_pool2d, max_pool2d
from tests.op_case import OpCase, op_tests, tie_free

PICTURE = dict(input=tie_free(2, 3, 7, 8))


CASES = [
    OpCase(max_pool2d, PICTURE, dict(kernel_size=2)),
    OpCase(max_pool2d, PICTURE, dict(kernel_size=3, stride=2, padding=1)),
    OpCase(max_pool2d, PICTURE, dict(kernel_size=2, ceil_mode=True)),
    OpCase(max_pool2d, PICTURE, dict(kernel_size=(3, 2), stride=(1, 3), padding=(1, 0))),
    OpCase(max_pool2d, PICTURE, dict(kernel_size=2, stride=1, dilation=(2, 3), padding=1)),
    OpCase(max_pool2d, dict(input=tie_free(3, 6, 6)), dict(kernel_size=2), label="unbatched"),
    OpCase(max_pool2d, dict(input=tie_free(1, 2, 12, 11)), dict(kernel_size=(9, 8), stride=2)),
    OpCase(avg_pool2d, PICTURE, dict(kernel_size=2)),
    OpCase(avg_pool2d, PICTURE, dict(kernel_size=3, stride=2, padding=1)),
    OpCase(
        avg_pool2d,
        PICTURE,
        dict(kernel_size=3, stride=2, padding=1, ceil_mode=True, count_include_pad=False),
    ),
    OpCase(avg_pool2d, PICTURE, dict(kernel_size=(2, 3), stride=(1, 2), divisor_override=5)),
    OpCase(avg_pool2d, dict(input=(3, 6, 6)), dict(kernel_size=4, stride=1), label="unbatched"),
    *(
        OpCase(function, dict(input=tie_free(*shape)), dict(output_size=size))
        for function in (adaptive_avg_pool2d, adaptive_max_pool2d)
        for shape, size in (
            ((2, 3, 7, 8), 1),
            ((2, 3, 7, 8), (3, 5)),
            ((2, 3, 6, 8), (3, None)),
            ((3, 4, 5), (7, 2)),
        )
    ),
]

TestPooling = op_tests(CASES, family="pooling")


def test_first_of_equal_maxima_takes_the_whole_gradient():
    x = nnmed.Tensor(np.zeros((1, 1, 2, 4), np.float32), requires_grad=True)
    max_pool2d(x, 2).backward(np.array([[[[1.0, 2.0]]]], np.float32))
    np.testing.assert_array_equal(x.grad.numpy(), [[[[1, 0, 2, 0], [0, 0, 0, 0]]]])


def test_padding_counts_as_minus_infinity():
    y, indices = max_pool2d(nnmed.Tensor(-np.ones((1, 1, 3, 3))), 3, 2, 1, return_indices=True)
    np.testing.assert_array_equal(y.numpy(), -np.ones((1, 1, 2, 2)))
    np.testing.assert_array_equal(indices.numpy(), [[[[0, 1], [3, 4]]]])


def test_infinite_gradient_does_not_spread():
    x = nnmed.Tensor(np.arange(4.0).reshape(1, 1, 2, 2), requires_grad=True)
    max_pool2d(x, 2).backward(np.array([[[[np.inf]]]]))
    np.testing.assert_array_equal(x.grad.numpy(), [[[[0, 0], [0, np.inf]]]])


@pytest.mark.oracle
@pytest.mark.parametrize("special", [None, np.nan, -np.inf])
@pytest.mark.parametrize(
    "arguments",
    [
        dict(kernel_size=2),
        dict(kernel_size=3, stride=2, padding=1),
        dict(kernel_size=(3, 4), stride=2, padding=(1, 2), ceil_mode=True),
        dict(kernel_size=2, stride=1, padding=1, dilation=2),
        dict(kernel_size=9, stride=2, padding=4),
    ],
)
def test_values_indices_and_gradient_with_ties_as_in_pytorch(arguments, special, torch):
    rng = np.random.default_rng(3)
    x = rng.integers(-2, 3, (2, 5, 11, 12)).astype(np.float32)
    if special is not None:
        x[rng.random(x.shape) < 0.3] = special
    expected_input = torch.tensor(x, requires_grad=True)
    pool = torch.nn.functional.max_pool2d
    expected, expected_indices = pool(expected_input, **arguments, return_indices=True)
    dy = rng.standard_normal(expected.shape).astype(np.float32)
    expected.backward(torch.tensor(dy))
    tensor = nnmed.Tensor(x, requires_grad=True)
    y, indices = max_pool2d(tensor, **arguments, return_indices=True)
    y.backward(dy)
    np.testing.assert_array_equal(y.numpy(), expected.detach().numpy())
    np.testing.assert_array_equal(indices.numpy(), expected_indices.numpy())
    np.testing.assert_allclose(tensor.grad.numpy(), expected_input.grad.numpy(), atol=1e-6)


@pytest.mark.oracle
def test_adaptive_max_indices_as_in_pytorch(torch):
    x = np.random.default_rng(3).integers(-2, 3, (2, 3, 7, 5)).astype(np.float32)
    x[0, 0, 2:5, 1:3] = np.nan
    pool = torch.nn.functional.adaptive_max_pool2d
    expected, expected_indices = pool(torch.tensor(x), (3, 2), return_indices=True)
    y, indices = adaptive_max_pool2d(nnmed.Tensor(x), (3, 2), return_indices=True)
    np.testing.assert_array_equal(y.numpy(), expected.numpy())
    np.testing.assert_array_equal(indices.numpy(), expected_indices.numpy())


@pytest.mark.parametrize(
    "pool",
    [
        lambda x: max_pool2d(x, 2),
        lambda x: avg_pool2d(x, 2),
        lambda x: adaptive_avg_pool2d(x, 1),
        lambda x: adaptive_max_pool2d(x, 1),
    ],
)
def test_empty_batch_and_layout(pool):
    empty = nnmed.Tensor(np.zeros((0, 3, 4, 4), np.float32), requires_grad=True)
    pool(empty).sum().backward()
    assert empty.grad.shape == (0, 3, 4, 4)
    x = nnmed.Tensor(np.zeros((2, 3, 4, 4), np.float32), requires_grad=True)
    y = pool(x)
    assert nnmed.backend.arrays.is_channels_last(y._array)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: max_pool2d(x, 6), ShapeError, "does not fit"),
        (lambda x: max_pool2d(x, 2, padding=2), UsageError, "at most half"),
        (lambda x: max_pool2d(x, 0), UsageError, "at least 1"),
        (lambda x: max_pool2d(x, 2, stride=0), UsageError, "max_pool2d: stride.*at least 1"),
        (lambda x: max_pool2d(x, 1.5), UsageError, "kernel_size must be an integer"),
        (lambda x: max_pool2d(x, None), UsageError, "kernel_size must be an integer"),
        (lambda x: max_pool2d(x[0, 0], 2), ShapeError, "input must be"),
        (lambda x: max_pool2d(x[:, :, :2], 2, padding=1, dilation=3), ShapeError, "outside"),
        (lambda x: avg_pool2d(x, 2, divisor_override=0), UsageError, "divisor_override"),
        (lambda x: avg_pool2d(x.long(), 2), DTypeError, "float"),
        (lambda x: adaptive_avg_pool2d(x, 0), UsageError, "at least 1"),
        (lambda x: adaptive_avg_pool2d(x, (1, 2, 3)), UsageError, "output_size"),
    ],
)
def test_bad_arguments_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call(nnmed.Tensor(np.zeros((1, 2, 4, 4), np.float32)))
