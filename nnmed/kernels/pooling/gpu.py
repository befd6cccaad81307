"""Pooling on the GPU; formulas in reference.py, kernels in the .cu files beside."""

from __future__ import annotations

from math import ceil, prod

import numpy as np

from nnmed.backend.arrays import (
    array_module,
    as_channels_last,
    empty_channels_last,
    zeros_channels_last,
)
from nnmed.backend.cuda import THREADS, Source

__all__ = [
    "adaptive_avg_pool2d", "adaptive_avg_pool2d_input_grad", "adaptive_max_pool2d", "avg_pool2d",
    "avg_pool2d_input_grad", "gather_plane", "max_pool2d", "max_pool2d_indices",
    "max_pool2d_input_grad", "place_plane", "scatter_plane",
]  # fmt: skip

_windows, _adaptive = Source(__file__, "windows.cu"), Source(__file__, "adaptive.cu")
_positions = Source(__file__, "positions.cu")


def max_pool2d(x, kernel, stride, padding, dilation, output_size, need_codes=True):
    """Return the largest value of each window, and its code; see reference.py."""
    y, codes = _empty(x, output_size), None
    dtype = _code_type(kernel)
    if need_codes:
        codes = _empty(x, output_size, dtype)
    axes = *x.shape[2:], *output_size, *kernel, *stride, *padding, *dilation
    _windows.for_each(
        f"max_pool_{dtype.itemsize}", x.dtype, y.size, as_channels_last(x), y, codes, *axes,
        x.shape[1],
    )  # fmt: skip
    return y, codes


def max_pool2d_indices(codes, input_size, kernel, stride, padding, dilation):
    """Return the index ``row * W + column`` of each code, int64, channels-last."""
    indices = _empty(codes, codes.shape[2:], np.int64)
    axes = *input_size, *codes.shape[2:], *kernel, *stride, *padding, *dilation
    _windows.for_each(
        "positions", np.float32, codes.size, as_channels_last(codes.astype(np.uint32)), indices,
        *axes, codes.shape[1],
    )  # fmt: skip
    return indices


def max_pool2d_input_grad(dy, codes, input_size, kernel, stride, padding, dilation):
    """Return dx: each dy is added where the maximum of its window was."""
    dx = _empty(dy, input_size)
    axes = *input_size, *dy.shape[2:], *kernel, *stride, *padding, *dilation
    _windows.for_each(
        f"max_pool_grad_{codes.itemsize}", dy.dtype, dx.size, as_channels_last(dy),
        as_channels_last(codes), dx, *axes, dy.shape[1],
    )  # fmt: skip
    return dx


def avg_pool2d(x, kernel, stride, padding, output_size, count_include_pad, divisor_override):
    """Return the sum of each window over its divisor; padding counts as 0."""
    y = _empty(x, output_size)
    axes = *x.shape[2:], *output_size, *kernel, *stride, *padding, 1, 1
    _windows.for_each(
        "average_pool", x.dtype, y.size, as_channels_last(x), y, bool(count_include_pad),
        float(divisor_override or 0), *axes, x.shape[1],
    )  # fmt: skip
    return y


def avg_pool2d_input_grad(
    dy, input_size, kernel, stride, padding, count_include_pad, divisor_override
):
    """Return dx: each dy over its divisor is added to all cells of its window."""
    dx = _empty(dy, input_size)
    axes = *input_size, *dy.shape[2:], *kernel, *stride, *padding, 1, 1
    _windows.for_each(
        "average_pool_grad", dy.dtype, dx.size, as_channels_last(dy), dx, bool(count_include_pad),
        float(divisor_override or 0), *axes, dy.shape[1],
    )  # fmt: skip
    return dx


def adaptive_max_pool2d(x, output_size):
    """Return the largest value of each of ``output_size`` windows, and its index."""
    y, indices = _empty(x, output_size), _empty(x, output_size, np.int64)
    _adaptive.for_each(
        "adaptive_max", x.dtype, y.size, as_channels_last(x), y, indices, *x.shape[2:],
        *output_size, x.shape[1],
    )  # fmt: skip
    return y, indices


def adaptive_avg_pool2d(x, output_size):
    """Return the mean of each of ``output_size`` windows."""
    y, x = _empty(x, output_size), as_channels_last(x)
    if tuple(output_size) == (1, 1):
        pixels, channels = prod(x.shape[2:]), x.shape[1]
        grid = ceil(channels / 32), len(x)
        _adaptive.launch("mean_of_pictures", x.dtype, grid, (THREADS,), x, y, pixels, channels)
    else:
        sizes = *x.shape[2:], *output_size, x.shape[1]
        _adaptive.for_each("adaptive_average", x.dtype, y.size, x, y, *sizes)
    return y


def adaptive_avg_pool2d_input_grad(dy, input_size):
    """Return dx: each dy over the size of its window is added to all cells of it."""
    dx = _empty(dy, input_size)
    _adaptive.for_each(
        "adaptive_average_grad", dy.dtype, dx.size, as_channels_last(dy), dx, *input_size,
        *dy.shape[2:], dy.shape[1],
    )  # fmt: skip
    return dx


def scatter_plane(values, indices, size):
    """Return a picture of `size` in which each value is added at its index."""
    return _written("scatter_plane", values, indices, size)


def place_plane(values, indices, size):
    """Return zeros of `size` with each value written at its index, the last where it repeats."""
    return _written("place_plane", values, indices, size)


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


def _written(kernel, values, indices, size):
    shape = *values.shape[:2], *size
    y = zeros_channels_last(shape, values.dtype, array_module(values))
    _positions.for_each(
        kernel, values.dtype, prod(values.shape[:2]), as_channels_last(values),
        as_channels_last(indices), y, prod(size), prod(values.shape[2:]), values.shape[1],
    )  # fmt: skip
    return y


def _empty(x, size, dtype=None):
    """Return memory for pictures of `size`, with the images and channels of x."""
    shape = *x.shape[:2], *size
    return empty_channels_last(shape, x.dtype if dtype is None else dtype, array_module(x))


def _code_type(kernel) -> np.dtype:
    return np.dtype(np.min_scalar_type(kernel[0] * kernel[1] - 1))
