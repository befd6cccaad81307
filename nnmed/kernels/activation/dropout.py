"""dropout and random slopes with counter-based words: any device draws the same ones.

Element ``i`` is kept if word ``i`` of the key's Philox sequence is at least
``lowest_kept(p)``. Elements are numbered in an order that depends on the shape alone, not on
memory or device: row-major over the axes (N, H, W, C) for an (N, C, H, W) array, likewise
(N, D, H, W, C) for an (N, C, D, H, W) array, row-major over the axes as they are for all
other ranks. That is the memory order of the channels-last
arrays in use here, whose mask then needs no transposition; for another layout the mask is
drawn in that order and read through a transposed view, a byte an element.
"""

from __future__ import annotations

import numpy as np

from nnmed.backend.arrays import empty_like
from nnmed.backend.random import philox_uint32
from nnmed.backend.threads import parallel_for
from nnmed.kernels.elementwise import apply, flatten, for_chunks, memory_order, unflatten

_DRAW = 1 << 16  # elements: starting a generator takes as long as 5000 words


def lowest_kept(p: float) -> int:
    """Return the smallest 32-bit word that keeps an element: p as a multiple of 2**-32."""
    return round(p * 2**32)


def element_order(ndim: int) -> tuple[int, ...]:
    """Return the axes in which elements are numbered, outermost first."""
    return (0, *range(2, ndim), 1) if ndim in (4, 5) else tuple(range(ndim))


def dropout(x, p, key):
    """Return x / (1 - p) where kept and 0 * x elsewhere, and the mask as packed bits.

    Parameters
    ----------
    x : array
    p : float
        Probability of dropping an element, in [0, 1].
    key : tuple of int
        Philox key of this draw.

    Returns
    -------
    y : array
    bits : array of uint8
        Bit ``i`` (little end first) tells whether element ``i`` was kept.
    """
    bits = _draw(x.size, p, key)
    return _masked(x, bits, p), bits


def dropout_grad(dy, bits, p):
    """Return dy / (1 - p) where kept and 0 * dy elsewhere."""
    return _masked(dy, bits, p)


def random_slopes(x, lower, upper, key):
    """Return 1 where x is positive, elsewhere numbers drawn evenly from [lower, upper].

    Element ``i`` has ``lower + (upper - lower) * w / 2**32``, w being word ``i`` of the key.
    """
    slopes, step = np.empty(x.size, x.dtype), (upper - lower) / 2**32

    def task(index):
        start, stop = index * _DRAW, min((index + 1) * _DRAW, x.size)
        np.multiply(philox_uint32(key, start, stop - start), step, out=slopes[start:stop])
        np.add(slopes[start:stop], lower, out=slopes[start:stop])

    parallel_for(task, -(-x.size // _DRAW))
    slopes = unflatten(slopes, x.shape, element_order(x.ndim))
    np.copyto(slopes, 1, where=x > 0)
    return slopes


def _draw(size, p, key):
    bits = np.zeros(-(-size // 8), np.uint8)
    lowest = lowest_kept(p)
    if lowest == 2**32:
        return bits

    def task(index):
        start, stop = index * _DRAW, min((index + 1) * _DRAW, size)
        keep = philox_uint32(key, start, stop - start) >= np.uint32(lowest)
        bits[start // 8 : -(-stop // 8)] = np.packbits(keep, bitorder="little")

    parallel_for(task, -(-size // _DRAW))
    return bits


def _masked(x, bits, p):
    order = element_order(x.ndim)
    scale = 0.0 if p == 1 else 1 / (1 - p)
    if memory_order(x) is None:
        x = unflatten(x.transpose(order).reshape(-1), x.shape, order)

    def multiply(y, x, keep):
        np.multiply(x, keep, out=y)
        np.multiply(y, scale, out=y)

    if not x.transpose(order).flags.c_contiguous:
        keep = np.unpackbits(bits, count=x.size, bitorder="little")
        return apply(multiply, x, unflatten(keep, x.shape, order))
    result = empty_like(x)
    source, target = flatten(x, order), flatten(result, order)

    def task(_, start, stop):
        keep = np.unpackbits(bits[start // 8 :], count=stop - start, bitorder="little")
        multiply(target[start:stop], source[start:stop], keep)

    for_chunks(task, x.size)
    return result
