"""Memory of large arrays, kept for the next one of that size: a caching allocator.

The system hands out memory page by page, each zeroed when it is first touched, and C libraries
give large pieces back as soon as they are free: an array of some megabytes then costs more
than the work that fills it. Training asks for the same sizes again and again. So the memory
of a large array is kept when the last view on it is gone, up to a limit. Where no kept piece
fits, as much is given back as is taken anew, the sizes longest unused first.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from math import prod

import numpy as np

SMALLEST = 1 << 20
"""Bytes from which memory is kept; C libraries keep what is smaller themselves."""
LIMIT = 512 << 20
"""Most bytes that are kept."""


class _Kept:
    """Free pieces of memory, by size.

    Without a lock: a signal's handler or a collection of garbage may come in anywhere, and take
    or return memory on this very thread. Each step is one operation of a dict or a deque.
    """

    def __init__(self):
        self._pieces: dict[int, deque[np.ndarray]] = {}
        self._used: dict[int, int] = {}  # when a size was last asked for
        self._clock = itertools.count()

    def take(self, size: int) -> np.ndarray:
        """Return a piece of `size` bytes, kept or new."""
        self._used[size] = next(self._clock)
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
        if self.bytes() + memory.nbytes <= LIMIT:
            self._pieces.setdefault(memory.nbytes, deque()).append(memory)

    def clear(self) -> None:
        """Give all back."""
        self._pieces.clear()

    def bytes(self) -> int:
        """Return how much is kept."""
        return sum(size * len(pieces) for size, pieces in list(self._pieces.items()))

    def _release(self, room: int) -> None:
        """Give back `room` bytes."""
        for size in sorted(self._pieces, key=lambda size: self._used.get(size, 0)):
            pieces = self._pieces.get(size, deque())
            with contextlib.suppress(IndexError):  # another thread was faster
                while pieces and room > 0:
                    pieces.popleft()
                    room -= size
            if not pieces:
                self._pieces.pop(size, None)
                self._used.pop(size, None)


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
    size = prod(shape) * dtype.itemsize
    if size < SMALLEST:
        return np.empty(shape, dtype)
    return np.ndarray(shape, dtype, np.asarray(_Lease(_kept.take(size))))


def zeros(shape, dtype) -> np.ndarray:
    """Return a zeroed array in C order, on memory kept before where it is large."""
    if prod(shape) * np.dtype(dtype).itemsize < SMALLEST:
        return np.zeros(shape, dtype)
    result = empty(shape, dtype)
    result.fill(0)
    return result


def empty_cache() -> None:
    """Give the kept memory of large arrays back to the system: 512 MiB at most."""
    _kept.clear()
