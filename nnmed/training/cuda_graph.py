"""A training step as a CUDA graph: captured once, then launched as a whole.

An eager step launches some hundred kernels from Python, one after another. Where they are short,
the GPU waits for Python. A graph holds the launches with all their arguments, so that one call
starts them all::

    batch of shape s     1    2  |     3     |    4    5    6   ...   last, of shape t
                         eager   | rehearsal | capture                eager
                                 |           | launch  launch  ...
    memory               CuPy's  | the graph's own pool               CuPy's

A rehearsal is an eager step on the stream and in the memory of the graph: it compiles what is
still to be compiled, fills the pool, and counts the draws of random numbers.

What changes from step to step lies in the device's memory, at places that stay, and is written
before each launch: the batch, the optimizer's numbers, and the keys of dropout. The batch is
copied from the loader's memory, of which there are two slots (:mod:`nnmed.training.feed`); the
copy moves far fewer bytes than the step, and a graph for each slot would take twice the memory.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import fields, replace

import numpy as np

from nnmed.autograd import Tensor
from nnmed.autograd.op import observers
from nnmed.backend import cuda, determinism, precision
from nnmed.backend.arrays import axes_by_stride, empty_like, is_array
from nnmed.backend.random import KeyPlaces, Tape
from nnmed.data.loader import Batch
from nnmed.errors import DeviceError, UsageError
from nnmed.training.log import log
from nnmed.training.step import HostState, TrainingStep

WARM_UP = 2
"""Eager steps with batches of one shape before the rehearsal."""


class CapturedStep:
    """A training step on a GPU that becomes a CUDA graph when batches have kept their shape.

    It is called as a :class:`TrainingStep` is, with the same results: to the last bit, but that
    cuBLAS, which cannot be captured, multiplies no matrices, not in the eager steps either. Batches
    of another shape are computed eagerly. What model and loss do in Python beside computing with
    arrays on the GPU is done in the capture alone: they must do the same in every step.

    Parameters
    ----------
    step : TrainingStep
    required : bool
        Raise an error where a step cannot be captured, instead of going on eagerly with a line
        of log.

    Raises
    ------
    DeviceError
        When called, if `required` and the step cannot be captured.
    """

    def __init__(self, step: TrainingStep, required: bool = False):
        self._step, self._required = step, required
        self._seen: Counter = Counter()
        self._graph: CudaGraph | None = None
        self._is_eager = False

    def __call__(self, batch: Batch) -> Tensor:
        if self._is_eager:
            return self._step(batch)
        with cuda.without_cublas():
            # No Python runs in a replay, so whoever watches ops would see nothing.
            return self._step(batch) if observers else self._eager_or_launched(batch)

    def _eager_or_launched(self, batch: Batch) -> Tensor:
        if not self._is_steady(batch):
            return self._step(batch)
        if self._graph is None or not self._graph.is_unchanged():
            self._graph = None  # its memory is free for the new one
            self._graph = CudaGraph(self._step, batch)
        if not self._graph.is_rehearsed():
            return self._graph.rehearse(batch)
        if not self._graph.is_captured():
            try:
                self._graph.capture()
            except Exception as error:
                if cuda.is_out_of_memory(error):
                    raise
                self._give_up(error)
        return self._step(batch) if self._is_eager else self._graph.launch(batch)

    def _is_steady(self, batch: Batch) -> bool:
        """Tell whether the batch has the shape that the graph has, or is to have."""
        layout = _layout(batch)
        if self._graph is not None:
            return layout == self._graph.layout
        self._seen[layout] += 1
        return self._seen[layout] > WARM_UP

    def _give_up(self, error: Exception) -> None:
        reason = f"{type(error).__name__}: {error}"
        if self._required:
            raise DeviceError(
                f"the training step cannot be captured as a CUDA graph ({reason}): take that out "
                "of model and loss, or train without (--cuda-graph off)"
            ) from error
        log(f"no CUDA graph: the training step cannot be captured ({reason})")
        self._is_eager, self._graph = True, None


class CudaGraph:
    """The graph of a training step, with its stream, its memory and its inputs.

    Parameters
    ----------
    step : TrainingStep
    batch : Batch
        One of the shape that all batches will have.
    """

    def __init__(self, step: TrainingStep, batch: Batch):
        device = cuda.cupy().cuda
        self.layout = _layout(batch)
        self._step, self._graph, self._fixed = step, None, None
        self._stream, self._pool = device.Stream(non_blocking=True), device.MemoryPool()
        self._tensors = [*step.model.parameters(), *step.model.buffers()]
        self._modules = list(step.model.modules())
        # Eager steps have left their memory with CuPy's pool, and now it is wanted here.
        cuda.cupy().get_default_memory_pool().free_all_blocks()
        with self._apart():
            arrays = {name: empty_like(array) for name, array in _arrays(batch).items()}
        self._batch = replace(batch, **arrays, samples=_Unseen(len(batch.samples)))

    def rehearse(self, batch: Batch) -> Tensor:
        """Do a whole step, eagerly, where the graph will do its own; return the loss.

        It counts unless the loss scaler left the optimizer's step out.
        """
        with self._apart(), Tape() as tape:
            loss = self._step(batch)
        if not self._step.scaler.skipped:  # which would leave an optimizer without its state
            self._keys = cuda.cupy().empty((len(tape), 2), np.uint64)
            self._fixed = self._taken_for_granted()
        return loss

    def capture(self) -> None:
        """Capture a step, without doing it: afterwards all is as before, but for the gradients.

        Raises
        ------
        Exception
            Whatever a step raises that reads the device's memory, or that calls what CuPy does
            not capture, such as cuBLAS.
        """
        before = HostState(self._step)
        places = KeyPlaces(list(self._keys))
        try:
            with self._apart(), places, cuda.holding() as self._held:
                self._loss, graph = self._captured()
        finally:
            before.restore()
        self._next_keys = places.next_keys
        self._gradients = [(p, p.grad) for p in self._trained() if p.grad is not None]
        self._graph = graph

    def is_rehearsed(self) -> bool:
        """Tell whether a capture may follow."""
        return self._fixed is not None

    def is_captured(self) -> bool:
        """Tell whether there is something to launch."""
        return self._graph is not None

    def is_unchanged(self) -> bool:
        """Tell whether all is as in the rehearsal: arrays in their places, modes, formats."""
        if self._fixed is None:
            return True
        now = self._taken_for_granted()
        return len(now) == len(self._fixed) and all(a is b for a, b in zip(now, self._fixed))

    def launch(self, batch: Batch) -> Tensor:
        """Do the captured step with another batch and return the loss, valid until the next."""
        self._step.zero_grad()  # an eager step may have left others
        for parameter, gradient in self._gradients:
            parameter.grad = gradient
        with self._apart():
            for name, array in _arrays(batch).items():
                _copy(array, getattr(self._batch, name))
            keys = self._next_keys()
            if keys:
                self._keys.set(np.array(keys, np.uint64))
            self._step.prepare_replay()
            self._graph.launch()
        self._step.advance()
        return self._loss

    @contextlib.contextmanager
    def _apart(self):
        """Work on the graph's stream, after and before what is queued elsewhere, in its memory."""
        current = cuda.cupy().cuda.get_current_stream()
        self._stream.wait_event(current.record())
        try:
            with self._stream, cuda.cupy().cuda.using_allocator(self._pool.malloc):
                yield
        finally:
            current.wait_event(self._stream.record())

    def _captured(self):
        """Return the loss and the graph of a step."""
        self._stream.begin_capture()
        try:
            loss = self._step.update(self._batch)
        except BaseException:
            with contextlib.suppress(RuntimeError):  # a capture that failed ends with an error
                self._stream.end_capture()
            raise
        return loss, self._stream.end_capture()

    def _trained(self) -> list[Tensor]:
        groups = self._step.optimizer.param_groups
        return list({*self._step.model.parameters(), *(p for g in groups for p in g["params"])})

    def _taken_for_granted(self) -> list:
        """Return what a captured step does not look at again."""
        state = [v for values in self._step.optimizer.state.values() for v in values.values()]
        return [
            *[tensor._array for tensor in self._tensors],
            *[tensor._requires_grad for tensor in self._tensors],
            *[module.training for module in self._modules],
            *[value for value in state if is_array(value)],
            precision.current(),
            determinism.is_required(),
        ]


class _Unseen:
    """In the place of a batch's samples: their number is known to the graph, and nothing else."""

    def __init__(self, count: int):
        self._count = count

    def __len__(self):
        return self._count

    def __getitem__(self, index):
        if isinstance(index, slice):
            return _Unseen(len(range(*index.indices(self._count))))
        raise UsageError("the loss looks at batch.samples, which differ from batch to batch")


def _arrays(batch: Batch) -> dict:
    """Return the fields of a batch that are arrays, by name."""
    values = {field.name: getattr(batch, field.name) for field in fields(batch)}
    return {name: value for name, value in values.items() if is_array(value)}


def _layout(batch: Batch) -> tuple:
    """Return what two batches must have in common to be the input of one graph."""
    arrays = _arrays(batch).items()
    return tuple([(name, a.shape, a.strides, a.dtype.char) for name, a in arrays])


def _copy(source, target) -> None:
    """Copy between arrays of one layout, in the order of memory."""
    order, _ = axes_by_stride(source)
    target.transpose(order)[...] = source.transpose(order)
