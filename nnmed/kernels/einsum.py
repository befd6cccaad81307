"""Sums of products over labelled axes on either device.

NumPy has a function for them. On a GPU each array is multiplied with what those before it have
made, in a product of matrices, so that :mod:`nnmed.kernels.matmul` decides who multiplies. Where
nothing is summed between two, there is no such product, and no rounding to fewer bits::

    bij, bjk -> bik      j is summed, b is in a stack:      (b, i, j) @ (b, j, k)
"""

from __future__ import annotations

from math import prod

import numpy as np

from nnmed.backend.arrays import array_module
from nnmed.backend.precision import rounded
from nnmed.backend.threads import blas_single_thread
from nnmed.kernels.matmul import matmul


def einsum(labels: list[str], output: str, *arrays):
    """Return the sums of products of `arrays`, whose axes have these labels; a new array.

    Within an array no label repeats, and a label has one length in all of them.
    """
    if type(arrays[0]) is np.ndarray:
        with blas_single_thread():
            equation = f"{','.join(labels)}->{output}"
            y = np.einsum(equation, *map(rounded, arrays), optimize=True)
    else:
        y = _one_by_one(labels, output, arrays)
    return y.copy() if array_module(arrays[0]).may_share_memory(y, arrays[0]) else y


def _one_by_one(labels, output: str, arrays):
    y, own = arrays[0], labels[0]
    for number in range(1, len(arrays)):
        later = {*output}.union(*labels[number + 1 :])
        y, own = _contract(y, own, arrays[number], labels[number], later)
    y, own = _sum_others(y, own, {*output})
    return y.transpose([own.index(label) for label in output])


def _contract(a, a_labels: str, b, b_labels: str, later: set[str]):
    """Return the sums of products of `a` and `b`, with the labels that are needed later."""
    a, a_labels = _sum_others(a, a_labels, later.union(b_labels))
    b, b_labels = _sum_others(b, b_labels, later.union(a_labels))
    length = dict(zip(a_labels + b_labels, a.shape + b.shape))
    shared = [label for label in a_labels if label in b_labels]
    stack = [label for label in shared if label in later]
    inner = [label for label in shared if label not in later]
    rows = [label for label in a_labels if label not in shared]
    columns = [label for label in b_labels if label not in shared]

    def matrices(array, own, *groups):
        """Return the array with an axis for each group of its labels."""
        order = [own.index(label) for group in groups for label in group]
        return array.transpose(order).reshape([prod(map(length.get, group)) for group in groups])

    left = matrices(a, a_labels, stack, rows, inner)
    right = matrices(b, b_labels, stack, inner, columns)
    product = matmul(left, right) if inner else left * right
    kept = "".join(stack + rows + columns)
    return product.reshape([length[label] for label in kept]), kept


def _sum_others(x, labels: str, kept: set[str]):
    """Return `x`, summed over the axes whose labels are not to be kept, and the others' labels."""
    others = tuple(axis for axis, label in enumerate(labels) if label not in kept)
    left = "".join(label for label in labels if label in kept)
    return (x.sum(axis=others) if others else x), left
