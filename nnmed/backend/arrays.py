"""Array modules, devices and memory layout.

Shapes are logical ``(N, C, H, W)`` everywhere. In memory the CPU kernels prefer
*channels-last*: the array is a transposed view of an ``(N, H, W, C)`` buffer, so that the
channels of one pixel lie side by side and inner loops are long. NumPy keeps that order
through element-wise functions; everything else allocates through the helpers below.
"""

from __future__ import annotations

import sys

import numpy as np

from nnmed.backend import memory
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


def device_of(array) -> str:
    """Return ``"cpu"`` for a NumPy array and ``"gpu"`` for a CuPy array."""
    return "cpu" if array_module(array) is np else "gpu"


def to_device(array, device: str):
    """Return `array` on `device` (``"cpu"`` or ``"gpu"``), itself if it is there already.

    Raises
    ------
    DeviceError
        If the device is unknown, or is the GPU, for which no kernels exist yet.
    """
    if device not in DEVICES:
        raise DeviceError(f"unknown device {device!r}: choose one of {', '.join(DEVICES)}")
    if device == device_of(array):
        return array
    if device == "cpu":
        return array.get()
    raise DeviceError("device 'gpu' cannot be used yet: nnmed has no CUDA kernels; use 'cpu'")


def is_channels_last(x) -> bool:
    """Tell whether `x` (N, C, ...) is a transposed view of a dense ``(N, ..., C)`` buffer."""
    return x.ndim > 2 and nhwc(x).flags.c_contiguous


def nhwc(x):
    """Return the ``(N, H, W, C)`` view of the logical ``(N, C, H, W)`` array `x`.

    Likewise ``(N, L, C)`` of ``(N, C, L)`` and ``(N, D, H, W, C)`` of ``(N, C, D, H, W)``.
    """
    return x.transpose(_TO_END[x.ndim])


def empty_channels_last(shape, dtype):
    """Return an uninitialised logical ``(N, C, ...)`` array on channels-last memory."""
    return memory.empty(_channels_to_end(shape), dtype).transpose(_channels_to_front(shape))


def zeros_channels_last(shape, dtype):
    """Return a zeroed logical ``(N, C, ...)`` array on channels-last memory."""
    return memory.zeros(_channels_to_end(shape), dtype).transpose(_channels_to_front(shape))


def as_channels_last(x):
    """Return `x` on channels-last memory: itself if it is, else a copy."""
    if is_channels_last(x):
        return x
    result = empty_channels_last(x.shape, x.dtype)
    np.copyto(result, x)
    return result


def empty_like(x, dtype=None):
    """Return an uninitialised array of the shape and memory order of `x`."""
    if x.nbytes < memory.SMALLEST or not isinstance(x, np.ndarray):
        return np.empty_like(x, dtype=dtype, order="K", subok=False)
    return _in_order_of(x, memory.empty, dtype)


def zeros_like(x, dtype=None):
    """Return a zeroed array of the shape and memory order of `x`."""
    if x.nbytes < memory.SMALLEST or not isinstance(x, np.ndarray):
        return np.zeros_like(x, dtype=dtype, order="K", subok=False)
    return _in_order_of(x, memory.zeros, dtype)


def _in_order_of(x, make, dtype):
    """Return what `make` makes of shape and dtype, in the memory order of `x`."""
    order = sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))
    array = make([x.shape[axis] for axis in order], x.dtype if dtype is None else dtype)
    return array.transpose([order.index(axis) for axis in range(x.ndim)])


def _channels_to_end(shape):
    if len(shape) < 3:
        raise ShapeError(f"channels-last memory is for (N, C, ...) arrays, got shape {shape}")
    return (shape[0], *shape[2:], shape[1])


def _channels_to_front(shape):
    return (0, len(shape) - 1, *range(1, len(shape) - 1))
