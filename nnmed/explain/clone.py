"""Run an op once more, apart from the graph: in its own dtype, or in float64."""

from __future__ import annotations

import copy
import functools
import operator

import numpy as np

from nnmed.autograd import Op, Tensor, enable_grad, grad, no_grad
from nnmed.autograd.tensor import Version
from nnmed.backend import precision
from nnmed.backend.arrays import is_array, to_device

# What an op has because it is a node: without it, it is as its constructor made it.
_OF_THE_NODE = (
    "needs", "input_shapes", "edges", "order", "code", "precision", "released", "began", "record",
    "checkpoint", "_tensors", "_versions", "_output", "_keeps_output", "_kept", "_instruction",
)  # fmt: skip


def fresh(op: Op) -> Op:
    """Return an op with the parameters of `op` that has not run."""
    new = copy.copy(op)
    for name in _OF_THE_NODE:
        vars(new).pop(name, None)
    return new


def fresh_in_float64(op: Op) -> Op:
    """Return an op that has not run, with the parameters of `op` as float64."""
    new = fresh(op)
    vars(new).update({name: in_float64(value) for name, value in vars(new).items()})
    return new


def node_in_float64(op: Op) -> Op:
    """Return a copy of a node of the graph that has all it kept as float64 constants."""
    node = fresh_in_float64(op)
    node.needs, node.input_shapes, node.edges = op.needs, op.input_shapes, op.edges
    node.code, node._instruction, node.precision = op.code, op._instruction, op.precision
    node._versions = [
        (position, constant, constant._version.count)
        for position, tensor in enumerate(op.inputs)
        if tensor is not None
        for constant in [Tensor._wrap(in_float64(tensor._array))]
    ]
    if op._output is not None:
        node._output = in_float64(op.output._array), Version(), 0
    node._kept = in_float64(op._kept)
    return node


def run_in_float64(op: Op, inputs: list, device: str) -> np.ndarray:
    """Return what an op with the parameters of `op` gives for NumPy arrays, as such."""
    tensors = [Tensor._wrap(to_device(np.asarray(x), device)) for x in inputs]
    with no_grad(), precision.multiplying_in("float32"):
        return to_device(fresh_in_float64(op)(*tensors)._array, "cpu")


def recorded_gradients(op: Op, dy: Tensor) -> list:
    """Return the gradients of a node by its recorded backward, in the dtype of what it kept.

    As NumPy arrays; None where there is no gradient.
    """
    with enable_grad(), precision.multiplying_in("float32"):
        gradients = op.backward(dy)
    if not isinstance(gradients, tuple):
        gradients = (gradients,)
    return [None if g is None else to_device(g._array, "cpu") for g in gradients]


def pushed_forward(op: Op, changes: list, shape, device: str) -> np.ndarray:
    """Return how the output of a node changes, to first order, if its inputs do: J v.

    Backward gives J^T u, which is linear in u: the derivative of its product with v by u is J v.

    Parameters
    ----------
    changes : list of array or None
        v, in NumPy and float64; None for inputs that stay.
    shape : tuple of int
        Of the output.
    """
    u = Tensor._wrap(to_device(np.zeros(shape), device)).requires_grad_()
    node = node_in_float64(op)
    node.order, node.edges = op.order, [None] * len(op.edges)  # here the graph ends
    with enable_grad(), precision.multiplying_in("float32"):
        gradients = node.backward(u)
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)
        products = [
            (gradient * Tensor._wrap(to_device(change, device))).sum()
            for gradient, change in zip(gradients, changes)
            if gradient is not None and change is not None
        ]
        if not any(product._requires_grad for product in products):
            return np.zeros(shape)
        (pushed,) = grad(functools.reduce(operator.add, products), [u])
    return to_device(pushed._array, "cpu")


def in_float64(value):
    """Return `value` with all float32 arrays and tensors in it, however nested, as float64."""
    if isinstance(value, Tensor):
        return Tensor._wrap(in_float64(value._array))
    if is_array(value):
        return value.astype(np.float64) if value.dtype.kind == "f" else value
    if isinstance(value, (list, tuple)):
        items = [in_float64(item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, dict):
        return {key: in_float64(item) for key, item in value.items()}
    return value
