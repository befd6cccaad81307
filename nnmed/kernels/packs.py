"""How many neighbouring numbers a thread of a CUDA kernel takes: see packs.cuh."""

from __future__ import annotations

_MOST = 4


def numbers_a_thread(length: int, *arrays) -> int:
    """Return 4 if rows of `length` numbers of all arrays can be moved so many at a time, else 1.

    Arrays that a kernel can do without may be None.
    """
    whole = length % _MOST == 0 and all(
        a is None or a.data.ptr % min(16, _MOST * a.itemsize) == 0 for a in arrays
    )
    return _MOST if whole else 1
