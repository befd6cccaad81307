"""Worker threads for the CPU kernels, and the one-thread limit on BLAS.

NumPy releases the interpreter lock inside ufuncs, copies and matrix products, so plain
threads over blocks of an array scale. Three rules keep results independent of the number
of threads: the caller fixes the blocks, each block writes memory of its own, and BLAS
runs at one thread, since its own split changes the order of sums.

BLAS's limit belongs to the whole process. One cached controller holds it: the first
section in sets it to one thread, the last one out restores what was there.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import NamedTuple

from nnmed.backend.affinity import Workers
from nnmed.errors import UsageError

_lock = threading.Lock()
_inside = threading.local()
_num_threads: int | None = None
_pool: ThreadPoolExecutor | None = None
_workers = Workers()


def get_num_threads() -> int:
    """Return how many threads the kernels use.

    Unless :func:`set_num_threads` was called, that is the environment variable
    ``NNMED_NUM_THREADS`` or else the number of processors this process may run on.
    """
    global _num_threads
    if _num_threads is None:
        _num_threads = _default_num_threads()
    return _num_threads


def set_num_threads(count: int) -> None:
    """Set how many threads the kernels use; results do not depend on it.

    Raises
    ------
    UsageError
        If `count` is not a positive integer.
    """
    global _num_threads, _pool, _workers
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise UsageError(f"the number of threads must be a positive integer, got {count!r}")
    with _lock:
        _num_threads, old, _pool, _workers = count, _pool, None, Workers()
    if old is not None:
        old.shutdown(wait=False)


def chunks(total: int, size: int) -> list[tuple[int, int]]:
    """Split ``range(total)`` into consecutive ``(start, stop)`` pieces of at most `size`."""
    return [(start, min(start + size, total)) for start in range(0, total, size)]


def parallel_for(task: Callable[[int], None], count: int) -> None:
    """Call ``task(0)``, ..., ``task(count - 1)``, spread over the worker threads.

    Tasks run in any order and must write disjoint memory. BLAS is held at one thread
    meanwhile. Called from inside a task, it runs serially. The first exception of a task
    is raised here, after all threads have stopped.
    """
    helpers = min(get_num_threads(), count) - 1
    with blas_single_thread():
        if helpers < 1 or getattr(_inside, "task", False):
            for index in range(count):
                task(index)
            return
        with _workers.apart_from_caller(helpers) or nullcontext():
            _share_tasks(task, count, helpers)


def _share_tasks(task, count: int, helpers: int) -> None:
    indices = itertools.count()
    futures = [_submit(_run_tasks, task, indices, count) for _ in range(helpers)]
    try:
        _run_tasks(task, indices, count)
    finally:
        # A helper that has not started yet has nothing left to do: do not wait for it.
        errors = [f.exception() for f in futures if not f.cancel()]
    for error in errors:
        if error is not None:
            raise error


def _run_tasks(task, indices, count) -> None:
    _inside.task = True
    try:
        for index in indices:
            if index >= count:
                return
            task(index)
    except BaseException:
        for index in indices:  # leave nothing for the other threads
            if index >= count:
                break
        raise
    finally:
        _inside.task = False


def _submit(function, *arguments):
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(
                max(1, get_num_threads() - 1), "nnmed-worker", _start_worker, (_workers,)
            )
        return _pool.submit(function, *arguments)


def _start_worker(workers: Workers) -> None:
    _blas_limit.limit()
    workers.join()


def _default_num_threads() -> int:
    text = os.environ.get("NNMED_NUM_THREADS", "").strip()
    if text:
        if not text.isdecimal() or int(text) < 1:
            raise UsageError(f"NNMED_NUM_THREADS must be a positive integer, got {text!r}")
        return int(text)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _BlasLimit:
    """Holds BLAS at one thread while at least one section is inside."""

    def __init__(self):
        self._lock = threading.Lock()
        self._inside = 0
        self._libraries: list[_Library] | None = None
        self._saved: list[int] = []

    def __enter__(self):
        with self._lock:
            if self._inside == 0:
                if self._libraries is None:
                    self._libraries = _find_libraries()
                self._saved = [library.get() for library in self._libraries]
                self.limit()
            self._inside += 1

    def __exit__(self, *exception):
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._restore()

    def limit(self):
        """Set one thread; also run by each new worker, as OpenMP counts a thread at a time."""
        for library in self._libraries:
            library.set(1)

    def _restore(self):
        for library, count in zip(self._libraries, self._saved):
            library.set(count)

    def restore_after_fork(self):
        # The threads that were inside do not exist in the child.
        self._lock = threading.Lock()
        if self._inside:
            self._inside = 0
            self._restore()


class _Library(NamedTuple):
    """A loaded BLAS: functions that get and set its number of threads."""

    get: Callable[[], int]
    set: Callable[[int], None]


def _find_libraries() -> list[_Library]:
    # Searching the loaded libraries takes about a millisecond: once a process.
    from threadpoolctl import ThreadpoolController

    found = ThreadpoolController().select(user_api="blas").lib_controllers
    return [_Library(library.get_num_threads, _setter(library)) for library in found]


def _setter(library) -> Callable[[int], None]:
    """Return the function that sets the threads of `library`.

    threadpoolctl lets only the first Python thread that asks change OpenBLAS's process-wide
    limit and ignores the others. Here a counter guards the limit, so its own function is
    called, under the names it has in distributions and in NumPy's wheels.
    """
    if library.internal_api == "openblas" and library.threading_layer == "pthreads":
        for prefix, suffix in itertools.product(("", "scipy_"), ("", "64_", "_64", "64")):
            function = getattr(library.dynlib, f"{prefix}openblas_set_num_threads{suffix}", None)
            if function is not None:
                return function
    return library.set_num_threads


_blas_limit = _BlasLimit()


def blas_single_thread() -> _BlasLimit:
    """Return the context manager that holds BLAS at one thread."""
    return _blas_limit


def _forget_threads_after_fork():
    global _lock, _pool, _workers
    _lock, _pool, _workers = threading.Lock(), None, Workers()
    _inside.task = False
    _blas_limit.restore_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads_after_fork)
