"""A stand-in for what nnmed takes from cupyx."""

from __future__ import annotations

import types

import numpy as np
from scipy import ndimage

from tests.cuda import cupy_on_cpu


def empty_pinned(shape, dtype=np.float64):
    """Return memory of the host that a card reads by itself; full of NaN."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.full(size, 0xFF, np.uint8).view(dtype).reshape(shape)


def _map_coordinates(
    input, coordinates, output=None, order=3, mode="constant", cval=0.0, prefilter=True
):
    """Return values of the input at any places, as SciPy's function does."""
    if output is not None or not all(type(a) is cupy_on_cpu.ndarray for a in (input, coordinates)):
        raise TypeError("map_coordinates takes arrays of the card, and here no output=")
    source, places = input._array, coordinates._array

    def compute():
        result = ndimage.map_coordinates(source, places, None, order, mode, cval, prefilter)
        return np.ascontiguousarray(result)

    return cupy_on_cpu._computed(compute, input, coordinates)


scipy = types.SimpleNamespace(ndimage=types.SimpleNamespace(map_coordinates=_map_coordinates))
