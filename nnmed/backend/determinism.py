"""Whether results on a GPU must have the same bits in every run: a switch of the process.

On the CPU they always have, and on a GPU but for two things that are left to the order in which
threads come: floats that are added with atomics, and values that are written to one place.
"""

from __future__ import annotations

import numpy as np

_required = False


def is_required() -> bool:
    """Tell whether an op must give the same bits in every run."""
    return _required


def may_repeat(index) -> bool:
    """Tell whether an index may name one place several times, which arrays of integers may."""
    parts = index if isinstance(index, tuple) else (index,)
    return any(not _is_basic(part) and _kind(part) != "b" for part in parts)


class deterministic:
    """Demand the same bits in every run on a GPU, from now on or for a ``with`` block.

    Off at first. Then the gradient of indexing with arrays of integers adds with atomics; where
    the same bits are demanded, it sorts the integers, which takes longer. ``t[index] = values``
    with such an index is an error there: of several values for one place, any may stay.

    Parameters
    ----------
    mode : bool
        The choice holds for the process.
    """

    def __init__(self, mode: bool):
        global _required
        self._before, _required = _required, bool(mode)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        global _required
        _required = self._before


def _is_basic(part) -> bool:
    return part is None or part is ... or isinstance(part, (int, slice, np.generic))


def _kind(part) -> str:
    return (part if hasattr(part, "dtype") else np.asarray(part)).dtype.kind
