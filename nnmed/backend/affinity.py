"""Keep the threads of a parallel section on different processors.

Threads that hand a lock to each other, as Python's do, are woken by one another, and an
operating system likes to wake a thread where its waker runs: caches are warm there. In a
virtual machine, whose idle processors look busy, this can leave both threads on one
processor for tens of milliseconds while the other idles. So, for as long as a section runs,
the calling thread stays on its processor, and the workers may use all others.

Only Linux lets a process ask for this; elsewhere nothing is done. Afterwards the thread may
use what it could use before; a set of processors that the system enlarges later is not noticed.
"""

from __future__ import annotations

import contextlib
import os
import threading


def _find_getcpu():
    if not hasattr(os, "sched_setaffinity"):
        return None
    try:
        import ctypes

        # PyDLL keeps Python's lock, which a call of nanoseconds is not worth handing over.
        return ctypes.PyDLL(None).sched_getcpu
    except (ImportError, OSError, AttributeError):  # no C library to ask
        return None


_getcpu = _find_getcpu()
# What the calling thread may use outside its section; None outside.
_home = threading.local()


class Apart:
    """A section in which `pool`'s workers keep off the caller's processor.

    Where there are fewer processors than threads, all may use all.
    """

    def __init__(self, pool):
        self._pool = pool
        self._own: int | None = None

    def __enter__(self):
        if _getcpu is None:
            return
        go_home()  # an interrupt may have left the last section open
        allowed, own = os.sched_getaffinity(0), _getcpu()
        if own not in allowed or len(allowed) <= len(self._pool.ids):
            self._pool.use_processors(allowed)
            return
        self._pool.use_processors(allowed - {own})
        _home.processors, self._own = allowed, own
        set_processors(0, {own})

    def __exit__(self, *exception):
        if self._own is None:
            return
        if os.sched_getaffinity(0) == {self._own}:  # else the user has said otherwise meanwhile
            go_home()
        _home.processors = None


def go_home() -> None:
    """Let the calling thread use all that it could use before its section."""
    processors = getattr(_home, "processors", None)
    if processors is not None:
        set_processors(0, processors)
        _home.processors = None


def set_processors(thread: int, processors: set[int]) -> None:
    """Let a thread use these processors only; 0 is the calling thread."""
    # An error means that the thread has ended, or that the system took a processor away.
    with contextlib.suppress(OSError):
        os.sched_setaffinity(thread, processors)
