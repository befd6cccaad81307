"""A table of a network's modules, made by watching one forward pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnmed.autograd import no_grad
from nnmed.autograd.op import observers
from nnmed.autograd.tensor import Tensor
from nnmed.backend.arrays import to_device


@dataclass(frozen=True)
class Row:
    """One call of a module: its name, kind, output shape, own parameters and operations."""

    name: str
    kind: str
    output_shape: tuple[int, ...] | None
    parameters: int
    flops: int


@dataclass(frozen=True)
class Summary:
    """What :meth:`Module.summary` returns; ``print`` shows it as a table.

    Attributes
    ----------
    rows : tuple of Row
        In the order of the calls. A module's parameters stand in the row of its first call;
        its operations are those that it runs itself, not those of its submodules.
    parameters, trainable : int
        Elements of all parameters, and of those that require a gradient.
    flops : int
        Floating point operations of the forward pass, a multiply and an add counted as two.
    input_shape : tuple of int
    """

    rows: tuple[Row, ...]
    parameters: int
    trainable: int
    flops: int
    input_shape: tuple[int, ...]

    def __str__(self) -> str:
        table = [("module", "output shape", "parameters", "FLOPs")]
        table += [
            (f"{row.name} ({row.kind})" if row.name else row.kind, str(row.output_shape or "-"),
             f"{row.parameters:,}", f"{row.flops:,}")
            for row in self.rows
        ]  # fmt: skip
        widths = [max(map(len, column)) for column in zip(*table)]
        lines = [_line(cells, widths) for cells in table]
        rule = "-" * len(lines[0])
        total = (
            f"input {self.input_shape}: {self.parameters:,} parameters "
            f"({self.trainable:,} trainable), {self.flops:,} FLOPs forward"
        )
        return "\n".join([lines[0], rule, *lines[1:], rule, total])

    __repr__ = __str__


def _line(cells, widths) -> str:
    name, shape, *numbers = (cell.ljust(width) for cell, width in zip(cells, widths))
    numbers = [cell.strip().rjust(width) for cell, width in zip(numbers, widths[2:])]
    return "  ".join([name, shape, *numbers])


def summarize(module, input_shape) -> Summary:
    """Run `module` on zeros, in evaluation and without a graph, and note what happens.

    Parameters
    ----------
    module : Module
    input_shape : tuple of int
        With the batch.

    Returns
    -------
    Summary
    """
    watcher = _Watcher(module)
    modes = [(m, m.training) for m in module.modules()]
    first = next(module.parameters(), None)
    dtype, device = (np.float32, "cpu") if first is None else (first.dtype, first.device)
    observers.append(watcher)
    try:
        module.eval()
        with no_grad():
            module(Tensor._wrap(to_device(np.zeros(input_shape, dtype), device)))
    finally:
        observers.remove(watcher)
        watcher.detach()
        for m, training in modes:
            m.training = training
    parameters = list(module.parameters())
    return Summary(
        rows=tuple(Row(**row) for row in watcher.rows),
        parameters=sum(p.numel() for p in parameters),
        trainable=sum(p.numel() for p in parameters if p.requires_grad),
        flops=sum(row["flops"] for row in watcher.rows),
        input_shape=tuple(input_shape),
    )


class _Watcher:
    """Knows which module runs, and gives it the operations of the ops that pass."""

    def __init__(self, root):
        self.rows: list[dict] = []
        self._running: list[tuple] = []  # modules with their rows, the innermost last
        self._counted: set[int] = set()
        self._handles = []
        for name, module in root.named_modules():
            self._handles += [
                module.register_forward_pre_hook(self._entering(name), prepend=True),
                module.register_forward_hook(self._leaving, always_call=True),
            ]

    def forward(self, op, inputs, output):
        """Count an op: called for every op that runs."""
        if self._running:
            shapes = [tensor.shape for tensor in inputs]
            self._running[-1][1]["flops"] += int(op.flops(shapes, output.shape))

    def backward(self, op, gradient, gradients):
        """Nothing to count: called for every op that runs backward."""

    def detach(self):
        for handle in self._handles:
            handle.remove()

    def _entering(self, name):
        def hook(module, args):
            row = {"name": name, "kind": type(module).__name__, "output_shape": None}
            row["parameters"] = self._count(module)
            row["flops"] = 0
            self.rows.append(row)
            self._running.append((module, row))

        return hook

    def _leaving(self, module, args, output):
        if not self._running or self._running[-1][0] is not module:
            return  # a hook that failed before `_entering` has left that out
        _, row = self._running.pop()
        if isinstance(output, Tensor):
            row["output_shape"] = output.shape

    def _count(self, module):
        new = [p for p in module.parameters(recurse=False) if id(p) not in self._counted]
        self._counted.update(id(p) for p in new)
        return sum(p.numel() for p in new)
