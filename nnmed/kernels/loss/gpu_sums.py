"""The sum of a loss on the GPU, over what it is divided by: finish.cu."""

from __future__ import annotations

from math import ceil

import numpy as np

from nnmed.backend.arrays import array_module
from nnmed.backend.cuda import THREADS, Source

_BLOCKS = 4096  # of a sum at most: enough for any card, and few for the one block that adds them up

_source = Source(__file__, "finish.cu")


def shares(count: int) -> tuple[int, int]:
    """Return how many blocks share the work of `count` threads, and how much each does."""
    each = max(1, ceil(count / THREADS / _BLOCKS)) * THREADS
    return max(1, ceil(count / each)), each


def finished(parts, dtype, divisor=None, fixed=1):
    """Return the sum of `parts` over `divisor`, on the card, or over `fixed`: a 0-d array."""
    result = array_module(parts).empty((), dtype)
    arguments = parts, divisor, np.float64(fixed), result, parts.size
    _source.launch("finish", dtype, (1,), (THREADS,), *arguments)
    return result


def summed(parts, least=0):
    """Return the sum of `parts`, at least `least`, as a 0-d float64 array."""
    result = array_module(parts).empty((), np.float64)
    arguments = parts, np.float64(least), result, parts.size
    _source.launch("finish_divisor", np.float64, (1,), (THREADS,), *arguments)
    return result
