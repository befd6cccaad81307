"""The one-thread limit on BLAS.

It belongs to the whole process. One cached controller holds it: the first section in sets it
to one thread, the last one out restores what was there.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from typing import NamedTuple


class _Limit:
    """Holds BLAS at one thread while at least one section is inside."""

    def __init__(self):
        self._lock = threading.Lock()
        self._inside = 0
        self._own = threading.local()  # how many of them are this thread's
        self._libraries: list[_Library] | None = None
        self._saved: list[int] = []

    def __enter__(self):
        with self._lock:
            if self._inside == 0:
                if self._libraries is None:
                    self._libraries = _find_libraries()
                self._saved = [library.get() for library in self._libraries]
                self.set()
            self._inside += 1
        self._own.count = self._depth() + 1

    def __exit__(self, *exception):
        self._own.count = self._depth() - 1
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._restore()

    def set(self):
        """Set one thread; a worker calls it too, as OpenMP counts a thread at a time."""
        for library in self._libraries:
            library.set(1)

    def _depth(self) -> int:
        return getattr(self._own, "count", 0)

    def _restore(self):
        for library, count in zip(self._libraries, self._saved):
            library.set(count)

    def after_fork(self):
        """Forget the sections of threads that do not exist in the child."""
        self._lock = threading.Lock()
        others = self._inside - self._depth()
        self._inside = self._depth()
        if others and not self._inside:
            self._restore()


class _Library(NamedTuple):
    """A loaded BLAS: functions that get and set its number of threads."""

    get: Callable[[], int]
    set: Callable[[int], None]


def _find_libraries() -> list[_Library]:
    # Searching the loaded libraries takes about a millisecond: once a process.
    from threadpoolctl import ThreadpoolController

    found = ThreadpoolController().select(user_api="blas").lib_controllers
    return [_Library(_function(library, "get"), _function(library, "set")) for library in found]


def _function(library, verb: str) -> Callable:
    """Return the function that gets or sets the threads of `library`.

    threadpoolctl lets only the first Python thread that asks change OpenBLAS's process-wide
    limit and ignores the others. Here a counter guards the limit, so its own function is
    called, under the names it has in distributions and in NumPy's wheels.
    """
    name = f"{verb}_num_threads"
    if library.internal_api == "openblas" and library.threading_layer == "pthreads":
        for prefix, suffix in itertools.product(("", "scipy_"), ("", "64_", "_64", "64")):
            function = getattr(library.dynlib, f"{prefix}openblas_{name}{suffix}", None)
            if function is not None:
                return function
    return getattr(library, name)


_limit = _Limit()


def blas_single_thread() -> _Limit:
    """Return the context manager that holds BLAS at one thread."""
    return _limit


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_limit.after_fork)
