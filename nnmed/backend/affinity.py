"""Keep the threads of a parallel section on different processors.

Threads that hand a lock to each other, as Python's do, are woken by one another, and an
operating system likes to wake a thread where its waker runs: caches are warm there. In a
virtual machine, whose idle processors look busy, this can leave both threads on one
processor for tens of milliseconds while the other idles. So, for as long as a section runs,
the calling thread stays on its processor, and the workers may use all others.

Only Linux lets a process ask for this; elsewhere nothing is done.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading


def _find_getcpu():
    if not hasattr(os, "sched_setaffinity"):
        return None
    return getattr(ctypes.CDLL(None), "sched_getcpu", None)


_getcpu = _find_getcpu()


class Workers:
    """The worker threads of a pool, and the processors that they may use."""

    def __init__(self):
        self._lock = threading.Lock()
        self._ids: list[int] = []
        self._processors: set[int] = set()

    def join(self) -> None:
        """Count the calling thread among the workers."""
        with self._lock:
            self._ids.append(threading.get_native_id())
            if self._processors:
                _set_processors(self._ids[-1], self._processors)

    def apart_from_caller(self, count: int) -> Apart | None:
        """Return the section in which `count` workers keep off the caller's processor.

        None where that cannot be, as there are too few processors.
        """
        if _getcpu is None:
            return None
        allowed = os.sched_getaffinity(0)
        if len(allowed) <= count:
            return None
        own = _getcpu()
        others = allowed - {own}
        if others != self._processors:
            with self._lock:
                self._processors = others
                for thread in self._ids:
                    _set_processors(thread, others)
        return Apart(own, allowed)


class Apart:
    """A section in which the calling thread stays where it is."""

    def __init__(self, own: int, allowed: set[int]):
        self._own, self._allowed = own, allowed

    def __enter__(self):
        _set_processors(0, {self._own})

    def __exit__(self, *exception):
        _set_processors(0, self._allowed)


def _set_processors(thread: int, processors: set[int]) -> None:
    # An error means that the thread has ended, or that the system took a processor away.
    with contextlib.suppress(OSError):
        os.sched_setaffinity(thread, processors)
