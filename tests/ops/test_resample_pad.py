"""Padding by a value and by the array's own values."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed.backend.arrays import is_channels_last
from nnmed.errors import ShapeError, UsageError
from nnmed.ops.pad import pad
from tests.op_case import OpCase, op_tests

PICTURE = dict(input=(2, 3, 5, 6))
OWN_VALUES = ("reflect", "replicate", "circular")

CASES = [
    OpCase(pad, PICTURE, dict(pad=(1, 2))),
    OpCase(pad, PICTURE, dict(pad=(1, 2, 0, 3), value=1.5)),
    OpCase(pad, PICTURE, dict(pad=(-1, 2, -2, -1), value=1.5)),
    OpCase(pad, PICTURE, dict(pad=(0, 1, 2, 0, 1, 1, 0, -1))),
    OpCase(pad, dict(input=(4,)), dict(pad=(2, 1))),
    OpCase(pad, dict(input=(2, 3)), dict(pad=(0, 0))),
    OpCase(pad, dict(input=(2, 2, 2, 2, 3)), dict(pad=(2, 1, -1, 1))),
    *(
        OpCase(pad, dict(input=shape), dict(pad=widths, mode=mode))
        for mode in OWN_VALUES
        for shape, widths in (
            ((2, 3, 5, 6), (2, 1, 3, 0)),
            ((2, 3, 5, 6), (-1, 2, 1, -2)),
            ((3, 5, 6), (2, 1, 0, 4)),
            ((2, 3, 5), (4, 3)),
            ((3, 5), (1, 4)),
            ((1, 2, 3, 2, 4), (3, 1, 1, 0, 2, 1)),
            ((2, 3, 2, 4), (-1, 2, 0, 0, -1, 1)),
        )
    ),
    OpCase(pad, dict(input=(1, 2, 1, 3)), dict(pad=(9, 7, 4, 5), mode="replicate")),
]

TestPad = op_tests(CASES, family="resample")


@pytest.mark.oracle
@pytest.mark.parametrize("mode", OWN_VALUES)
def test_all_widths_as_in_pytorch(mode, torch):
    line = np.arange(4, dtype=np.float32)[None]
    most = -3 if mode == "circular" else -4  # PyTorch pads by a circle of nothing
    for before in range(most, 6):
        for after in range(max(most, -3 - before), 6):
            try:
                expected = torch.nn.functional.pad(torch.tensor(line), (before, after), mode=mode)
            except RuntimeError:
                with pytest.raises(ShapeError):
                    pad(nnmed.Tensor(line), (before, after), mode=mode)
            else:
                y = pad(nnmed.Tensor(line), (before, after), mode=mode)
                np.testing.assert_array_equal(y.numpy(), expected.numpy())


@pytest.mark.parametrize("mode", ["constant", *OWN_VALUES])
def test_padding_of_labels_keeps_their_type(mode):
    y = pad(nnmed.Tensor([[1, 2]]), (1, 0), mode=mode)
    assert y.dtype == np.int64
    first = {"constant": 0, "reflect": 2, "replicate": 1, "circular": 2}[mode]
    np.testing.assert_array_equal(y.numpy(), [[first, 1, 2]])


@pytest.mark.parametrize("mode", ["constant", *OWN_VALUES])
@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (2, 3, 2, 4, 4)])
def test_empty_batch_and_layout(mode, shape):
    empty = nnmed.Tensor(np.zeros((0, *shape[1:]), np.float32), requires_grad=True)
    pad(empty, (1, 1, 2, 2, 1, 1)[: 2 * len(shape) - 4], mode=mode).sum().backward()
    assert empty.grad.shape == empty.shape
    x = nnmed.Tensor(np.ones(shape, np.float32), requires_grad=True)
    y = pad(x, (1, 1, 2, 2, 1, 1)[: 2 * len(shape) - 4], mode=mode)
    y.backward(np.ones(y.shape, np.float32))
    assert is_channels_last(y._array)
    assert is_channels_last(x.grad._array)


@pytest.mark.parametrize("mode", ["constant", *OWN_VALUES])
def test_nan_stays_where_it_is_read(mode):
    x = nnmed.Tensor(np.array([[[np.nan, 1.0, 2.0, 3.0]]]), requires_grad=True)
    y = pad(x, (0, 1), mode=mode)
    assert np.isnan(y.numpy()).sum() == (2 if mode == "circular" else 1)
    y.backward(np.array([[[1.0, np.nan, 1.0, 1.0, 1.0]]]))
    assert np.isnan(x.grad.numpy()).tolist() == [[[False, True, False, False]]]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: pad(x, (1,)), UsageError, "pair"),
        (lambda x: pad(x, 1), UsageError, "pair"),
        (lambda x: pad(x, (1.0, 2.0)), UsageError, "pair"),
        (lambda x: pad(x, (1,) * 10), UsageError, "at most 4"),
        (lambda x: pad(x, (1, 1), value="0"), UsageError, "value must be a number"),
        (lambda x: pad(x[..., :0], (1, 1, 0, 0), mode="replicate"), ShapeError, "a line of 0"),
        (lambda x: pad(x, (-3, -3)), ShapeError, "crops more"),
        (lambda x: pad(x, (1, 1), mode="wrap"), UsageError, "mode"),
        (lambda x: pad(x, (1, 1), mode="reflect", value=1.0), UsageError, "without a value"),
        (lambda x: pad(x, (4, 1, 0, 0), mode="reflect"), ShapeError, "at most 3"),
        (lambda x: pad(x, (0, 0, 1, 5), mode="circular"), ShapeError, "at most 4"),
        (lambda x: pad(x, (4, -1, 0, 0), mode="circular"), ShapeError, "at most 3"),
        (lambda x: pad(x, (-2, -2, 0, 0), mode="replicate"), ShapeError, "leaves nothing"),
        (lambda x: pad(x, (1, 1), mode="reflect"), ShapeError, "all but the channels"),
        (lambda x: pad(x, (1,) * 8, mode="reflect"), ShapeError, "all but the channels"),
    ],
)
def test_bad_arguments_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call(nnmed.Tensor(np.zeros((1, 2, 4, 4), np.float32)))
