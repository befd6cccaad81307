"""Convolution in many groups of few channels, such as depthwise: few_channels.cu."""

from __future__ import annotations

from functools import partial
from math import ceil, prod

from nnmed.backend.arrays import array_module
from nnmed.backend.cuda import THREADS, Source
from nnmed.kernels.conv import gpu_windows
from nnmed.kernels.conv.gpu_direct import add_parts, part_length
from nnmed.kernels.conv.gpu_windows import flat, seen, strides

# Channels and outputs of a group up to which a product's tile would be nearly empty.
FEW = 8
# What few_channels.cu calls PIXELS, ROWS and LANES.
PIXELS, ROWS, LANES = 4, 9, 8

_source = Source(__file__, "few_channels.cu")


def pays(channels: int, outputs: int, groups: int) -> bool:
    """Tell whether it is faster than gpu_direct.py, for so many channels of a group."""
    return groups > 1 and max(channels, outputs) <= FEW


def weight_grad(dy, x, dweight, stride, padding, dilation, groups):
    """Set `dweight` to the gradient of the convolution by its weight."""
    outputs, channels, *kernel = dweight.shape
    numbers = flat(seen(dy, x, kernel, stride, padding, dilation))
    lines, rows = len(dy) * numbers[0] * numbers[1], prod(kernel) * channels
    grid = ceil(outputs / 32), ceil(rows / ROWS)
    each = part_length(lines, LANES, prod(grid))
    parts = ceil(lines / each)
    sums = array_module(x).empty((parts, groups, rows, outputs // groups), x.dtype)
    _source.launch(
        "few_channels_weight_grad", x.dtype, (*grid, parts), (32, LANES), dy, x, sums, len(x),
        groups, channels, outputs // groups, each, *numbers,
    )  # fmt: skip
    add_parts(sums, dweight)


def sum_windows(x, weight, bias, y, axes, groups):
    """Set `y`, which may lie apart in memory, to the sums over windows of `x` times `weight`."""
    outputs, channels = weight.shape[:2]
    taps_first = weight.reshape(outputs, channels, -1).transpose(2, 1, 0)
    numbers = flat(axes)
    runs = len(x) * numbers[0] * numbers[1] * ceil(numbers[2] / PIXELS)
    _source.launch(
        "few_channels", x.dtype, (ceil(runs * outputs / THREADS),), (THREADS,), x,
        array_module(x).ascontiguousarray(taps_first), bias, y, len(x), groups, channels,
        outputs // groups, *strides(y, axes), *numbers,
    )  # fmt: skip


correlate = partial(gpu_windows.correlate, sum_windows)
input_grad = partial(gpu_windows.input_grad, sum_windows)
