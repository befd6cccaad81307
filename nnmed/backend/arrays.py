"""Array modules, devices and memory layout.

Shapes are logical ``(N, C, H, W)`` everywhere. In memory the CPU kernels prefer
*channels-last*: the array is a transposed view of an ``(N, H, W, C)`` buffer, so that the
channels of one pixel lie side by side and inner loops are long. NumPy keeps that order
through element-wise functions; everything else allocates through the helpers below.
"""

from __future__ import annotations

import sys

import numpy as np

from nnmed.backend import cuda, memory
from nnmed.errors import DeviceError, ShapeError

DEVICES = ("cpu", "gpu")
# By the number of axes: the order that brings the channels to the end.
_TO_END = [None, None, *((0, *range(2, ndim), 1) for ndim in range(2, 65))]


def array_module(array):
    """Return ``numpy`` or ``cupy``, whichever `array` belongs to."""
    if isinstance(array, np.ndarray):
        return np
    cupy = sys.modules.get("cupy")
    if cupy is not None and isinstance(array, cupy.ndarray):
        return cupy
    raise DeviceError(f"expected a NumPy or CuPy array, got {type(array).__name__}")


def is_array(value) -> bool:
    """Tell whether `value` is a NumPy or CuPy array."""
    cupy = sys.modules.get("cupy")
    return isinstance(value, np.ndarray) or (cupy is not None and isinstance(value, cupy.ndarray))


def device_of(array) -> str:
    """Return ``"cpu"`` for a NumPy array and ``"gpu"`` for a CuPy array."""
    return "cpu" if array_module(array) is np else "gpu"


def to_device(array, device: str):
    """Return `array` on `device` (``"cpu"`` or ``"gpu"``), itself if it is there already.

    Raises
    ------
    DeviceError
        If the device is unknown, or is a GPU that CuPy does not find; on the way to a GPU, if a
        CUDA graph is captured, which would read memory of the host that is not kept.
    """
    if device not in DEVICES:
        raise DeviceError(f"unknown device {device!r}: choose one of {', '.join(DEVICES)}")
    if device == device_of(array):
        return array
    if device == "gpu" and cuda.is_capturing():
        raise DeviceError(
            f"an array of shape {array.shape} comes from the CPU while a CUDA graph is captured: "
            "bring it to the GPU before the training step"
        )
    # CuPy copies in C order: so that channels-last stays it, axes are put in memory's order.
    order, back = axes_by_stride(array)
    array = array.transpose(order)
    copy = array.get() if device == "cpu" else cuda.cupy().array(np.asarray(array, order="C"))
    return copy.transpose(back)


def axes_by_stride(x) -> tuple[list[int], list[int]]:
    """Return the axes of `x`, outermost in memory first, and the permutation that undoes it."""
    order = sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))
    return order, [order.index(axis) for axis in range(x.ndim)]


def in_memory_order(function, *arrays):
    """Return ``function(*arrays)``, element by element, in the memory order of the largest.

    NumPy's functions do so by themselves. CuPy's walk all arrays in C order and give results
    in it, which is slow for channels-last ones and would lose that order: so the axes are put
    into the order of memory first.
    """
    if type(arrays[0]) is np.ndarray:
        return function(*arrays)
    largest = max(arrays, key=lambda array: (array.ndim, array.size, 0 not in array.strides))
    if largest.flags.c_contiguous or 0 in largest.strides:
        return function(*arrays)
    order, back = axes_by_stride(largest)
    return function(*[_with_axes(array, order) for array in arrays]).transpose(back)


def _with_axes(x, order):
    """Return `x`, which is to be broadcast, with its axes in the given order."""
    return x.reshape((1,) * (len(order) - x.ndim) + x.shape).transpose(order)


def is_channels_last(x) -> bool:
    """Tell whether `x` (N, C, ...) is a transposed view of a dense ``(N, ..., C)`` buffer."""
    return x.ndim > 2 and nhwc(x).flags.c_contiguous


def nhwc(x):
    """Return the ``(N, H, W, C)`` view of the logical ``(N, C, H, W)`` array `x`.

    Likewise ``(N, L, C)`` of ``(N, C, L)`` and ``(N, D, H, W, C)`` of ``(N, C, D, H, W)``.
    """
    return x.transpose(_TO_END[x.ndim])


def empty_channels_last(shape, dtype, xp=np):
    """Return an uninitialised logical ``(N, C, ...)`` array on channels-last memory.

    `xp` is the array module that it belongs to.
    """
    make = memory.empty if xp is np else xp.empty
    return make(_channels_to_end(shape), dtype).transpose(_channels_to_front(shape))


def zeros_channels_last(shape, dtype, xp=np):
    """Return a zeroed logical ``(N, C, ...)`` array on channels-last memory."""
    make = memory.zeros if xp is np else xp.zeros
    return make(_channels_to_end(shape), dtype).transpose(_channels_to_front(shape))


def as_channels_last(x):
    """Return `x` on channels-last memory: itself if it is, else a copy."""
    if is_channels_last(x):
        return x
    result = empty_channels_last(x.shape, x.dtype, array_module(x))
    nhwc(result)[...] = nhwc(x)  # CuPy walks the axes as they come
    return result


def empty_like(x, dtype=None):
    """Return an uninitialised array of the shape and memory order of `x`."""
    if not isinstance(x, np.ndarray):
        return _in_order_of(x, array_module(x).empty, dtype)
    if x.nbytes < memory.SMALLEST:
        return np.empty_like(x, dtype=dtype, order="K", subok=False)
    return _in_order_of(x, memory.empty, dtype)


def zeros_like(x, dtype=None):
    """Return a zeroed array of the shape and memory order of `x`."""
    if not isinstance(x, np.ndarray):
        return _in_order_of(x, array_module(x).zeros, dtype)
    if x.nbytes < memory.SMALLEST:
        return np.zeros_like(x, dtype=dtype, order="K", subok=False)
    return _in_order_of(x, memory.zeros, dtype)


def _in_order_of(x, make, dtype):
    """Return what `make` makes of shape and dtype, in the memory order of `x`."""
    order, back = axes_by_stride(x)
    array = make([x.shape[axis] for axis in order], x.dtype if dtype is None else dtype)
    return array.transpose(back)


def _channels_to_end(shape):
    if len(shape) < 3:
        raise ShapeError(f"channels-last memory is for (N, C, ...) arrays, got shape {shape}")
    return (shape[0], *shape[2:], shape[1])


def _channels_to_front(shape):
    return (0, len(shape) - 1, *range(1, len(shape) - 1))
