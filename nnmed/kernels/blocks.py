"""Cutting a channels-last batch into pieces that stay in the cache.

The cut depends on shapes alone, never on the number of threads, so sums taken piece by
piece are the same whatever the machine.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

# Elements of a piece: with its scratch, 256 KiB of float32 stays in a core's L2.
BLOCK = 1 << 16


def cut(images: int, rows: int, row_elements: int, size: int = BLOCK):
    """Split ``images`` x ``rows`` into pieces ``(n0, n1, r0, r1)`` of about `size` elements.

    A piece is either some whole images or some rows of one image, so on channels-last
    memory it is contiguous.
    """
    fit = max(1, size // max(1, row_elements))
    if fit >= rows:
        step = max(1, fit // max(1, rows))
        return [(n, min(n + step, images), 0, rows) for n in range(0, images, step)]
    pieces = -(-rows // fit)
    bounds = [rows * i // pieces for i in range(pieces + 1)]  # even, no small rest
    return [(n, n + 1, a, b) for n in range(images) for a, b in pairwise(bounds)]


def read_tile(x, images, rows, columns, fill):
    """Return ``x[images, rows, columns]`` of an ``(N, H, W, C)`` array, contiguous in C.

    `rows` and `columns` are (start, stop) and may reach outside the picture; what lies
    outside is `fill`. The result is a view where it can be: do not write to it.
    """
    (n0, n1), (a, b), (left, right) = images, rows, columns
    height, width, channels = x.shape[1:]
    if a >= 0 and b <= height and left >= 0 and right <= width:
        tile = x[n0:n1, a:b, left:right]
        dense = channels == 1 or tile.strides[3] == tile.itemsize
        return tile if dense else np.ascontiguousarray(tile)
    tile = np.empty((n1 - n0, b - a, right - left, channels), x.dtype)
    top, bottom = max(a, 0), min(b, height)
    start, stop = max(left, 0), min(right, width)
    if top >= bottom or start >= stop:
        tile.fill(fill)
        return tile
    tile[:, : top - a] = fill
    tile[:, bottom - a :] = fill
    middle = tile[:, top - a : bottom - a]
    middle[:, :, : start - left] = fill
    middle[:, :, stop - left :] = fill
    middle[:, :, start - left : stop - left] = x[n0:n1, top:bottom, start:stop]
    return tile


def hit(offset: int, stride: int, start: int, stop: int, count: int) -> tuple[int, int]:
    """Return the range of i in ``range(count)`` with ``start <= i * stride + offset < stop``."""
    first = min(count, max(0, -((offset - start) // stride)))
    last = min(count, -((offset - stop) // stride))
    return first, max(first, last)
