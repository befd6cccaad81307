"""Layer and root-mean-square normalisation of the rows of ``(M, D)`` arrays, with NumPy.

The second is the first with a mean of 0 instead of the row's own. Rows are independent: all
steps of a piece of rows follow each other, so that it stays in the cache.

A number for each row times one for each column fills a whole piece as a product of matrices,
with two numbers for each so that BLAS takes it. That and a flat product after it take less
time than to broadcast, most of all in short rows: NumPy starts a loop for each. Sums along
rows are products as well.
"""

from __future__ import annotations

import numpy as np

from nnmed.backend import memory
from nnmed.backend.threads import chunks, parallel_for
from nnmed.kernels.elementwise import quietly, temporaries

_PIECE = 1 << 19  # numbers in a piece: two threads at 1 << 18 are slower, and one no faster

# Largest |mean| / spread for forms that do not first subtract the mean. They lose its square
# in relative accuracy of the variance, and itself in absolute accuracy of what is normalised.
_FAR = 4.0


def layer_norm(x, weight, bias, eps, centred):
    """Return y, each row's mean and 1 / sqrt(var + eps), both ``(M,)``; see reference.py."""
    width, eps = x.shape[1], x.dtype.type(eps)
    y = memory.empty(x.shape, x.dtype)
    mean, inverse = np.zeros((2, len(x)), x.dtype)
    ones, affine = np.ones(width, x.dtype), _affine(weight, bias, x)

    def task(_, rows):
        block, out = x[rows], y[rows]
        var = np.vecdot(block, block) / width
        middle = mean[rows]
        if centred:
            np.divide(block @ ones, width, out=middle)
            square = middle * middle
            var -= square
            if not (square <= _FAR**2 * var).all():  # so neither if there is NaN
                # Pairwise sums: a mean that is large against the spread needs its last bits.
                np.divide(np.add.reduce(block, axis=1), width, out=middle)
                block = _without_mean(np.subtract(block, middle[:, None], out=out))
                var = np.vecdot(block, block) / width
                middle = 0
        scale = np.divide(1, np.sqrt(var + eps), out=inverse[rows])
        # y = x * (scale * weight) + (-mean * scale * weight + bias)
        (product,) = _scratch(1, out)
        np.multiply(block, _outer(scale, 0, affine, product), out=out)
        if centred or bias is not None:
            np.add(out, _outer(-middle * scale, 1, affine, product), out=out)

    _for_pieces(task, x.shape)
    return y, mean, inverse


def layer_norm_grad(dy, x, mean, inverse, weight, centred):
    """Return dx and, both float64 ``(D,)``, dweight and dbias; see reference.py."""
    width = x.shape[1]
    dx = memory.empty(x.shape, x.dtype)
    count = len(_pieces(x.shape))
    dweight, dbias = np.empty((2, count, width), x.dtype)
    columns = _affine(weight, np.ones(width, x.dtype), x)
    weight = columns[0]

    def task(index, rows):
        gradient, block, out = dy[rows], x[rows], dx[rows]
        middle, scale = mean[rows], inverse[rows]
        product, centre = _scratch(2, out)
        if not (np.abs(middle) * scale <= _FAR).all():
            block, middle = np.subtract(block, middle[:, None], out=centre), np.zeros_like(middle)
            block = _without_mean(block) if centred else block
        np.multiply(gradient, block, out=product)
        np.matmul(np.ones_like(scale), gradient, out=dbias[index])
        np.matmul(scale, product, out=dweight[index])
        total, slope = gradient @ weight, product @ weight
        if centred:
            dweight[index] -= (scale * middle) @ gradient
            slope -= middle * total
        # dx = gradient * (scale * weight) + x * slope + level
        slope = slope * scale / -width * scale**2
        np.multiply(gradient, _outer(scale, 0, columns, out), out=out)
        np.add(out, np.multiply(block, _outer(0, slope, columns, product), out=product), out=out)
        if centred:
            level = -middle * slope - scale * total / width
            np.add(out, _outer(0, level, columns, product), out=out)

    _for_pieces(task, x.shape)
    return dx, *(part.sum(axis=0, dtype=np.float64) for part in (dweight, dbias))


def _without_mean(block):
    """Take from rows the mean that rounding has left, which a small spread does not forgive."""
    return np.subtract(block, np.add.reduce(block, axis=1)[:, None] / block.shape[1], out=block)


def _affine(weight, bias, x):
    """Return weight and bias as (2, D)."""
    affine = np.empty((2, x.shape[1]), x.dtype)
    affine[0] = 1 if weight is None else weight
    affine[1] = 0 if bias is None else bias
    return affine


def _outer(first, second, columns, out):
    """Return ``first[i] * columns[0, j] + second[i] * columns[1, j]``, written into `out`."""
    rows = np.empty((len(out), 2), out.dtype)
    rows[:, 0], rows[:, 1] = first, second
    return np.matmul(rows, columns, out=out)


def _scratch(count, like):
    return (t.reshape(like.shape) for t in temporaries(count, like.size, like.dtype))


def _pieces(shape):
    """Return slices of about one length: an even number of them, for two threads."""
    height = shape[0]
    count = -(-height * shape[1] // _PIECE)
    count = max(1, min(height, count + count % 2 if count > 1 else count))
    return [slice(a, b) for a, b in chunks(height, max(1, -(-height // count)))]


def _for_pieces(task, shape):
    """Call ``task(index, rows)`` for all pieces on the worker threads."""
    pieces = _pieces(shape)
    parallel_for(lambda index: quietly(task, index, pieces[index]), len(pieces))
