"""Worker threads, and a section of work that they share with the thread that calls them.

The threads wait for work on a queue written in C, so an interrupt (Ctrl-C) at any moment
leaves no lock behind, and they are daemons, so they never keep a program from ending.
"""

from __future__ import annotations

import contextvars
import itertools
import threading
from collections.abc import Callable
from queue import SimpleQueue

from nnmed.backend.affinity import set_processors
from nnmed.backend.blas import blas_single_thread


class Pool:
    """Threads that help with sections.

    Attributes
    ----------
    ids : list of int
        The system's numbers of the threads.
    """

    def __init__(self, size: int):
        self._queue = SimpleQueue()
        self._processors: set[int] = set()
        threads = [
            threading.Thread(target=_work, args=(self._queue,), name="nnmed-worker", daemon=True)
            for _ in range(size)
        ]
        for thread in threads:
            thread.start()
        self.ids = [thread.native_id for thread in threads]

    def use_processors(self, processors: set[int]) -> None:
        """Let the threads use these processors only."""
        if processors != self._processors:
            self._processors = processors
            for thread in self.ids:
                set_processors(thread, processors)

    def help_with(self, section: Section, count: int) -> None:
        """Ask `count` threads to help."""
        for _ in range(count):
            # With the caller's context its np.errstate holds for the helpers, too.
            self._queue.put((contextvars.copy_context(), section))

    def close(self) -> None:
        """Let the threads end when they have done what was asked so far."""
        for _ in self.ids:
            self._queue.put(None)


class Section:
    """The calls ``task(0)``, ..., ``task(count - 1)``, done by whoever calls :meth:`run`."""

    def __init__(self, task: Callable[[int], None], count: int):
        self._task, self._count = task, count
        self._next = itertools.count()
        self._closed = False
        self._helping: list[int] = []
        self._left = SimpleQueue()
        self.errors: list[BaseException] = []

    def run(self) -> None:
        """Do tasks until none is left."""
        outer, _inside.task = is_inside_task(), True
        try:
            for index in self._next:
                if index >= self._count:
                    return
                self._task(index)
        except BaseException:
            for index in self._next:  # leave nothing for the other threads
                if index >= self._count:
                    break
            raise
        finally:
            _inside.task = outer

    def help(self) -> None:
        """Do tasks on a worker, unless the section is closed."""
        # First announce, then look: close() does it the other way round, so that either this
        # thread sees the section closed or close() waits for it.
        self._helping.append(threading.get_ident())
        try:
            if not self._closed:
                _limit_blas()
                self.run()
        except BaseException as error:
            self.errors.append(error)
        finally:
            self._helping.remove(threading.get_ident())
            self._left.put(None)

    def close(self) -> None:
        """Wait until no helper is at work, and let none begin; an interrupt waits as well."""
        interrupt = None
        while not self._closed or self._helping:
            try:
                self._closed = True
                if self._helping:
                    self._left.get()
            except KeyboardInterrupt as error:
                interrupt = error
        if interrupt is not None:
            raise interrupt


_inside = threading.local()


def is_inside_task() -> bool:
    """Tell whether the calling thread is at work on a task."""
    return getattr(_inside, "task", False)


def _limit_blas() -> None:
    """Limit BLAS for this worker; the section that it helps with is open, so it is restored."""
    if not getattr(_inside, "is_limited", False):
        _inside.is_limited = True
        blas_single_thread().set()


def _work(queue: SimpleQueue) -> None:
    while (asked := queue.get()) is not None:
        context, section = asked
        context.run(section.help)
        del asked, context, section  # or what the task refers to would live until the next
