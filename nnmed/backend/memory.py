"""Memory of large arrays, kept for the next one of that size: a caching allocator.

The system hands out memory page by page, each zeroed when it is first touched, and C libraries
give large pieces back as soon as they are free: an array of some megabytes then costs more
than the work that fills it. Training asks for the same sizes again and again. So the memory
of a large array is kept when the last view on it is gone, up to a limit. Where no kept piece
fits, as much is given back as is taken anew, the sizes longest unused first.
"""

from __future__ import annotations

import contextlib
from collections import deque
from math import prod

import numpy as np

SMALLEST = 1 << 20
"""Bytes from which memory is kept; C libraries keep what is smaller themselves."""
LIMIT = 512 << 20
"""Most bytes that are kept."""


class _Kept:
    """Free pieces of memory by size, the size longest unused first.

    Without a lock: a signal's handler or a collection of garbage may come in anywhere, and take
    or return memory on this very thread. At worst a piece is forgotten, and so given back.
    """

    def __init__(self):
        self._pieces: dict[int, deque[np.ndarray]] = {}
        self.limit = LIMIT

    def take(self, size: int) -> np.ndarray:
        """Return a piece of `size` bytes, kept or new."""
        try:
            return self._pieces[size].pop()
        except (KeyError, IndexError):
            self._release(size)
        try:
            return np.empty(size, np.uint8)
        except MemoryError:
            self.clear()
            return np.empty(size, np.uint8)

    def put(self, memory: np.ndarray) -> None:
        """Keep a piece, unless there would be too much."""
        size = memory.nbytes
        if self.bytes() + size <= self.limit:
            pieces = self._pieces.pop(size, None) or deque()
            pieces.append(memory)
            self._pieces[size] = pieces  # the last

    def clear(self) -> None:
        """Give all back."""
        self._pieces.clear()

    def bytes(self) -> int:
        """Return how much is kept."""
        return sum(size * len(self._pieces.get(size, ())) for size in list(self._pieces))

    def _release(self, room: int) -> None:
        """Give back `room` bytes."""
        for size in list(self._pieces):
            pieces = self._pieces.get(size, deque())
            with contextlib.suppress(IndexError):  # another thread was faster
                while pieces and room > 0:
                    pieces.popleft()
                    room -= size
            if not pieces:
                self._pieces.pop(size, None)


_kept = _Kept()


class _Lease:
    """What the arrays on a piece of memory refer to: when it goes, the memory is kept."""

    def __init__(self, memory: np.ndarray):
        self._memory = memory
        self.__array_interface__ = memory.__array_interface__

    # At the end of a program names of the module may be gone: the default is still there.
    def __del__(self, put=_kept.put):
        put(self._memory)


def empty(shape, dtype) -> np.ndarray:
    """Return an uninitialised array in C order, on memory kept before where it is large."""
    dtype = np.dtype(dtype)
    if not _is_kept(shape, dtype):
        return np.empty(shape, dtype)
    memory = _kept.take(prod(shape) * dtype.itemsize)
    return np.ndarray(shape, dtype, np.asarray(_Lease(memory)))


def zeros(shape, dtype) -> np.ndarray:
    """Return a zeroed array in C order, on memory kept before where it is large."""
    if not _is_kept(shape, np.dtype(dtype)):
        return np.zeros(shape, dtype)
    result = empty(shape, dtype)
    result.fill(0)
    return result


def _is_kept(shape, dtype: np.dtype) -> bool:
    # Used memory would be read as references by an array of objects.
    return prod(shape) * dtype.itemsize >= SMALLEST and dtype.kind in "biufc"


def empty_cache() -> None:
    """Release the kept memory of large arrays: 512 MiB at most."""
    _kept.clear()
