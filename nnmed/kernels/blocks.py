"""Cutting a channels-last batch into pieces that stay in the cache.

The cut depends on shapes alone, never on the number of threads, so sums taken piece by
piece are the same whatever the machine.
"""

from __future__ import annotations

from itertools import pairwise

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


def hit(offset: int, stride: int, start: int, stop: int, count: int) -> tuple[int, int]:
    """Return the range of i in ``range(count)`` with ``start <= i * stride + offset < stop``."""
    first = min(count, max(0, -((offset - start) // stride)))
    last = min(count, -((offset - stop) // stride))
    return first, max(first, last)
