"""Max and average pooling with windows of one size, of signals, pictures and volumes."""

from __future__ import annotations

import numpy as np

from nnmed.autograd import Tensor
from nnmed.errors import ShapeError, UsageError
from nnmed.ops.arguments import check_numbers, check_positive, per_axis
from nnmed.ops.pictures import pictures
from nnmed.ops.pooling_axes import pool_axes
from nnmed.ops.pooling_ops import AvgPool2d, MaxPool2d


def max_pool1d(
    input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
):
    """Return the largest value in each window of a signal.

    Arguments, result and errors are those of :func:`max_pool2d` with one axis: `input` is
    ``(N, C, L)`` or ``(C, L)``, and a position is counted along L.
    """
    windows = kernel_size, stride, padding, dilation
    return _max_pool("max_pool1d", 1, input, *windows, ceil_mode, return_indices)


def max_pool2d(
    input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
):
    """Return the largest value in each window of a picture.

    Parameters
    ----------
    input : Tensor
        ``(N, C, H, W)`` or ``(C, H, W)``.
    kernel_size, stride, padding, dilation : int or pair of int
        Rows and columns; `stride` is `kernel_size` by default. Padding counts as -inf and
        is at most half of the kernel.
    ceil_mode : bool
        Round the output size up, so that windows may reach over the edge.
    return_indices : bool
        Return also the positions ``row * W + column`` of the maxima, int64.

    Raises
    ------
    ShapeError
        If the picture is smaller than a window, or a window lies in the padding alone.
    """
    windows = kernel_size, stride, padding, dilation
    return _max_pool("max_pool2d", 2, input, *windows, ceil_mode, return_indices)


def max_pool3d(
    input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False
):
    """Return the largest value in each window of a volume.

    Arguments, result and errors are those of :func:`max_pool2d` with three axes: `input` is
    ``(N, C, D, H, W)`` or ``(C, D, H, W)``, and a position is
    ``(depth * H + row) * W + column``.
    """
    windows = kernel_size, stride, padding, dilation
    return _max_pool("max_pool3d", 3, input, *windows, ceil_mode, return_indices)


def avg_pool1d(
    input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True
) -> Tensor:
    """Return the mean of each window of a signal.

    Arguments, result and errors are those of :func:`avg_pool2d` with one axis: `input` is
    ``(N, C, L)`` or ``(C, L)``.
    """
    windows = kernel_size, stride, padding, ceil_mode
    return _avg_pool("avg_pool1d", 1, input, *windows, count_include_pad, None)


def avg_pool2d(
    input,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
) -> Tensor:
    """Return the mean of each window of a picture.

    Parameters
    ----------
    input : Tensor
        ``(N, C, H, W)`` or ``(C, H, W)``.
    kernel_size, stride, padding : int or pair of int
        Rows and columns; `stride` is `kernel_size` by default. Padding counts as 0.
    ceil_mode : bool
        Round the output size up, so that windows may reach over the edge.
    count_include_pad : bool
        Whether the padding counts in the size that the sum is divided by.
    divisor_override : int, optional
        Divide every sum by this number instead.
    """
    windows = kernel_size, stride, padding, ceil_mode
    return _avg_pool("avg_pool2d", 2, input, *windows, count_include_pad, divisor_override)


def avg_pool3d(
    input,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode=False,
    count_include_pad=True,
    divisor_override=None,
) -> Tensor:
    """Return the mean of each window of a volume.

    Arguments, result and errors are those of :func:`avg_pool2d` with three axes: `input` is
    ``(N, C, D, H, W)`` or ``(C, D, H, W)``.
    """
    windows = kernel_size, stride, padding, ceil_mode
    return _avg_pool("avg_pool3d", 3, input, *windows, count_include_pad, divisor_override)


def _max_pool(name, dims, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices):
    kernel, stride, padding = _windows(name, dims, kernel_size, stride, padding)
    dilation = per_axis(dilation, dims, "dilation")
    check_positive(name, dilation=dilation)
    x, batched = pictures(name, input, dims)
    size = _output_size(name, x.shape, kernel, stride, padding, dilation, ceil_mode)
    _check_windows_touch(name, x.shape, kernel, stride, padding, dilation, size)

    def op(along):
        windows = along(kernel, 1), along(stride, 1), along(padding, 0), along(dilation, 1)
        return MaxPool2d(*windows, along(size, 1), return_indices)

    y, indices = pool_axes(x, op)
    return (batched(y), batched(Tensor._wrap(indices))) if return_indices else batched(y)


def _avg_pool(
    name, dims, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
):
    if divisor_override is not None:
        check_numbers(name, divisor_override=divisor_override)
        if divisor_override == 0:
            raise UsageError(f"{name}: divisor_override must not be 0")
    kernel, stride, padding = _windows(name, dims, kernel_size, stride, padding)
    x, batched = pictures(name, input, dims)
    size = _output_size(name, x.shape, kernel, stride, padding, (1,) * dims, ceil_mode)

    def op(along):
        # The divisor of a volume is a product too: slices take 1, so that the depth takes all.
        override = divisor_override if divisor_override is None or along.last else 1
        windows = along(kernel, 1), along(stride, 1), along(padding, 0), along(size, 1)
        return AvgPool2d(*windows, bool(count_include_pad), override)

    return batched(pool_axes(x, op)[0])


def _windows(name, dims, kernel_size, stride, padding):
    """Return kernel, stride and padding, a number for each axis."""
    kernel = per_axis(kernel_size, dims, "kernel_size")
    stride = kernel if stride is None else per_axis(stride, dims, "stride")
    padding = per_axis(padding, dims, "padding")
    check_positive(name, kernel_size=kernel, stride=stride)
    if any(p < 0 or p > k // 2 for p, k in zip(padding, kernel)):
        raise UsageError(f"{name}: padding {padding} must be at most half of kernel_size {kernel}")
    return kernel, stride, padding


def _output_size(name, shape, kernel, stride, padding, dilation, ceil_mode):
    """Return how many windows fit along each axis, by PyTorch's rule."""
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
    sizes = []
    for n, r, s, p in zip(shape[2:], reach, stride, padding):
        room = n + 2 * p - r
        count = (-(-room // s) if ceil_mode else room // s) + 1
        if ceil_mode and (count - 1) * s >= n + p:  # no window starts in the right padding
            count -= 1
        sizes.append(count)
    if min(sizes) < 1:
        raise ShapeError(
            f"{name}: a window of {tuple(reach)} does not fit into {shape[2:]} "
            f"with padding {padding}: input {shape}"
        )
    return tuple(sizes)


def _check_windows_touch(name, shape, kernel, stride, padding, dilation, size):
    # Only dilation can step from the padding on one side over the picture to the other.
    for n, k, s, p, d, count in zip(shape[2:], kernel, stride, padding, dilation, size):
        cells = np.arange(count)[:, None] * s - p + np.arange(k) * d
        if d > 1 and p and not ((cells >= 0) & (cells < n)).any(axis=1).all():
            raise ShapeError(
                f"{name}: with padding {padding} and dilation {dilation}, a window lies outside "
                f"the {shape[2:]}: input {shape}; use less padding"
            )
