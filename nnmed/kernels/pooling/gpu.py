"""Pooling on the GPU; formulas in reference.py, kernels in the .cu files beside."""

from __future__ import annotations

from math import prod

import numpy as np

from nnmed.backend.arrays import (
    array_module,
    as_channels_last,
    empty_channels_last,
    zeros_channels_last,
)
from nnmed.backend.cuda import THREADS, Source
from nnmed.kernels.columns import blocks_of_columns, grid_of_warps
from nnmed.kernels.packs import numbers_a_thread

__all__ = [
    "adaptive_avg_pool2d", "adaptive_avg_pool2d_input_grad", "adaptive_max_pool2d", "avg_pool2d",
    "avg_pool2d_input_grad", "gather_plane", "max_pool2d", "max_pool2d_indices",
    "max_pool2d_input_grad", "place_plane", "scatter_plane",
]  # fmt: skip

_max, _average, _adaptive, _whole, _positions = (
    Source(__file__, f"{name}.cu") for name in ("max", "average", "adaptive", "whole", "positions")
)


def max_pool2d(x, kernel, stride, padding, dilation, output_size, need_codes=True):
    """Return the largest value of each window, and its code; see reference.py."""
    x, y, codes = as_channels_last(x), _empty(x, output_size), None
    dtype = _code_type(kernel)
    if need_codes:
        codes = _empty(x, output_size, dtype)
    axes = *x.shape[2:], *output_size, *kernel, *stride, *padding, *dilation
    _for_each(_max, f"max_pool_{dtype.itemsize}", (x,), (y, codes), *axes)
    return y, codes


def max_pool2d_indices(codes, input_size, kernel, stride, padding, dilation):
    """Return the index ``row * W + column`` of each code, int64, channels-last."""
    codes = as_channels_last(codes.astype(np.uint32))
    indices = _empty(codes, codes.shape[2:], np.int64)
    axes = *input_size, *codes.shape[2:], *kernel, *stride, *padding, *dilation
    _max.for_each("positions", np.float32, codes.size, codes, indices, *axes, codes.shape[1], 1)
    return indices


def max_pool2d_input_grad(dy, codes, input_size, kernel, stride, padding, dilation):
    """Return dx: each dy is added where the maximum of its window was."""
    dy, codes, dx = as_channels_last(dy), as_channels_last(codes), _empty(dy, input_size)
    axes = *input_size, *dy.shape[2:], *kernel, *stride, *padding, *dilation
    _for_each(_max, f"max_pool_grad_{codes.itemsize}", (dy, codes), (dx,), *axes)
    return dx


def avg_pool2d(x, kernel, stride, padding, output_size, count_include_pad, divisor_override):
    """Return the sum of each window over its divisor; padding counts as 0."""
    x, y = as_channels_last(x), _empty(x, output_size)
    axes = *x.shape[2:], *output_size, *kernel, *stride, *padding, 1, 1
    divisor = bool(count_include_pad), float(divisor_override or 0)
    _for_each(_average, "average_pool", (x,), (y,), *divisor, *axes)
    return y


def avg_pool2d_input_grad(
    dy, input_size, kernel, stride, padding, count_include_pad, divisor_override
):
    """Return dx: each dy over its divisor is added to all cells of its window."""
    dy, dx = as_channels_last(dy), _empty(dy, input_size)
    axes = *input_size, *dy.shape[2:], *kernel, *stride, *padding, 1, 1
    divisor = bool(count_include_pad), float(divisor_override or 0)
    _for_each(_average, "average_pool_grad", (dy,), (dx,), *divisor, *axes)
    return dx


def adaptive_max_pool2d(x, output_size):
    """Return the largest value of each of ``output_size`` windows, and its index."""
    x, results = as_channels_last(x), (_empty(x, output_size), _empty(x, output_size, np.int64))
    _for_each(_adaptive, "adaptive_max", (x,), results, *x.shape[2:], *output_size)
    return results


def adaptive_avg_pool2d(x, output_size):
    """Return the mean of each of ``output_size`` windows."""
    x, y = as_channels_last(x), _empty(x, output_size)
    if tuple(output_size) == (1, 1) and x.size:
        _set_means(x, y)
    else:
        _for_each(_adaptive, "adaptive_average", (x,), (y,), *x.shape[2:], *output_size)
    return y


def adaptive_avg_pool2d_input_grad(dy, input_size):
    """Return dx: each dy over the size of its window is added to all cells of it."""
    dy, dx = as_channels_last(dy), _empty(dy, input_size)
    _for_each(_adaptive, "adaptive_average_grad", (dy,), (dx,), *input_size, *dy.shape[2:])
    return dx


def scatter_plane(values, indices, size):
    """Return a picture of `size` in which each value is added at its index."""
    n, channels = values.shape[:2]
    y = zeros_channels_last((n, channels, *size), values.dtype, array_module(values))
    _positions.for_each(
        "scatter_plane", values.dtype, n * channels, as_channels_last(values),
        as_channels_last(indices), y, prod(size), prod(values.shape[2:]), channels,
    )  # fmt: skip
    return y


def place_plane(values, indices, size):
    """Return zeros of `size` with each value written at its index, the last where it repeats."""
    y, last = _empty(values, size), _empty(values, size, np.int32)
    last.fill(-1)
    _positions.for_each(
        "find_last", values.dtype, values.size, as_channels_last(indices), last, prod(size),
        prod(values.shape[2:]), values.shape[1],
    )  # fmt: skip
    _positions.for_each("place_last", values.dtype, y.size, as_channels_last(values), last, y)
    return y


def gather_plane(x, indices):
    """Return the values of `x` at the indices: the adjoint of :func:`scatter_plane`."""
    if x.dtype.kind != "f":  # numbers of as many bytes are as good, where they are only moved
        return gather_plane(x.view(f"f{x.itemsize}"), indices).view(x.dtype)
    y = _empty(x, indices.shape[2:])
    _positions.for_each(
        "gather_plane", x.dtype, y.size, as_channels_last(x), as_channels_last(indices), y,
        prod(x.shape[2:]), prod(indices.shape[2:]), x.shape[1],
    )  # fmt: skip
    return y


def _set_means(x, y):
    """Set `y` to the means of whole pictures, which are not empty."""
    (images, channels), pixels = x.shape[:2], prod(x.shape[2:])
    each = numbers_a_thread(channels, x)
    lanes, length, grid = blocks_of_columns(images, pixels, channels, each)
    parts = array_module(x).empty((images * channels, grid[1], 2))
    _whole.launch(
        "sums", x.dtype, grid, (THREADS,), x, parts, pixels, channels, lanes, length, each
    )
    _whole.launch(
        "means", x.dtype, grid_of_warps(y.size), (THREADS,), parts, y, grid[1], pixels, y.size
    )


def _for_each(source, kernel, inputs, results, *arguments):
    """Run a kernel with a thread for one or more numbers of the first result; see packs.cuh."""
    channels, dtype = inputs[0].shape[1], inputs[0].dtype
    each = numbers_a_thread(channels, *inputs)
    count = results[0].size // each
    source.for_each(kernel, dtype, count, *inputs, *results, *arguments, channels, each)


def _empty(x, size, dtype=None):
    """Return memory for pictures of `size`, with the images and channels of x."""
    shape = *x.shape[:2], *size
    return empty_channels_last(shape, x.dtype if dtype is None else dtype, array_module(x))


def _code_type(kernel) -> np.dtype:
    return np.min_scalar_type(kernel[0] * kernel[1] - 1)
