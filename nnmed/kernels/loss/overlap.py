"""Sums of soft overlap, image by image and class by class."""

from __future__ import annotations

import numpy as np

from nnmed.backend.arrays import empty_like
from nnmed.backend.threads import parallel_for
from nnmed.kernels.elementwise import dense, quietly
from nnmed.kernels.rows import Rows


def overlap(p, labels, kept, squared):
    """Return sum(p [label = c]) and sum(p), or sum(p^2), over the pixels of each image.

    Parameters
    ----------
    p : array, (N, C, ...)
    labels : array of integers, (N, ...)
        Class of each pixel; a single channel is that of class 1.
    kept : array of bool, (N, ...), or None
        Pixels that count; None for all.
    squared : bool

    Returns
    -------
    array, (2, N, C)
        Added up in float64.
    """
    p, _ = dense(p)
    sums = np.zeros((2, *p.shape[:2]))

    def of_block(n, rows, values, hot, ignored):
        if ignored is not None:
            np.copyto(values, 0, where=ignored)
        pixels = 1 - rows.axis
        sums[0, n] += np.multiply(values, hot).sum(pixels)
        sums[1, n] += (np.square(values) if squared else values).sum(pixels)

    _for_blocks(of_block, p, labels, kept)
    return sums.astype(p.dtype)


def overlap_grad(dy, p, labels, kept, squared):
    """Return the gradient of :func:`overlap` by p: dy_0 [label = c] + dy_1, or + 2 p dy_1."""
    p, _ = dense(p)
    result = empty_like(p)

    def of_block(n, rows, values, hot, ignored):
        hits, all_pixels = (np.expand_dims(row[n], 1 - rows.axis) for row in dy)
        if squared:
            np.multiply(values, 2 * all_pixels, out=values)
        else:
            values[...] = all_pixels
        np.add(values, np.multiply(hot, hits), out=values)
        if ignored is not None:
            np.copyto(values, 0, where=ignored)
        return values

    _for_blocks(of_block, p, labels, kept, result)
    return result


def _for_blocks(of_block, p, labels, kept, result=None):
    """Call ``of_block(n, rows, p, hot, ignored)`` on each block; write what it returns."""
    classes = p.shape[1]
    names = np.arange(classes, dtype=labels.dtype) + labels.dtype.type(classes == 1)

    def task(n):
        here = slice(n, n + 1)
        rows = Rows(p[here], 1)
        source, marks = rows.view(rows.x), rows.view_per_row(labels[here])
        counted = None if kept is None else rows.view_per_row(kept[here])
        target = None if result is None else rows.view(result[here])
        for block in rows.blocks:
            hot = np.equal(rows.along(marks[block]), np.expand_dims(names, 1 - rows.axis))
            ignored = None if counted is None else ~rows.along(counted[block])
            values = of_block(n, rows, rows.read(source, block), hot, ignored)
            if target is not None:
                rows.write(target, block, values)

    parallel_for(lambda n: quietly(task, n), len(p))
