"""Make the steps of a derivation from what was seen of backward."""

from __future__ import annotations

import copy
import math

from nnmed.autograd import Tensor
from nnmed.errors import UsageError
from nnmed.explain.names import layers_of
from nnmed.explain.step import Input, Leaf, Saved, Step
from nnmed.explain.walk import Seen, Walk, input_names


class Builder:
    """Makes steps and leaves of a :class:`Walk`.

    Parameters
    ----------
    walk : Walk
    parameters : dict of Tensor to str
        Names of the parameters of a model.
    variables : dict of (Op or Tensor) to str
        Names of the caller's variables, by the op that made them or by the leaf.
    """

    def __init__(self, walk: Walk, parameters: dict, variables: dict):
        self.walk, self.parameters, self.variables = walk, parameters, variables
        loss = walk.turns[0].op if walk.turns else None
        taken = {*parameters.values(), *(n for op, n in variables.items() if op is not loss)}
        self.prefix = _free_prefix(taken)
        self.loss_name = next(name for name in ("L", "loss", "the_loss") if name not in taken)
        self.indices = {turn.op: index for index, turn in enumerate(walk.turns)}
        self.layers = layers_of([*walk.kept], parameters)
        self.contributions = _contributions(walk.turns)
        self.last_holder = {}  # by memory: the last step for which it is held
        for turn in walk.turns:
            for kept in walk.kept[turn.op]:
                self.last_holder[id(kept.memory)] = self.indices[turn.op]
        self.leaves = {
            tensor: self.leaf(number, tensor, gradient)
            for number, (tensor, gradient) in enumerate(walk.leaves.items())
        }

    def leaf(self, number: int, tensor: Tensor, gradient: Tensor) -> Leaf:
        """Make the leaf of a tensor."""
        name = self.parameters.get(tensor) or self.variables.get(tensor) or f"leaf {number}"
        return Leaf(name, tensor, self.contributions.get(tensor, []), gradient._array)

    def step(self, turn: Seen) -> Step:
        """Make the step of an op's turn."""
        op, dy = turn.op, turn.dy
        index = self.indices[op]
        inputs = self.inputs(turn)
        itemsizes = [(dy.dtype if item.dtype is None else item.dtype).itemsize for item in inputs]
        read = sum(math.prod(item.shape) * size for item, size in zip(inputs, itemsizes))
        return Step(
            index=index,
            op=copy.copy(op),  # of which a later backward cannot take anything
            name=self.variables.get(op, f"{self.prefix}{index}") if index else self.loss_name,
            layer=self.layers[op],
            inputs=inputs,
            shape=dy.shape,
            dtype=dy.dtype,
            contributions=self.contributions.get(op, []),
            saved=self.saved(turn),
            flops=op.flops(op.input_shapes, dy.shape),
            nbytes=read + dy.numel() * dy.dtype.itemsize,
            forward_seconds=None if op.record is None else op.record.seconds,
            backward_seconds=turn.seconds,
            _gradient=dy._array,
        )

    def inputs(self, turn: Seen) -> list[Input]:
        """Make the inputs of an op."""
        op = turn.op
        formulas = _gradient_formulas(op)
        dtypes = {kept.position: kept.array.dtype for kept in self.walk.kept[op]}
        inputs = []
        for position, (name, edge, gradient) in enumerate(
            zip(input_names(op), op.edges, turn.gradients)
        ):
            flows = edge is not None and gradient is not None
            inputs.append(
                Input(
                    name=name,
                    shape=op.input_shapes[position],
                    dtype=gradient.dtype if flows else dtypes.get(position),
                    formula=formulas.get(name.partition("[")[0], ""),
                    source=self.indices.get(edge),
                    leaf=self.leaves.get(edge),
                    is_wanted=edge is not None,
                    _gradient=gradient._array if flows else None,
                )
            )
        return inputs

    def saved(self, turn: Seen) -> list[Saved]:
        """List what the op kept, and until when."""
        op = turn.op
        seconds = None if op.record is None else op.began - op.record.ended
        return [
            Saved(
                what=kept.what,
                shape=kept.array.shape,
                dtype=kept.array.dtype,
                nbytes=kept.array.nbytes,
                since=self.indices.get(kept.maker),
                until=self.last_holder[id(kept.memory)],
                seconds=seconds,
            )
            for kept in self.walk.kept[op]
        ]


def _gradient_formulas(op) -> dict[str, str]:
    forward, backward = op.latex()
    texts = [forward, *(backward.values() if isinstance(backward, dict) else [None])]
    if not all(isinstance(text, str) for text in texts):
        raise UsageError(
            f"{op.name}: forward_latex must be a string, and backward_latex a dict from the names "
            f"of forward's inputs to strings; got {forward!r} and {backward!r}"
        )
    return backward


def _contributions(turns) -> dict:
    """Return which turns brought gradients to each op and leaf, and for which input."""
    contributions: dict = {}
    for index, turn in enumerate(turns):
        for position, (edge, gradient) in enumerate(zip(turn.op.edges, turn.gradients)):
            if edge is not None and gradient is not None:
                contributions.setdefault(edge, []).append((index, position))
    return contributions


def _free_prefix(taken: set[str]) -> str:
    """Return the letter of automatic names, such that none is taken."""
    used = {name.rstrip("0123456789") for name in taken if name[-1:].isdigit()}
    return next(prefix for prefix in ("y", "z", "t", "step") if prefix not in used)
