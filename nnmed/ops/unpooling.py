"""The partial inverse of max pooling, of signals, pictures and volumes."""

from __future__ import annotations

import math

from nnmed.autograd import Tensor
from nnmed.errors import DTypeError, OutOfRangeError, ShapeError, UsageError
from nnmed.ops.arguments import as_tensor, check_positive, per_axis
from nnmed.ops.pictures import pictures
from nnmed.ops.pooling_ops import PlacePlane
from nnmed.ops.shape import reshape


def max_unpool1d(input, indices, kernel_size, stride=None, padding=0, output_size=None) -> Tensor:
    """Return a signal of zeros with the maxima put back where they were.

    Arguments, result and errors are those of :func:`max_unpool2d` with one axis.
    """
    windows = kernel_size, stride, padding
    return _max_unpool("max_unpool1d", 1, input, indices, *windows, output_size)


def max_unpool2d(input, indices, kernel_size, stride=None, padding=0, output_size=None) -> Tensor:
    """Return a picture of zeros with the maxima put back where they were.

    Where windows overlap and a position repeats, its last value stays.

    Parameters
    ----------
    input : Tensor
        ``(N, C, H, W)`` or ``(C, H, W)``: what :func:`max_pool2d` returned.
    indices : Tensor
        The positions that it returned with it, int64, shaped like `input`.
    kernel_size, stride, padding : int or pair of int
        Those of the pooling; `stride` is `kernel_size` by default.
    output_size : sequence of int, optional
        The size of the pooled picture, (..., H, W), where several have the same result. By
        default (H - 1) * stride + kernel_size - 2 * padding.

    Raises
    ------
    ShapeError
        If `indices` is not shaped like `input`, or no picture of `output_size` is pooled to
        the size of `input`.
    OutOfRangeError
        If an index lies outside of the result.
    """
    windows = kernel_size, stride, padding
    return _max_unpool("max_unpool2d", 2, input, indices, *windows, output_size)


def max_unpool3d(input, indices, kernel_size, stride=None, padding=0, output_size=None) -> Tensor:
    """Return a volume of zeros with the maxima put back where they were.

    Arguments, result and errors are those of :func:`max_unpool2d` with three axes.
    """
    windows = kernel_size, stride, padding
    return _max_unpool("max_unpool3d", 3, input, indices, *windows, output_size)


def _max_unpool(name, dims, input, indices, kernel_size, stride, padding, output_size):
    kernel = per_axis(kernel_size, dims, "kernel_size")
    stride = kernel if stride is None else per_axis(stride, dims, "stride")
    padding = per_axis(padding, dims, "padding")
    check_positive(name, kernel_size=kernel, stride=stride)
    x, batched = pictures(name, input, dims)
    size = _size(name, x.shape, kernel, stride, padding, output_size)
    places = _places(name, as_tensor(input).shape, as_tensor(indices), size).reshape(x.shape)
    # All axes but the last make the rows of one tall picture: a position stays what it is.
    rows, columns = (size[0], 1) if dims == 1 else (math.prod(size[:-1]), size[-1])
    n, c, last = *x.shape[:2], 1 if dims == 1 else x.shape[-1]
    shape = n, c, math.prod(x.shape[2:]) // last, last
    y = PlacePlane(places.reshape(shape), (rows, columns))(reshape(x, shape))
    return batched(reshape(y, (n, c, *size)))


def _size(name, shape, kernel, stride, padding, output_size):
    """Return the size of the result, which must be near what the windows span."""
    span = [(n - 1) * s + k - 2 * p for n, k, s, p in zip(shape[2:], kernel, stride, padding)]
    if output_size is None:
        size = tuple(span)
    else:
        size = tuple(map(int, output_size))[-len(span) :]
        if len(output_size) not in (len(span), len(span) + 2):
            raise UsageError(
                f"{name}: output_size must have {len(span)} or {len(span) + 2} numbers, "
                f"got {output_size}"
            )
        if any(abs(n - m) >= s for n, m, s in zip(size, span, stride)):
            raise ShapeError(
                f"{name}: output_size {size} must differ from {tuple(span)} by less than the "
                f"stride {stride}: input {shape}"
            )
    if min(size) < 1:
        raise ShapeError(f"{name}: the result would have size {size}: input {shape}")
    return size


def _places(name, shape, indices, size):
    if indices.dtype.kind not in "iu":
        raise DTypeError(f"{name}: indices must be integers, got {indices.dtype}")
    if indices.shape != shape:
        raise ShapeError(f"{name}: indices {indices.shape} must be shaped like input {shape}")
    array = indices._array
    if array.size and not (array.min() >= 0 and array.max() < math.prod(size)):
        raise OutOfRangeError(
            f"{name}: indices must lie in [0, {math.prod(size)}) for an output of {size}, "
            f"got {array.min()} to {array.max()}"
        )
    return array
