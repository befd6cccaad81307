"""Streams, events and graphs of the stand-in card.

What is queued on a stream other than the default one is done as late as is allowed: when
somebody waits for an event behind it. So a forgotten wait shows as memory that is still NaN.

While a stream is captured, nothing is done: arrays stay NaN. The graph does it, each time that it
is launched, on the memory of that moment. Whatever would wait for the card, or read memory of the
host that nobody keeps, is refused. A graph keeps no memory alive: it must belong to somebody, or
to a pool of its own.
"""

from __future__ import annotations

import threading
import weakref

from tests.cuda.emulator import KernelError

# Threads share streams: without it one would go on while another still does its task.
_one_at_a_time = threading.RLock()


class Event:
    """A mark in a stream."""

    def __init__(self, **_):
        self._stream, self._position = None, 0

    def record(self, stream=None):
        """Mark what has been queued so far."""
        self._stream = stream or get_current_stream()
        self._position = self._stream.queued

    def synchronize(self):
        """Wait until the stream has come here; at once if nothing was recorded."""
        if self._stream is not None:
            self._stream.run_to(self._position)


class Graph:
    """Work that was captured, to be done again and again."""

    def __init__(self, tasks):
        self._tasks = [(task, [weakref.ref(m) for m in memories]) for task, memories in tasks]

    def launch(self, stream=None):
        """Do it."""
        for task, references in self._tasks:
            memories = [reference() for reference in references]
            if None in memories:
                raise KernelError("a graph uses memory that has been given back")
            (stream or get_current_stream()).add(task, *memories)


class Stream:
    """Work in order."""

    def __init__(self, null=False, non_blocking=False, **_):
        self.is_default = not non_blocking
        self.ptr = 0 if self.is_default else id(self)
        self.queued = 0
        self._tasks = []
        self._captured = None
        self._before = None

    def begin_capture(self, mode=None):
        """Note what is queued from now on, instead of doing it."""
        if self.is_default:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        self._captured = []

    def is_capturing(self):
        """Tell whether work is noted and not done."""
        return self._captured is not None

    def end_capture(self):
        """Return what was queued since :meth:`begin_capture`."""
        captured, self._captured = self._captured, None
        return Graph(captured)

    def add(self, task, *memories):
        """Do `task`, which works on `memories`, now, or on another stream later."""
        if self.is_capturing():
            self._captured.append((task, memories))
            return
        with _one_at_a_time:
            self._tasks.append((task, memories))
            self.queued += 1
            if self.is_default:
                self.run_to(self.queued)

    def run_to(self, position):
        """Do what was queued before a position."""
        with _one_at_a_time:
            while self._tasks and self.queued - len(self._tasks) < position:
                task, memories = self._tasks.pop(0)
                task()
                for memory in memories:
                    memory.check()

    def record(self, event=None):
        """Return an event behind all that was queued so far."""
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event):
        """Let what is queued later wait for an event."""
        self.add(event.synchronize)

    def synchronize(self):
        """Wait for all."""
        if self.is_capturing():
            raise RuntimeError(
                "the current stream is capturing, so synchronous API calls are disallowed"
            )
        self.run_to(self.queued)

    def use(self):
        """Make it the current stream of this thread."""
        _of_thread.stream = self
        return self

    def __enter__(self):
        self._before = get_current_stream()
        return self.use()

    def __exit__(self, *_):
        self._before.use()


_of_thread = threading.local()
Stream.null = Stream()


def get_current_stream():
    """Return the stream that kernels are queued on, which each thread chooses for itself."""
    return getattr(_of_thread, "stream", Stream.null)


def run(task, *memories):
    """Do `task`, which works on `memories`, on the current stream, or leave it to a graph."""
    stream = get_current_stream()
    stream.add(task, *memories)
    if not stream.is_capturing():
        stream.synchronize()
