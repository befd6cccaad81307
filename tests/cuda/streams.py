"""Streams and events of the stand-in card.

What is queued on a stream other than the default one is done as late as is allowed: when
somebody waits for an event behind it. So a forgotten wait shows as memory that is still NaN.
A captured graph holds the kernels and copies to the card that were queued meanwhile, but not what
other functions of CuPy do: they are done at once.
"""

from __future__ import annotations


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
        self._tasks = tasks

    def launch(self, stream=None):
        """Do it."""
        for task in self._tasks:
            (stream or get_current_stream()).add(task)


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
        self._captured = []

    def is_capturing(self):
        """Tell whether work is noted and not done."""
        return self._captured is not None

    def end_capture(self):
        """Return what was queued since :meth:`begin_capture`."""
        graph, self._captured = Graph(self._captured), None
        return graph

    def add(self, task):
        """Do `task` now, or on another stream later."""
        if self.is_capturing():
            self._captured.append(task)
            return
        self._tasks.append(task)
        self.queued += 1
        if self.is_default:
            self.run_to(self.queued)

    def run_to(self, position):
        """Do what was queued before a position."""
        while self._tasks and self.queued - len(self._tasks) < position:
            self._tasks.pop(0)()

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
        self.run_to(self.queued)

    def use(self):
        """Make it the current stream."""
        global _current
        _current = self
        return self

    def __enter__(self):
        self._before = _current
        return self.use()

    def __exit__(self, *_):
        self._before.use()


_current = Stream()
Stream.null = _current


def get_current_stream():
    """Return the stream that kernels are queued on."""
    return _current
