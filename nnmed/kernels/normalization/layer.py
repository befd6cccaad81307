"""Layer and root-mean-square normalisation of the rows of ``(M, D)`` arrays, with NumPy.

The second is the first with a mean of 0 instead of the row's own. Rows are independent: all
steps of a piece of rows follow each other, so that it stays in the cache.
"""

from __future__ import annotations

import numpy as np

from nnmed.backend.threads import chunks, parallel_for
from nnmed.kernels.elementwise import quietly, temporaries

_PIECE = 1 << 19  # numbers in a piece


def layer_norm(x, weight, bias, eps, centred):
    """Return y, each row's mean and 1 / sqrt(var + eps), both ``(M,)``; see reference.py."""
    y = np.empty(x.shape, x.dtype)
    mean, inverse = np.zeros((2, len(x)), x.dtype)

    def task(_, rows):
        block, out = x[rows], y[rows]
        if centred:
            # Pairwise sums: a mean that is large against the spread needs its last bits.
            np.divide(np.add.reduce(block, axis=1), x.shape[1], out=mean[rows])
            block = np.subtract(block, mean[rows, None], out=out)
        var = np.einsum("ij,ij->i", block, block) / x.shape[1]
        np.divide(1, np.sqrt(var + x.dtype.type(eps)), out=inverse[rows])
        np.multiply(block, inverse[rows, None], out=out)
        if weight is not None:
            np.multiply(out, weight, out=out)
        if bias is not None:
            np.add(out, bias, out=out)

    _for_pieces(task, x.shape)
    return y, mean, inverse


def layer_norm_grad(dy, x, mean, inverse, weight, centred):
    """Return dx and, both float64 ``(D,)``, dweight and dbias; see reference.py."""
    width = x.shape[1]
    dx = np.empty(x.shape, x.dtype)
    count = len(_pieces(x.shape))
    dweight, dbias = np.empty((2, count, width), x.dtype)
    weight = np.ones(width, x.dtype) if weight is None else weight

    def task(index, rows):
        gradient, out, scale = dy[rows], dx[rows], inverse[rows]
        normal, product = temporaries(2, out.size, x.dtype)
        normal, product = normal.reshape(out.shape), product.reshape(out.shape)
        centre = x[rows]
        if centred:
            centre = np.subtract(centre, mean[rows, None], out=normal)
        np.multiply(centre, scale[:, None], out=normal)
        np.multiply(gradient, normal, out=product)
        ones = np.ones(len(out), x.dtype)
        np.matmul(ones, product, out=dweight[index])
        np.matmul(ones, gradient, out=dbias[index])
        # dx = inverse * (weight * dy - share - normal * slope)
        slope = product @ weight / width
        np.multiply(normal, slope[:, None], out=normal)
        if centred:
            np.add(normal, (gradient @ weight / width)[:, None], out=normal)
        np.multiply(gradient, weight, out=out)
        np.subtract(out, normal, out=out)
        np.multiply(out, scale[:, None], out=out)

    _for_pieces(task, x.shape)
    return dx, *(part.sum(axis=0, dtype=np.float64) for part in (dweight, dbias))


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
