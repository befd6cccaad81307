"""How many threads the CPU kernels use, and how they share work.

NumPy releases the interpreter lock inside ufuncs, copies and matrix products, so plain
threads over blocks of an array scale. Three rules keep results independent of the number
of threads: the caller fixes the blocks, each block writes memory of its own, and BLAS
runs at one thread, since its own split changes the order of sums.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable

from nnmed.backend.affinity import Apart, go_home
from nnmed.backend.blas import blas_single_thread
from nnmed.backend.pool import Pool, Section, is_inside_task
from nnmed.errors import UsageError

__all__ = ["blas_single_thread", "chunks", "get_num_threads", "parallel_for", "set_num_threads"]

_lock = threading.Lock()
_num_threads: int | None = None
_pool: Pool | None = None


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
    global _num_threads, _pool
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise UsageError(f"the number of threads must be a positive integer, got {count!r}")
    with _lock:
        _num_threads, old, _pool = count, _pool, None
    if old is not None:
        old.close()


def chunks(total: int, size: int) -> list[tuple[int, int]]:
    """Split ``range(total)`` into consecutive ``(start, stop)`` pieces of at most `size`."""
    return [(start, min(start + size, total)) for start in range(0, total, size)]


def parallel_for(task: Callable[[int], None], count: int) -> None:
    """Call ``task(0)``, ..., ``task(count - 1)``, spread over the worker threads.

    Tasks run in any order and must write disjoint memory. BLAS is held at one thread
    meanwhile. Called from inside a task, it shares its own tasks with those workers that have
    nothing left to do. The first exception of a task is raised here, after all threads have
    stopped.
    """
    helpers = min(get_num_threads(), count) - 1
    with blas_single_thread():
        if helpers < 1:
            for index in range(count):
                task(index)
            return
        pool, section = _get_pool(), Section(task, count)
        with contextlib.nullcontext() if is_inside_task() else Apart(pool):
            try:
                pool.help_with(section, helpers)
                section.run()
            finally:
                section.close()
        for error in section.errors:
            raise error


def _get_pool() -> Pool:
    global _pool
    with _lock:
        if _pool is None:
            _pool = Pool(max(1, get_num_threads() - 1))
        return _pool


def _default_num_threads() -> int:
    text = os.environ.get("NNMED_NUM_THREADS", "").strip()
    if text:
        if not text.isdecimal() or int(text) < 1:
            raise UsageError(f"NNMED_NUM_THREADS must be a positive integer, got {text!r}")
        return int(text)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _after_fork():
    global _lock, _pool
    _lock, _pool = threading.Lock(), None
    go_home()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
