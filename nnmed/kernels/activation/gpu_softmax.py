"""softmax and log_softmax along one axis, on the GPU: kernels in softmax.cu."""

from __future__ import annotations

from math import prod

from nnmed.backend.arrays import empty_like
from nnmed.backend.cuda import THREADS, Source
from nnmed.kernels.elementwise import dense, in_order

WARP = 32

_source = Source(__file__, "softmax.cu")


def softmax(x, dim):
    """Return exp(x - m) / sum(exp(x - m)) along `dim`, m the row's maximum."""
    return _rows("softmax", dim, x)


def softmax_grad(dy, y, dim):
    """Return y * (dy - sum(dy * y)) along `dim`."""
    return _rows("softmax_grad", dim, y, dy)


def log_softmax(x, dim):
    """Return x - m - log(sum(exp(x - m))) along `dim`, m the row's maximum."""
    return _rows("log_softmax", dim, x)


def log_softmax_grad(dy, y, dim):
    """Return dy - exp(y) * sum(dy) along `dim`."""
    return _rows("log_softmax_grad", dim, y, dy)


def _rows(kernel, dim, x, *gradients):
    """Return what a kernel makes of the rows of the arrays along `dim`."""
    if x.ndim == 0:  # a row of one number
        arrays = [array.reshape(1) for array in (x, *gradients)]
        return _rows(kernel, 0, *arrays).reshape(())
    x, order = dense(x)
    result = empty_like(x)
    others = [in_order(array, order) for array in gradients]
    lengths, position = [x.shape[axis] for axis in order], order.index(dim % x.ndim)
    classes, inner = lengths[position], prod(lengths[position + 1 :])
    rows = prod(lengths[:position]) * inner
    lanes = WARP if inner == 1 and classes >= WARP else 1
    grid = (-(-rows * lanes // THREADS),) if x.size else (0,)
    _source.launch(
        kernel, x.dtype, grid, (THREADS,), *others, x, result, rows, classes, inner, lanes
    )
    return result
