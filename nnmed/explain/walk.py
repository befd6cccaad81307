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
    """An array that an op keeps.

    Attributes
    ----------
    what : str
        ``"input x"``, ``"output"`` or the name that the op gave it.
    array : array
    maker : Op or Tensor or None
        The op that made it, which may be this one, or the leaf that it is; None for a constant.
    position : int or None
        Which input it is.
    """

    what: str
    array: object
    maker: object
    position: int | None = None

    @property
    def memory(self):
        """The array whose memory it uses, which others may use too."""
        return memory_of(self.array)


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
        leaves = [leaf for leaf in leaves_of(ops) or [loss] if leaf._requires_grad]
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


def leaves_of(ops: list[Op]) -> list[Tensor]:
    """Return the leaves of a graph, in the order in which its ops use them first."""
    edges = dict.fromkeys(edge for op in ops for edge in op.edges)
    return [edge for edge in edges if isinstance(edge, Tensor)]


def kept_by(op: Op) -> list[Kept]:
    """Return what an op keeps."""
    names = input_names(op)
    kept = [
        Kept(f"input {names[position]}", tensor._array, op.edges[position], position)
        for position, tensor, _ in op._versions
    ]
    if op._output is not None:
        kept.append(Kept("output", op._output[0], op))
    return kept + [Kept(name, array, op) for name, array in op._kept.items()]


def memory_of(array):
    """Return the array whose memory `array` uses: itself, or the one that it is a view of."""
    while getattr(array, "base", None) is not None and hasattr(array.base, "nbytes"):
        array = array.base
    return array
