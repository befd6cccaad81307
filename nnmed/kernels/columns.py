"""How the blocks of a CUDA kernel divide sums down the columns of matrices: see columns.cuh."""

from __future__ import annotations

from math import ceil

from nnmed.backend.cuda import THREADS

# Blocks that keep a card busy, and rows that make a thread worth while.
_BLOCKS, _ROWS = 512, 8
WARP = 32


def blocks_of_columns(images: int, rows: int, channels: int, each: int = 1):
    """Return threads side by side in a block, rows of a part, and the grid: (blocks, parts).

    None of the lengths is 0; a thread takes `each` columns, which divides `channels`.
    """
    packs = channels // each
    lanes = min(WARP, 1 << (packs - 1).bit_length())
    blocks = images * ceil(packs / lanes)
    parts = min(_BLOCKS // blocks, rows * lanes // (THREADS * _ROWS))
    length = ceil(rows / max(1, parts))
    return lanes, length, (blocks, ceil(rows / length))


def grid_of_warps(count: int) -> tuple[int]:
    """Return the blocks of a kernel with a warp for each of `count` results."""
    return (ceil(count * WARP / THREADS),)
