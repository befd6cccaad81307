"""The sum of a loss on the GPU, over what it is divided by: finish.cu."""

from __future__ import annotations

import numpy as np

from nnmed.backend.arrays import array_module
from nnmed.backend.cuda import THREADS, Source

ZERO, ONE = np.float64(0), np.float64(1)

_source = Source(__file__, "finish.cu")


def finished(parts, dtype, divisor=None, fixed=ONE, least=ZERO):
    """Return the sum of `parts` over `divisor`, on the card, or over `fixed`: a 0-d array.

    What is divided by is at least `least`.
    """
    result = array_module(parts).empty((), dtype)
    arguments = parts, divisor, fixed, least, result, parts.size
    _source.launch("finish", dtype, (1,), (THREADS,), *arguments)
    return result


def summed(parts, least=ZERO):
    """Return the sum of `parts`, at least `least`, as a 0-d float64 array."""
    result = array_module(parts).empty((), np.float64)
    arguments = parts, least, result, parts.size
    _source.launch("finish_divisor", np.float64, (1,), (THREADS,), *arguments)
    return result
