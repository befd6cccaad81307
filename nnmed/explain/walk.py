"""Run backward once and watch it."""

from __future__ import annotations

import threading
from time import perf_counter
from typing import NamedTuple

from nnmed.autograd import Op, Tensor, grad
from nnmed.autograd.op import observers
from nnmed.errors import GradientError


class Seen(NamedTuple):
    """What is seen of an op's turn: the gradient of its output, and those of its inputs."""

    op: Op
    dy: Tensor
    gradients: tuple
    seconds: float


class Kept(NamedTuple):
    """An array that an op keeps: an input (with its position), the output (-1) or another."""

    what: str
    position: int | None
    array: object
    memory: object  # stands for the memory, which ops may share


class Walk:
    """One backward from `loss`, which leaves the graph and every ``grad`` as they were.

    Attributes
    ----------
    turns : list of Seen
        In the order of backward.
    leaves : dict of Tensor to Tensor
        The gradient of each leaf; in the order in which the ops used them first.
    kept : dict of Op to list of Kept
        As it was before, since a loss lets go of some in backward.

    Raises
    ------
    GradientError
        If an earlier backward released the graph, or `loss` has no gradient.
    """

    def __init__(self, loss: Tensor):
        ops = ops_behind(loss)
        self.kept = {op: kept_by(op) for op in ops}
        edges = [edge for op in ops for edge in op.edges] or [loss]
        leaves = [edge for edge in edges if isinstance(edge, Tensor) and edge._requires_grad]
        leaves = list(dict.fromkeys(leaves))
        self.turns: list[Seen] = []
        self._thread = threading.get_ident()
        observers.append(self)
        try:
            gradients = grad(loss, leaves, retain_graph=True, allow_unused=True)
        finally:
            observers.remove(self)
        self.leaves = {leaf: g for leaf, g in zip(leaves, gradients) if g is not None}

    def forward(self, op, inputs, output) -> None:
        """Ops that run inside backward are part of its steps."""

    def backward(self, op, dy, gradients) -> None:
        """Note an op's turn."""
        if self._thread == threading.get_ident():
            self.turns.append(Seen(op, dy, gradients, perf_counter() - op.began))


def input_names(op: Op) -> list[str]:
    """Return what forward calls its inputs: ``x``; ``arrays[0]`` where it takes any number."""
    code = type(op).forward.__code__
    names = list(code.co_varnames[1 : code.co_argcount])
    count = len(op.input_shapes)
    if len(names) < count:
        several = code.co_varnames[code.co_argcount + code.co_kwonlyargcount]
        names += [f"{several}[{index}]" for index in range(count - len(names))]
    return names[:count]


def ops_behind(loss: Tensor) -> list[Op]:
    """Return the ops of the graph in the order in which they ran."""
    ops, stack = set(), [loss._op]
    while stack:
        op = stack.pop()
        if not isinstance(op, Op) or op in ops:
            continue
        if op.released:
            raise GradientError(
                f"backward has released the arrays of {op.name} at {op.location}: look at the "
                "graph before backward, or pass retain_graph=True to that one"
            )
        ops.add(op)
        stack.extend(op.edges)
    return sorted(ops, key=lambda op: op.order)


def kept_by(op: Op) -> list[Kept]:
    """Return what an op keeps."""
    names = input_names(op)
    kept = [
        Kept(f"input {names[position]}", position, tensor._array, tensor._version)
        for position, tensor, _ in op._versions
    ]
    if op._output is not None:
        kept.append(Kept("output", -1, op._output[0], op._output[1]))
    return kept + [Kept(name, None, array, array) for name, array in op._kept.items()]
