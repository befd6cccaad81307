"""Interpolation."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed.errors import DTypeError, ShapeError, UsageError
from nnmed.ops.interpolate import interpolate
from tests.op_case import OpCase, op_tests

PICTURE = dict(input=(2, 3, 5, 6))

RESIZE = (
    dict(scale_factor=2),
    dict(size=(7, 3)),
    dict(scale_factor=(0.5, 1.7)),
    dict(scale_factor=(1.3, 0.7), recompute_scale_factor=True),
    dict(size=1),
    dict(scale_factor=(2.15, 1.1)),  # to twice and once the length: the factor plays no part
)

CASES = [
    *(
        OpCase(interpolate, PICTURE, dict(mode=mode, **arguments))
        for mode in ("nearest", "nearest-exact", "bilinear", "bicubic", "area")
        for arguments in RESIZE
    ),
    *(
        OpCase(interpolate, PICTURE, dict(mode=mode, align_corners=True, **arguments))
        for mode in ("bilinear", "bicubic")
        for arguments in RESIZE
    ),
    # Not the last: where a length stays, PyTorch 2.13 forgets the factor forward only, so that
    # its gradient is not that of its result.
    *(
        OpCase(interpolate, PICTURE, dict(mode=mode, antialias=True, **arguments))
        for mode in ("bilinear", "bicubic")
        for arguments in (*RESIZE[:-1], dict(size=(2, 3), align_corners=True))
    ),
    *(
        OpCase(interpolate, dict(input=(2, 3, 7)), dict(mode=mode, **arguments))
        for mode in ("nearest", "nearest-exact", "linear", "area")
        for arguments in (dict(scale_factor=2.15), dict(size=4), dict(scale_factor=2))
    ),
    *(
        OpCase(interpolate, dict(input=(1, 2, 3, 4, 5)), dict(mode=mode, **arguments))
        for mode in ("nearest", "nearest-exact", "trilinear", "area")
        # Lengths that neither stay nor double: there PyTorch 2.13 forgets the factor backward only.
        for arguments in (dict(scale_factor=(2.4, 1.3, 0.7)), dict(size=(2, 7, 5)))
    ),
    OpCase(
        interpolate,
        dict(input=(1, 2, 3, 4, 2)),
        dict(scale_factor=2, mode="trilinear", align_corners=True),
    ),
    OpCase(interpolate, dict(input=(1, 2, 8, 8)), dict(scale_factor=2, mode="bilinear")),
    OpCase(interpolate, dict(input=(1, 2, 8, 8)), dict(scale_factor=0.5, mode="bicubic")),
    OpCase(interpolate, dict(input=(1, 2, 1, 1)), dict(size=(3, 2), mode="bilinear")),
    OpCase(interpolate, dict(input=(1, 2, 1, 1)), dict(size=(3, 2), mode="bicubic")),
]

TestResample = op_tests(CASES, family="resample")


@pytest.mark.oracle
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic", "area"])
def test_many_sizes_as_in_pytorch(mode, torch):
    # Rounding of positions shows at single sizes only: walk through many.
    for length in range(1, 40):
        x = np.arange(length, dtype=np.float32)[None, None, None, :]
        for target in (*range(1, 50, 3), 64, 100):
            arguments = dict(size=(1, target), mode=mode)
            expected = torch.nn.functional.interpolate(torch.tensor(x), **arguments)
            y = interpolate(nnmed.Tensor(x), **arguments)
            np.testing.assert_allclose(y.numpy(), expected.numpy(), 3e-6, 1e-5)


def test_gradient_of_unread_pixels_is_zero_and_nan_stays_local():
    x = nnmed.Tensor(np.zeros((1, 1, 1, 6)), requires_grad=True)
    interpolate(x, size=(1, 3)).backward(np.array([[[[np.nan, 1.0, 2.0]]]]))
    np.testing.assert_array_equal(x.grad.numpy(), [[[[np.nan, 0, 1, 0, 2, 0]]]])


@pytest.mark.parametrize(
    "function",
    [
        lambda x: interpolate(x, scale_factor=2),
        lambda x: interpolate(x, scale_factor=0.5, mode="bilinear"),
    ],
)
def test_empty_batch_and_layout(function):
    empty = nnmed.Tensor(np.zeros((0, 3, 4, 4), np.float32), requires_grad=True)
    function(empty).sum().backward()
    assert empty.grad.shape == (0, 3, 4, 4)
    y = function(nnmed.Tensor(np.zeros((2, 3, 4, 4), np.float32)))
    assert nnmed.backend.arrays.is_channels_last(y._array)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: interpolate(x), UsageError, "either size or scale_factor"),
        (lambda x: interpolate(x, size=2, scale_factor=2), UsageError, "either"),
        (lambda x: interpolate(x, size=2, mode="cubic"), UsageError, "unknown mode"),
        (lambda x: interpolate(x, size=2, align_corners=True), UsageError, "align_corners"),
        (lambda x: interpolate(x, size=(1, 2, 3)), UsageError, "one number or 2"),
        (lambda x: interpolate(x, size=2.5), UsageError, "integers"),
        (lambda x: interpolate(x, size=0), ShapeError, "empty"),
        (lambda x: interpolate(x, scale_factor=0.1), ShapeError, "empty"),
        (lambda x: interpolate(x, scale_factor="2"), UsageError, "scale_factor must be a number"),
        (lambda x: interpolate(x, scale_factor=np.nan), UsageError, "positive and finite"),
        (lambda x: interpolate(x, size=2, mode=["nearest"]), UsageError, "unknown mode"),
        (lambda x: interpolate(x[0], size=4, mode="bilinear"), ShapeError, "input must be"),
        (lambda x: interpolate(x.long(), size=4), DTypeError, "float"),
        (lambda x: interpolate(x, size=2, antialias=True), UsageError, "antialias"),
    ],
)
def test_bad_arguments_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call(nnmed.Tensor(np.zeros((1, 2, 4, 4), np.float32)))
