"""Recompute instead of storing: memory bought with time.

After Chen et al., "Training deep nets with sublinear memory cost", 2016. The ops of the
function are recorded as ever, but what they keep is taken away at once. When backward comes
to the first of them, the function runs again, and every op is given what its double kept.
Edges are those of the first run: so gradients of parameters, of inputs, and of gradients
need no rules of their own.
"""

from __future__ import annotations

import functools
import threading

from nnmed.autograd import modes
from nnmed.autograd.op import observers
from nnmed.autograd.tensor import Tensor
from nnmed.backend import precision
from nnmed.backend.random import Tape
from nnmed.errors import GradientError, UsageError


def checkpoint(function, *inputs, use_reentrant: bool = False, **keywords):
    """Return ``function(*inputs, **keywords)``, to be recomputed during backward.

    Of what is computed inside, only the outputs stay in memory until backward. The function
    runs a second time then, with the random numbers of the first time (those of nnmed: of
    dropout and the like). Tensors that it changes in place, such as the running statistics
    of batch-norm, are not changed again. What was recomputed is kept from then on where the
    graph is, by ``retain_graph`` or ``create_graph``.

    Parameters
    ----------
    function : callable
        A Module or a function, which must do the same whenever it runs. It may return
        anything, use tensors from outside, and contain further checkpoints.
    *inputs, **keywords
        Its arguments.
    use_reentrant : bool
        For calls written for PyTorch; only its False exists here.

    Raises
    ------
    GradientError
        In backward: if the function does something else the second time, or a tensor that it
        uses was changed in place since.

    Examples
    --------
    >>> import nnmed
    >>> x = nnmed.Tensor([1.0, 2.0], requires_grad=True)
    >>> nnmed.checkpoint(lambda x: (x.exp() * x).sum(), x).backward()
    """
    if use_reentrant:
        raise UsageError("checkpoint: use_reentrant=True does not exist here, use False")
    run = functools.partial(function, *inputs, **keywords)
    if not modes.state.enabled:
        return run()
    with _Call(run) as call:
        return call.run()


class _Call:
    """One call of the function; it observes the ops that run inside, the second time too."""

    def __init__(self, run):
        self.run = run
        self.seen: list[tuple] = []  # the ops of the first run; not themselves: no cycle
        self.changed: set = set()  # versions of the tensors that it changed in place
        self.tape = Tape()
        self.format = precision.state.format
        self.states: list | None = None  # what the ops of the second run kept

    def __enter__(self):
        self.thread = threading.get_ident()
        observers.insert(0, self)  # of nested calls the outermost takes an op over last
        modes.state.watchers += (self,)
        self.tape.__enter__()
        return self

    def __exit__(self, *exception):
        self.tape.__exit__()
        modes.state.watchers = modes.state.watchers[:-1]
        observers.remove(self)

    def forward(self, op, inputs, output) -> None:
        """Take away what an op keeps that has just run and was recorded."""
        if output._op is not op or self.thread != threading.get_ident():
            return
        versions = [(tensor._version, tensor._version.count) for tensor in inputs]
        if self.states is None:
            op.take_kept()
            op.checkpoint = self, len(self.seen)
            self.seen.append((op.name, op.input_shapes, versions))
        else:
            self.compare(op, versions)
            self.states.append(op.take_kept())

    def backward(self, op, dy, gradients) -> None:
        """Nothing is to be seen in a backward inside the function."""

    def may_change(self, version) -> bool:
        """Tell whether a tensor may be changed in place: not by the second run once more."""
        again = self.states is not None and version in self.changed
        self.changed.add(version)
        return not again

    def compare(self, op, versions) -> None:
        """Refuse an op of the second run unless it is the same as in the first."""
        index = len(self.states)
        name, shapes, before = self.seen[index] if index < len(self.seen) else ("no op", None, ())
        if (name, shapes) != (op.name, op.input_shapes):
            raise GradientError(
                f"checkpoint: the function does not do the same again: op number {index} was "
                f"{name} of {shapes} and is {op.name} of {op.input_shapes} at {op.location}"
            )
        for (version, count), (old, old_count) in zip(versions, before):
            if version is old and count != old_count:
                raise GradientError(
                    f"checkpoint: an input of {op.name} at {op.location} was changed in place "
                    "since the function ran: run backward first"
                )

    def state(self, index: int) -> tuple:
        """Return, once, what the op number `index` kept in the second run."""
        if self.states is None:
            self.recompute()
        state, self.states[index] = self.states[index], None
        return state

    def recompute(self) -> None:
        self.states = []
        try:
            with modes.set_grad_enabled(True), precision.multiplying_in(self.format), self:
                self.run()
            if len(self.states) < len(self.seen):
                raise GradientError(
                    f"checkpoint: the function ran {len(self.seen)} ops the first time and "
                    f"{len(self.states)} the second"
                )
        except BaseException:
            self.states = None
            raise
        self.run = None  # lets go of the inputs


def restore(op) -> None:
    """Give `op` what its doubles in the second run of its checkpoint kept."""
    while op.checkpoint is not None:  # again where the double lies in an inner checkpoint
        call, index = op.checkpoint
        kept, op._output, op._kept, op.checkpoint = call.state(index)
        op._versions = [
            (position, _tied(op.edges[position], array, version), version.count)
            for position, array, version in kept
        ]


def _tied(edge, array, version) -> Tensor:
    """Return a tensor on `array` that belongs to the graph of the first run."""
    if isinstance(edge, Tensor):
        return edge
    tensor = Tensor._wrap(array, version)
    tensor._op, tensor._requires_grad = edge, edge is not None
    return tensor
