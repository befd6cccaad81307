"""Note when each op runs, how long it takes, in which layer, and with which constants."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from time import perf_counter

from nnmed.autograd.op import observers


@dataclass(frozen=True)
class Record:
    """What was noted when an op ran.

    Attributes
    ----------
    began, ended : float
        When forward ran, in seconds of ``time.perf_counter()``. On a GPU: until the kernels
        were launched.
    layer : str
        Name of the module that ran it, as in ``model.named_modules()``; empty if unknown.
    constants : list of (int, Tensor, int)
        The inputs that want no gradient, by their positions, with the count of their versions.
    """

    began: float
    ended: float
    layer: str
    constants: list

    @property
    def seconds(self) -> float:
        """How long forward took."""
        return self.ended - self.began


class recording:
    """Context manager: note times, and the layers of `model`, while a graph is made.

    What is noted comes back in the steps of :func:`nnmed.explain`. Constants that go into ops are
    held as long as the graph, so that all arrays can be shown. Only this thread is watched.

    Parameters
    ----------
    model : Module, optional
        Its submodules are the layers.

    Examples
    --------
    >>> import nnmed
    >>> x = nnmed.Tensor([1.0, 2.0], requires_grad=True)
    >>> with nnmed.recording():
    ...     loss = (x * x).sum()
    >>> nnmed.explain(loss).step(0).forward_seconds > 0
    True
    """

    def __init__(self, model=None):
        self.model = model

    def __enter__(self):
        self._thread = threading.get_ident()
        self._running = [(None, "")]  # modules that are running, with names; the innermost last
        self._handles = []
        for name, module in [] if self.model is None else self.model.named_modules():
            self._watch(name, module)
        observers.append(self)
        return self

    def __exit__(self, *exception):
        observers.remove(self)
        for handle in self._handles:
            handle.remove()

    def _watch(self, name, module) -> None:
        def enter(module, arguments):
            if self._is_watched():
                self._running.append((module, name))

        def leave(module, arguments, output):
            # A hook that failed before `enter` has left that out.
            if self._is_watched() and self._running[-1][0] is module:
                self._running.pop()

        self._handles += [
            module.register_forward_pre_hook(enter, prepend=True),
            module.register_forward_hook(leave, always_call=True),
        ]

    def forward(self, op, inputs, output) -> None:
        """Note an op that has just run."""
        if output._op is op and self._is_watched():
            ended = perf_counter()
            constants = [
                (position, tensor, tensor._version.count)
                for position, tensor in enumerate(inputs)
                if not tensor._requires_grad
            ]
            op.record = Record(op.began, ended, self._running[-1][1], constants)

    def _is_watched(self) -> bool:
        return self._thread == threading.get_ident()

    def backward(self, op, dy, gradients) -> None:
        """Nothing is to be noted: :func:`nnmed.explain` watches backward itself."""
