"""Whether operations are recorded: a switch of each thread."""

from __future__ import annotations

import contextlib
import threading


class _State(threading.local):
    enabled = True
    backward_of = None  # the op whose backward is running
    watchers = ()  # the calls of checkpoint() that are running, which watch changes in place


state = _State()


def is_grad_enabled() -> bool:
    """Tell whether this thread records operations for backward."""
    return state.enabled


class set_grad_enabled(contextlib.ContextDecorator):
    """Context manager and decorator: record operations, or not, in this thread."""

    def __init__(self, mode: bool):
        self.mode = bool(mode)
        self._before: list[bool] = []

    def __enter__(self):
        self._before.append(state.enabled)
        state.enabled = self.mode
        return self

    def __exit__(self, *exception):
        state.enabled = self._before.pop()

    def _recreate_cm(self):
        # A decorated function may run in several threads at a time: one switch a call.
        return set_grad_enabled(self.mode)


class no_grad(set_grad_enabled):
    """Context manager and decorator: operations inside are not recorded.

    Examples
    --------
    >>> import nnmed
    >>> x = nnmed.Tensor([1.0], requires_grad=True)
    >>> with nnmed.no_grad():
    ...     y = x * 2
    >>> y.requires_grad
    False
    """

    def __init__(self):
        super().__init__(False)


class enable_grad(set_grad_enabled):
    """Context manager and decorator: record again inside a :class:`no_grad` block."""

    def __init__(self):
        super().__init__(True)
