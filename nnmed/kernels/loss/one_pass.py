"""Value and gradient of an element-wise loss in one pass over its inputs.

A loss is the last op of a network: what its backward would read lies in the cache while
forward runs. So forward computes both, and backward only multiplies by dy.
"""

from __future__ import annotations

import numpy as np

from nnmed.backend.arrays import empty_like
from nnmed.backend.threads import parallel_for
from nnmed.kernels.elementwise import CHUNK, dense, flatten, quietly, take, temporaries

# A dot product of fewer numbers runs on one thread anyway: BLAS needs no limit.
_SHORT = 8192


def one_pass(function, reduction, gradient, x, *others, scratch: int = 0, slope: float = 1.0):
    """Return the reduced loss and, if `gradient`, its gradient by `x` for dy = 1, else None.

    Chunks are added up in float64 and in a fixed order; the mean of nothing is NaN.

    Parameters
    ----------
    function : callable
        ``terms = function(dx, x, *others, *temporaries)`` on 1-d chunks. The loss of an
        element is the sum of ``number * a * b`` over `terms`, triples (number, a, b) with b
        an array or None for 1: so the sum over all elements is made of dot products. It
        writes the derivative, over `slope`, into `dx`.
    reduction : {"none", "mean", "sum"}
    gradient : bool
    x, *others : array
        One shape, any layout; an array that repeats one element comes as a 0-d array.
    scratch : int
        How many temporaries are wanted.
    """
    x, order = dense(x)
    flat = [flatten(array, order) for array in (x, *others)]
    loss = empty_like(x) if reduction == "none" else None
    dx = empty_like(x) if gradient else None
    flat_loss, flat_dx = (None if a is None else flatten(a, order) for a in (loss, dx))
    slope = slope / max(x.size, 1) if reduction == "mean" else slope
    count = -(-x.size // CHUNK)
    sums = np.zeros(count)

    def task(index):
        start, stop = index * CHUNK, min((index + 1) * CHUNK, x.size)
        pieces = [take(values, start, stop) for values in flat]
        dx_here, *buffers = temporaries(1 + scratch, stop - start, x.dtype)
        if gradient:
            dx_here = flat_dx[start:stop]
        terms = function(dx_here, *pieces, *buffers)
        if loss is None:
            sums[index] = sum(number * _dot(a, b) for number, a, b in terms)
        else:
            flat_loss[start:stop] = sum(
                number * (a if b is None else a * b) for number, a, b in terms
            )
        if gradient and slope != 1:
            np.multiply(dx_here, slope, out=dx_here)

    if x.size <= _SHORT:
        for index in range(count):
            quietly(task, index)
    else:
        parallel_for(lambda index: quietly(task, index), count)
    if loss is None:
        loss = finish(sums.sum(), x.size, reduction, x.dtype)
    return loss, dx


def _dot(a, b) -> float:
    if b is None or not b.ndim:
        total = float(np.dot(a, _ones[a.dtype.char][: a.size]))
        return total if b is None else total * float(b)
    return float(np.dot(a, b))


def finish(total: float, count: float, reduction: str, dtype):
    """Return the sum, or the mean over `count`, as a 0-d array."""
    if reduction == "mean":
        total = total / count if count else np.nan
    return quietly(np.asarray, total, dtype)


_ones = {dtype.char: np.ones(CHUNK, dtype) for dtype in map(np.dtype, (np.float32, np.float64))}
for _row in _ones.values():
    _row.flags.writeable = False
