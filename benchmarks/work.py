"""Floating point operations, and the bytes that must move at least.

Operations are what the ops say of themselves (:meth:`nnmed.Op.flops`). Bytes are those of
arrays that are there before or after: forward reads its inputs and writes its output;
backward reads the gradient of the output and what forward kept, and writes the gradients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from benchmarks.cases import Case
from benchmarks.subjects.nnmed_ops import NnmedOp
from nnmed.autograd.op import Op, observers

# Optimizers are no ops: operations an element, and arrays of its size read and written.
OPTIMIZERS = {"SGD": (4, 5), "Adam": (12, 7), "AdamW": (13, 7), "RMSprop": (8, 5)}


class Work(NamedTuple):
    """Operations and bytes."""

    flops: int
    moved: int

    def __add__(self, other):
        return Work(self.flops + other.flops, self.moved + other.moved)


class Counter:
    """Adds up the operations of all ops that run, and notes the arrays that they keep.

    A backward that is not made of ops, but of arrays, counts as much as its forward: it is
    bound by memory anyway.

    Attributes
    ----------
    flops : int
    kept : dict from int to int
        Bytes of each kept array, by its address, as several ops may keep one.
    """

    def __init__(self):
        self.flops, self.kept = 0, {}

    def forward(self, op, inputs, output):
        """Count an op: called for every op that runs."""
        self.flops += int(op.flops([tensor.shape for tensor in inputs], output.shape))
        self.kept.update((array.ctypes.data, array.nbytes) for array in op.kept_arrays())

    def backward(self, op, dy, gradients):
        """Count a fused backward; the ops of any other are counted themselves."""
        if op.arithmetic or type(op).fused_backward is not Op.fused_backward:
            self.flops += int(op.flops(op.input_shapes, dy.shape))


def counted(step: Callable) -> tuple[Counter, object]:
    """Run `step` and return the counter that watched it, and its result."""
    counter = Counter()
    observers.append(counter)
    try:
        return counter, step()
    finally:
        observers.remove(counter)


def of(case: Case) -> list[Work]:
    """Return the work of each step of the case: forward and backward, or an optimizer's."""
    op = NnmedOp(case)
    if case.family == "optimizer":
        flops, arrays = OPTIMIZERS[case.function]
        elements = sum(tensor.numel() for tensor in op.tensors.values())
        return [Work(flops * elements, arrays * _bytes(op.tensors.values()))]
    counter, output = counted(op.steps[0])
    forward = Work(counter.flops, _bytes(op.tensors.values()) + _bytes([output]))
    read = sum(counter.kept.values()) + _bytes([output])  # its gradient is as large
    counter, gradients = counted(op.steps[1])
    return [forward, Work(counter.flops, read + _bytes(gradients))]


def _bytes(tensors) -> int:
    return sum(tensor.numpy().nbytes for tensor in tensors)
