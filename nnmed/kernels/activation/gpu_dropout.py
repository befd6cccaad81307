"""dropout and random slopes on the GPU: the very words that dropout.py draws on the CPU."""

from __future__ import annotations

import numpy as np

from nnmed.backend.arrays import array_module
from nnmed.backend.cuda import THREADS, Source
from nnmed.kernels.activation.dropout import element_order, lowest_kept
from nnmed.kernels.elementwise import unflatten

_source = Source(__file__, "dropout.cu")


def dropout(x, p, key):
    """Return x / (1 - p) where kept and 0 * x elsewhere, and the mask as packed bits."""
    bits = array_module(x).empty(-(-x.size // 8), np.uint8)
    arguments = *_words(key), np.uint64(lowest_kept(p)), x.size
    _source.launch("draw_mask", x.dtype, _grid(bits.size), (THREADS,), bits, *arguments)
    return dropout_grad(x, bits, p), bits


def dropout_grad(dy, bits, p):
    """Return dy / (1 - p) where kept and 0 * dy elsewhere."""
    source, result = _in_element_order(dy)
    scale = 0.0 if p == 1 else 1 / (1 - p)
    _source.for_each("apply_mask", dy.dtype, dy.size, source, bits, result, float(scale))
    return unflatten(result, dy.shape, element_order(dy.ndim))


def random_slopes(x, lower, upper, key):
    """Return 1 where x is positive, elsewhere numbers drawn evenly from [lower, upper]."""
    source, result = _in_element_order(x)
    arguments = *_words(key), float(lower), (upper - lower) / 2**32, x.size
    grid = _grid(-(-x.size // 8))
    _source.launch("random_slopes", x.dtype, grid, (THREADS,), source, result, *arguments)
    return unflatten(result, x.shape, element_order(x.ndim))


def _in_element_order(x):
    """Return the elements in the order of their numbers, 1-d, and memory for as many."""
    flat = x.transpose(element_order(x.ndim)).reshape(-1)
    return flat, array_module(x).empty(flat.shape, flat.dtype)


def _words(key):
    return np.uint64(key[0]), np.uint64(key[1])


def _grid(threads: int):
    return (-(-threads // THREADS),)
