"""Products of matrices on either device.

On a GPU they are cuBLAS's, or those of the convolution's kernels where that cannot be called: a
product is a convolution with windows of one pixel.
"""

from __future__ import annotations

import numpy as np

from nnmed.backend import cuda, products
from nnmed.backend.arrays import array_module
from nnmed.kernels.conv import gpu_direct

# Matrices of a stack that one launch multiplies: as many blocks as a grid may have along y or z.
MOST = 65535


def matmul(a, b):
    """Return ``a @ b`` for 2-d arrays, or for stacks of them with equal leading shapes."""
    if type(a) is np.ndarray or a.dtype.kind != "f" or cuda.uses_cublas(a.dtype):
        return products.matmul(a, b)
    xp, shape = array_module(a), (*a.shape[:-1], b.shape[-1])
    if not a.size or not b.size:
        return xp.zeros(shape, a.dtype)
    out = xp.empty(shape, a.dtype)
    a, b, stack = (x.reshape(-1, *x.shape[-2:]) for x in (a, b, out))
    for first in range(0, len(stack), MOST):
        part = slice(first, first + MOST)
        _multiply(a[part], b[part], stack[part])
    return out


def _multiply(a, b, out):
    """Set ``out[k] = a[k] @ b[k]``; the kernels take C order, and `a` also transposed."""
    xp, flipped = array_module(a), a.swapaxes(1, 2)
    if flipped.flags.c_contiguous:
        gpu_direct.multiply_transposed(flipped, xp.ascontiguousarray(b)).sum(axis=0, out=out)
    else:
        gpu_direct.multiply(xp.ascontiguousarray(a), xp.ascontiguousarray(b), out)
