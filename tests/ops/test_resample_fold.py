"""Windows as columns, pixels as channels, and the bilinear form."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed.backend.arrays import is_channels_last
from nnmed.errors import DTypeError, ShapeError, UsageError
from nnmed.ops.bilinear import bilinear
from nnmed.ops.fold import fold, unfold
from nnmed.ops.pixel_shuffle import channel_shuffle, pixel_shuffle, pixel_unshuffle
from tests.op_case import OpCase, channels_last, op_tests

CASES = [
    OpCase(unfold, dict(input=(2, 3, 5, 6)), dict(kernel_size=2)),
    OpCase(unfold, dict(input=(2, 2, 6, 5)), dict(kernel_size=(3, 2), padding=(1, 2), stride=2)),
    OpCase(unfold, dict(input=(1, 2, 7, 6)), dict(kernel_size=3, dilation=(2, 1), padding=1)),
    OpCase(unfold, dict(input=(2, 4, 4)), dict(kernel_size=4, stride=(3, 1), padding=1)),
    OpCase(fold, dict(input=(2, 12, 20)), dict(output_size=(5, 6), kernel_size=2)),
    OpCase(
        fold,
        dict(input=(2, 12, 6)),
        dict(output_size=(6, 4), kernel_size=(3, 2), padding=(1, 1), stride=2, dilation=(2, 1)),
        label="odd",
    ),
    OpCase(fold, dict(input=(8, 9)), dict(output_size=4, kernel_size=2)),
]
SHUFFLES = [
    OpCase(pixel_shuffle, dict(input=(2, 12, 3, 2)), dict(upscale_factor=2)),
    OpCase(pixel_shuffle, dict(input=(9, 2, 3)), dict(upscale_factor=3)),
    OpCase(pixel_shuffle, dict(input=(2, 1, 4, 2, 3)), dict(upscale_factor=2)),
    OpCase(pixel_unshuffle, dict(input=(2, 3, 4, 6)), dict(downscale_factor=2)),
    OpCase(pixel_unshuffle, dict(input=(2, 6, 3)), dict(downscale_factor=3)),
    OpCase(channel_shuffle, dict(input=(2, 6, 3, 2)), dict(groups=3)),
    OpCase(channel_shuffle, dict(input=(2, 6, 3)), dict(groups=2)),
    OpCase(channel_shuffle, dict(input=(1, 4, 2, 2, 3)), dict(groups=2)),
    OpCase(bilinear, dict(input1=(4, 3), input2=(4, 2), weight=(5, 3, 2), bias=(5,))),
    OpCase(bilinear, dict(input1=(2, 3, 3), input2=(2, 3, 1), weight=(1, 3, 1), bias=None)),
    OpCase(bilinear, dict(input1=(3,), input2=(2,), weight=(2, 3, 2), bias=(2,))),
]

TestFold = op_tests(CASES, family="resample")
TestShuffles = op_tests(SHUFFLES)


def test_folding_counts_how_often_a_pixel_is_in_a_window():
    ones = nnmed.Tensor(np.ones((1, 1, 4, 4), np.float32))
    counts = fold(unfold(ones, 3, padding=1), 4, 3, padding=1).numpy()[0, 0]
    line = np.array([2, 3, 3, 2])
    np.testing.assert_array_equal(counts, line[:, None] * line)


def test_unshuffling_undoes_shuffling_on_channels_last_memory():
    x = np.random.default_rng(0).standard_normal((2, 8, 3, 5)).astype(np.float32)
    t = nnmed.from_numpy(channels_last(x)).requires_grad_(True)
    y = pixel_shuffle(t, 2)
    back = pixel_unshuffle(y, 2)
    np.testing.assert_array_equal(back.numpy(), x)
    shuffled = channel_shuffle(back, 4)
    shuffled.backward(nnmed.from_numpy(channels_last(x)))
    for array in (y._array, back._array, shuffled._array, t.grad._array):
        assert is_channels_last(array)


@pytest.mark.parametrize(
    ("call", "shape"),
    [
        (lambda x: unfold(x, 2), (0, 16, 9)),
        (lambda x: fold(unfold(x, 2), 4, 2), (0, 4, 4, 4)),
        (lambda x: pixel_shuffle(x, 2), (0, 1, 8, 8)),
        (lambda x: pixel_unshuffle(x, 2), (0, 16, 2, 2)),
        (lambda x: channel_shuffle(x, 2), (0, 4, 4, 4)),
    ],
)
def test_an_empty_batch(call, shape):
    x = nnmed.Tensor(np.zeros((0, 4, 4, 4), np.float32), requires_grad=True)
    y = call(x)
    assert y.shape == shape
    y.sum().backward()
    assert x.grad.shape == x.shape


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: unfold(x, 5), ShapeError, "does not fit"),
        (lambda x: unfold(x, 0), UsageError, "kernel_size"),
        (lambda x: unfold(x, 2, padding=-1), UsageError, "padding"),
        (lambda x: unfold(x[0, 0], 2), ShapeError, "input must be"),
        (lambda x: unfold(x.long(), 2), DTypeError, "float"),
        (lambda x: fold(x, 5, 2), ShapeError, "expected"),
        (lambda x: fold(x[0], 5, 2), ShapeError, "expected"),
        (lambda x: fold(x[0, :, :, :3], 2, 2), ShapeError, "expected"),
        (lambda x: fold(x[0], 2, 3), ShapeError, "does not fit"),
        (lambda x: fold(x[0], 0, 3), UsageError, "output_size"),
        (lambda x: pixel_shuffle(x, 3), ShapeError, "cannot be split"),
        (lambda x: pixel_shuffle(x, 0), UsageError, "upscale_factor"),
        (lambda x: pixel_shuffle(x[0, 0], 2), ShapeError, "input must be"),
        (lambda x: pixel_unshuffle(x, 3), ShapeError, "divide"),
        (lambda x: pixel_unshuffle(x, 1.5), UsageError, "downscale_factor"),
        (lambda x: channel_shuffle(x, 3), ShapeError, "multiple of groups"),
        (lambda x: channel_shuffle(x[0, 0], 2), ShapeError, "multiple of groups"),
        (lambda x: bilinear(x, x, x[0, 0]), ShapeError, "expected input1"),
        (lambda x: bilinear(x[0], x[:, 0], x[0]), ShapeError, "expected input1"),
        (lambda x: bilinear(x, x, x[0], x[0, 0, 0, :2]), ShapeError, "bias"),
    ],
)
def test_bad_arguments_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call(nnmed.Tensor(np.zeros((2, 4, 4, 4), np.float32)))
