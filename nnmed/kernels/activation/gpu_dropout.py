"""dropout and random slopes on the GPU: the very words that dropout.py draws on the CPU.

A key is a pair of numbers, as there, or an array of the two on the device, (2,), uint64. A step
that was captured in a CUDA graph reads the array again in each replay.
"""

from __future__ import annotations

import numpy as np

from nnmed.backend import cuda
from nnmed.backend.arrays import array_module
from nnmed.backend.cuda import Source
from nnmed.kernels.activation.dropout import element_order, lowest_kept
from nnmed.kernels.elementwise import unflatten
from nnmed.kernels.packs import numbers_a_thread

DRAWERS = 256
"""Threads of a block that draws: ``BLOCK`` of dropout.cu. Each draws for eight elements."""

_source = Source(__file__, "dropout.cu")


def dropout(x, p, key):
    """Return x / (1 - p) where kept and 0 * x elsewhere, and the mask as packed bits."""
    bits = array_module(x).empty(-(-x.size // 8), np.uint8)
    y = _draw("dropout", x, bits, _on_device(key), np.uint64(lowest_kept(p)), _scale(p))
    return y, bits


def dropout_grad(dy, bits, p):
    """Return dy / (1 - p) where kept and 0 * dy elsewhere."""
    source, result = _in_element_order(dy)
    each = numbers_a_thread(dy.size, source, result)
    _source.for_each(
        "dropout_grad", dy.dtype, dy.size // each, source, bits, result, _scale(p), each
    )
    return unflatten(result, dy.shape, element_order(dy.ndim))


def random_slopes(x, lower, upper, key):
    """Return 1 where x is positive, elsewhere numbers drawn evenly from [lower, upper]."""
    return _draw("random_slopes", x, _on_device(key), float(lower), (upper - lower) / 2**32)


def _draw(kernel, x, *arguments):
    """Return what a kernel that draws a word an element makes of x."""
    source, result = _in_element_order(x)
    grid, each = (-(-x.size // (8 * DRAWERS)),), numbers_a_thread(x.size, source, result)
    _source.launch(kernel, x.dtype, grid, (DRAWERS,), source, result, *arguments, each, x.size)
    return unflatten(result, x.shape, element_order(x.ndim))


def _in_element_order(x):
    """Return the elements in the order of their numbers, 1-d, and memory for as many."""
    flat = x.transpose(element_order(x.ndim)).reshape(-1)
    return flat, array_module(x).empty(flat.shape, flat.dtype)


def _scale(p):
    return 0.0 if p == 1 else float(1 / (1 - p))


def _on_device(key):
    if not isinstance(key, tuple):
        return key
    words = cuda.cupy().empty(2, np.uint64)
    _source.launch("place_key", np.float32, (1,), (1,), words, *map(np.uint64, key))
    return words
