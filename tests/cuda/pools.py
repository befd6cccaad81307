"""Pools of the stand-in card's memory."""

from __future__ import annotations

import contextlib
import threading
import weakref

from tests.cuda.emulator import Memory


class MemoryPool:
    """Memory of the card. What is given back to a pool stays with it."""

    def __init__(self, *_):
        self._used, self._limit, self._held = weakref.WeakSet(), 0, 0
        self._kept: list[Memory] = []

    def malloc(self, size):
        """Return memory of `size` bytes."""
        if self._limit and self.used_bytes() + size > self._limit:
            raise OutOfMemoryError(size, self.used_bytes(), self._limit)
        memory = Memory(size)
        self._used.add(memory)
        self._held = max(self._held, self.used_bytes())
        if self is not default:  # of whose memory anybody may get what was given back
            self._kept.append(memory)
        return memory

    def set_limit(self, size=None, fraction=None):
        """Refuse more than `size` bytes in all; 0 for no limit."""
        self._limit = size

    def free_all_blocks(self):
        """Give memory back that no array takes."""
        self._held = self.used_bytes()

    def used_bytes(self):
        """Return how much arrays take."""
        return sum(memory.size for memory in self._used)

    def total_bytes(self):
        """Return how much the pool holds: what arrays took at one time."""
        return self._held


class OutOfMemoryError(MemoryError):
    """No memory is left on the card."""

    def __init__(self, size, total, limit=0):
        super().__init__(f"Out of memory allocating {size} bytes (allocated so far: {total} bytes)")


@contextlib.contextmanager
def using_allocator(allocator=None):
    """Context manager: take memory in this thread from `allocator`, such as a pool's malloc."""
    before = _current_allocator()
    _of_thread.allocator = allocator or default.malloc
    try:
        yield
    finally:
        _of_thread.allocator = before


def _current_allocator():
    return getattr(_of_thread, "allocator", default.malloc)


def allocate(size):
    """Return memory of the current allocator."""
    return _current_allocator()(size)


_of_thread = threading.local()
default = MemoryPool()
