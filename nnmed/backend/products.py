"""Matrix products that give the same bits for any number of threads.

BLAS splits a product over its threads by their number, which changes the order of sums.
Here BLAS runs at one thread and the rows of the result are split into fixed blocks.
"""

from __future__ import annotations

import math

import numpy as np

from nnmed.backend import memory
from nnmed.backend.arrays import array_module, is_channels_last, nhwc
from nnmed.backend.precision import rounded
from nnmed.backend.threads import blas_single_thread, chunks, parallel_for

# Below this many multiplications OpenBLAS itself stays on one thread.
_SMALL = 9216
# A block of rows should be worth a thread's while: about 0.1 ms of one core.
_BLOCK = 1 << 23
_PIXELS = 8192


def matmul(a, b):
    """Return ``a @ b`` for 2-d arrays, or for stacks of them with equal leading shapes.

    On a GPU cuBLAS multiplies; :mod:`nnmed.kernels.matmul` serves where it cannot be called.
    """
    if array_module(a) is not np:
        return a @ b
    a, b = rounded(a), rounded(b)
    work = a.size * b.shape[-1]
    if work <= _SMALL:
        return a @ b
    dtype = np.result_type(a, b)
    out = memory.empty((*a.shape[:-1], b.shape[-1]), dtype)
    if a.ndim == 2:
        _split_rows(a, b, out)
        return out
    *outer, last = a.shape[:-2]
    each = max(1, _BLOCK * math.prod(outer) * last // work)  # matrices a block
    parts = [
        (*index, slice(start, stop))
        for index in np.ndindex(*outer)
        for start, stop in chunks(last, each)
    ]

    def task(number):
        part = parts[number]
        np.matmul(a[part], b[part], out=out[part])

    parallel_for(task, len(parts))
    return out


def _split_rows(a, b, out):
    rows = a.shape[0]
    each = max(64, _BLOCK // max(1, a.shape[1] * b.shape[1]))
    if rows <= each:
        with blas_single_thread():
            np.matmul(a, b, out=out)
        return

    def task(block):
        part = slice(block * each, (block + 1) * each)
        np.matmul(a[part], b, out=out[part])

    parallel_for(task, -(-rows // each))


def channel_sums(x):
    """Return the sum of ``x`` (N, C, ...) over images and pixels, (C,).

    On channels-last memory the sum over the first axis of short rows is slow in NumPy; a
    product with a row of ones is five times as fast. Partial sums of fixed blocks are added
    in order. On a GPU a sum of CuPy's keeps only as many blocks busy as there are channels, so
    one axis is summed at a time.
    """
    if not isinstance(x, np.ndarray):
        return _sums_by_axis(nhwc(x))
    if not is_channels_last(x):
        return x.sum(axis=(0, *range(2, x.ndim)))
    rows = nhwc(x).reshape(-1, x.shape[1])
    blocks = chunks(len(rows), _PIXELS)
    partial = np.empty((len(blocks), x.shape[1]), x.dtype)

    def task(index):
        start, stop = blocks[index]
        np.matmul(np.ones(stop - start, x.dtype), rows[start:stop], out=partial[index])

    parallel_for(task, len(blocks))
    return partial.sum(axis=0)


def _sums_by_axis(x):
    while x.ndim > 2:
        x = x.sum(axis=1)
    return x.sum(axis=0)
