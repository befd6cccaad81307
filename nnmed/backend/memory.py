"""Memory of large arrays, kept for the next one of that size.

The system hands out memory page by page, each zeroed when it is first touched, and C libraries
give large pieces back as soon as they are free: an array of some megabytes then costs more
than the work that fills it. Training asks for the same sizes again and again. So the memory
of a large array is kept when the last view on it is gone. Where no kept piece fits, as much is
given back as is taken anew, so a program needs no more memory than at its fullest moment.
"""

from __future__ import annotations

import os
import threading
from math import prod

import numpy as np

SMALLEST = 1 << 20
"""Bytes from which memory is kept; C libraries keep what is smaller themselves."""
LIMIT = 512 << 20
"""Most bytes that are kept."""


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
    """Give kept memory back to the system."""
    _kept.clear()


def kept_bytes() -> int:
    """Return how much memory is kept that no array uses."""
    return _kept.bytes()


class _Lease:
    """What the arrays on a piece of memory refer to: when it goes, the memory is kept."""

    def __init__(self, memory: np.ndarray):
        self._memory = memory
        self.__array_interface__ = memory.__array_interface__

    def __del__(self):
        _kept.put(self._memory)


class _Kept:
    """Free pieces of memory, the longest unused first."""

    def __init__(self):
        self._pieces: list[np.ndarray] = []
        self.after_fork()

    def take(self, size: int) -> np.ndarray:
        """Return a piece of `size` bytes, kept or new."""
        with self._lock:
            for index in reversed(range(len(self._pieces))):
                if self._pieces[index].nbytes == size:
                    return self._pieces.pop(index)
            room = size
            while room > 0 and self._pieces:
                room -= self._pieces.pop(0).nbytes
        return np.empty(size, np.uint8)

    def put(self, memory: np.ndarray) -> None:
        """Keep a piece, unless there would be too much.

        Without the lock: a collection of garbage may end a lease while this thread holds it.
        """
        if self.bytes() + memory.nbytes <= LIMIT:
            self._pieces.append(memory)

    def clear(self) -> None:
        with self._lock:
            self._pieces.clear()

    def bytes(self) -> int:
        return sum(piece.nbytes for piece in self._pieces)

    def after_fork(self) -> None:
        """Forget a lock that another thread may have held."""
        self._lock = threading.Lock()


_kept = _Kept()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_kept.after_fork)
