"""Backward: walk the graph from the outputs to the leaves, newest op first.

Ops are numbered as they run, so that taking the greatest number first visits every op after
all ops that used its output: a heap replaces recursion and topological sorting.
"""

from __future__ import annotations

import heapq
import threading
from time import perf_counter

import numpy as np

from nnmed.autograd import modes
from nnmed.autograd.checkpoint import restore
from nnmed.autograd.op import Op, observers
from nnmed.autograd.tensor import Tensor
from nnmed.backend import precision
from nnmed.backend.arrays import array_module, in_memory_order, is_array, to_device
from nnmed.errors import DeviceError, GradientError, ShapeError, UsageError

_leaf_lock = threading.RLock()  # two threads may bring gradients to one leaf


def backward(output: Tensor, gradient=None, retain_graph=None, create_graph=False) -> None:
    """Add gradients to the leaves; see :meth:`Tensor.backward`."""
    _Walk(retain_graph, create_graph).run([(output, gradient)])


def grad(
    outputs,
    inputs,
    grad_outputs=None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """Return the gradients of `outputs` by `inputs`, leaving every ``grad`` untouched.

    Parameters
    ----------
    outputs, inputs : Tensor or sequence of Tensor
        Inputs may be leaves or the results of operations.
    grad_outputs : Tensor or sequence of (Tensor or None), optional
        Gradient of some scalar by each output; 1 for scalars.
    retain_graph : bool, optional
        Keep the graph for another backward. Default: the value of `create_graph`.
    create_graph : bool
        Record the backward pass, so that the gradients can be differentiated.
    allow_unused : bool
        Return None for an input that the outputs do not depend on, instead of an error.

    Returns
    -------
    tuple of Tensor
        One for each input.

    Raises
    ------
    GradientError
        As in :meth:`Tensor.backward`, and for an unused input.
    """
    outputs, inputs = _tensors("outputs", outputs), _tensors("inputs", inputs)
    if grad_outputs is None:
        grad_outputs = [None] * len(outputs)
    elif isinstance(grad_outputs, Tensor) or is_array(grad_outputs):
        grad_outputs = [grad_outputs]
    else:
        grad_outputs = list(grad_outputs)
    if len(grad_outputs) != len(outputs):
        raise ShapeError(f"{len(outputs)} outputs, but {len(grad_outputs)} grad_outputs")
    for index, tensor in enumerate(inputs):
        if not tensor._requires_grad:
            raise GradientError(f"input {index} does not require a gradient")
    walk = _Walk(retain_graph, create_graph, targets=[_edge(tensor) for tensor in inputs])
    walk.run(list(zip(outputs, grad_outputs)))
    gradients = [walk.found.get(_edge(tensor)) for tensor in inputs]
    for index, gradient in enumerate(gradients):
        if gradient is None and not allow_unused:
            raise GradientError(
                f"input {index} was not used to compute the outputs; "
                "pass allow_unused=True to get None for it"
            )
    return tuple([g if g is None else _tensor(g) for g in gradients])


class _Walk:
    """One backward pass.

    Gradients travel as Tensors while the pass itself is recorded, and else as bare arrays.
    """

    def __init__(self, retain_graph, create_graph, targets=None):
        self.create_graph = create_graph
        self.retain_graph = create_graph if retain_graph is None else retain_graph
        # Without targets, gradients are added to all leaves.
        self.targets = None if targets is None else set(targets)
        self.found: dict = {}
        self.needed: set | None = None
        self.pending: dict = {}  # what has arrived at each op so far
        self.heap: list[tuple[int, Op]] = []

    def run(self, roots) -> None:
        if self.targets is not None:
            self.needed = _ops_between([_edge(output) for output, _ in roots], self.targets)
        outer, outer_format = modes.state.backward_of, precision.state.format
        # Infinities and NaN are values here; detect_anomaly() finds where they come from.
        with modes.set_grad_enabled(self.create_graph), np.errstate(all="ignore"):
            for output, gradient in roots:
                edge, gradient = _edge(output), _initial_gradient(output, gradient)
                gradient = gradient if self.create_graph else gradient._array
                self.deliver(edge, gradient if isinstance(edge, Op) else _copy(gradient))
            try:
                while self.heap:
                    modes.state.backward_of = op = heapq.heappop(self.heap)[1]
                    self.visit(op, self.pending.pop(op))
            finally:
                modes.state.backward_of, precision.state.format = outer, outer_format

    def visit(self, op: Op, dy) -> None:
        if isinstance(dy, np.generic):  # NumPy makes 0-d results scalars
            dy = np.asarray(dy)
        if self.targets is not None:
            if op in self.targets:
                self.found[op] = _copy(dy)
            if op not in self.needed:
                return
        if op.released:
            raise GradientError(
                f"backward came to {op.name} at {op.location}, whose arrays an earlier backward "
                "released: pass retain_graph=True to that one"
            )
        gradients = self.differentiate(op, dy)
        for edge, gradient, shape in zip(op.edges, gradients, op.input_shapes):
            if edge is None or gradient is None:
                continue
            if gradient.shape != shape:
                raise GradientError(
                    f"{op.name}.backward gave a gradient of shape {gradient.shape} for an input "
                    f"of shape {shape}"
                )
            first = not isinstance(edge, Op) and self.arrived(edge) is None
            if first and _is_shared(gradient, op, dy, gradients):
                gradient = _copy(gradient)
            self.deliver(edge, gradient)
        if not self.retain_graph:
            op.release()

    def differentiate(self, op: Op, dy) -> tuple:
        precision.state.format = op.precision
        if op.checkpoint is not None:
            restore(op)
        if observers:
            op.began = perf_counter()
        plain = self.create_graph or (op.arithmetic and type(dy) is np.ndarray)
        gradients = op.backward(dy) if plain else op.fused_backward(dy)
        if not isinstance(gradients, tuple):
            gradients = (gradients,)
        if len(gradients) != len(op.edges):
            raise GradientError(
                f"{op.name}.backward gave {len(gradients)} gradients for {len(op.edges)} inputs"
            )
        if observers:
            tensors = tuple([g if g is None else _tensor(g) for g in gradients])
            for observer in tuple(observers):
                observer.backward(op, _tensor(dy), tensors)
        return gradients

    def deliver(self, edge, gradient) -> None:
        """Add `gradient` to what has arrived at `edge`, an Op or a leaf."""
        if isinstance(edge, Op):
            if edge in self.pending:
                gradient = _sum(self.pending[edge], gradient)
            else:
                heapq.heappush(self.heap, (-edge.order, edge))
            self.pending[edge] = gradient
        elif self.targets is None:
            with _leaf_lock:
                before = self.arrived(edge)
                edge.grad = _tensor(gradient if before is None else _sum(before, gradient))
        elif edge in self.targets:
            before = self.arrived(edge)
            self.found[edge] = gradient if before is None else _sum(before, gradient)

    def arrived(self, leaf: Tensor):
        """Return what has been added up for a leaf so far, or None."""
        if self.targets is not None:
            return self.found.get(leaf)
        return leaf.grad if leaf.grad is None or self.create_graph else leaf.grad._array


def _edge(tensor: Tensor):
    return tensor if tensor._op is None else tensor._op


def _tensors(name: str, values) -> list:
    values = (values,) if isinstance(values, Tensor) else values
    try:
        values = list(values)
    except TypeError:
        values = [values]
    for value in values:
        if not isinstance(value, Tensor):
            raise UsageError(f"grad: {name} must be Tensors, got {type(value).__name__}")
    return values


def _array(gradient):
    return gradient._array if isinstance(gradient, Tensor) else gradient


def _tensor(gradient) -> Tensor:
    if isinstance(gradient, Tensor):
        return gradient
    return Tensor._wrap(np.asarray(gradient) if isinstance(gradient, np.generic) else gradient)


def _sum(a, b):
    if isinstance(a, (np.ndarray, Tensor)):
        return a + b
    return in_memory_order(np.add, a, b)


def _copy(gradient):
    return gradient.clone() if isinstance(gradient, Tensor) else gradient.copy(order="K")


def _is_shared(gradient, op: Op, dy, gradients: tuple) -> bool:
    """Tell whether the array of `gradient`, one of those that `op` gave, is not its own."""
    array = _array(gradient)
    if 0 in array.strides:  # repeats an element: good for reading only
        return True
    held = [_array(dy), *op.kept_arrays(), *[_array(g) for g in gradients if g is not None]]
    # An op that moves its input to another device has arrays of two kinds.
    held = [other for other in held if type(other) is type(array)]
    return sum([np.may_share_memory(array, other) for other in held]) > 1  # itself is one of them


def _initial_gradient(output: Tensor, gradient) -> Tensor:
    if not output._requires_grad:
        raise GradientError(
            "backward from a tensor that does not depend on any tensor with requires_grad=True"
        )
    if gradient is None:
        if output._array.size != 1:
            raise GradientError(
                f"backward without a gradient needs a scalar, this tensor has shape "
                f"{output.shape}: reduce it with .sum() or .mean(), or pass gradient="
            )
        ones = array_module(output._array).ones(output.shape, output.dtype)
        return Tensor._wrap(ones)
    if not isinstance(gradient, Tensor):
        gradient = Tensor._wrap(_as_array(gradient, output))
    if gradient.device != output.device:
        raise DeviceError(
            f"the gradient is on {gradient.device} and the output on {output.device}: move one "
            "with .to(device)"
        )
    if gradient.shape != output.shape:
        raise ShapeError(f"gradient has shape {gradient.shape}, the output has {output.shape}")
    if gradient.dtype != output.dtype:
        raise GradientError(f"gradient is {gradient.dtype}, the output is {output.dtype}")
    return gradient


def _as_array(gradient, output: Tensor):
    """Return an array or numbers with the output's dtype, numbers on its device as well."""
    try:
        if is_array(gradient):
            return array_module(gradient).asarray(gradient, output.dtype)
        return to_device(np.asarray(gradient, output.dtype), output.device)
    except (TypeError, ValueError):
        raise UsageError(f"the gradient must be made of numbers, got {gradient!r}") from None


def _ops_between(roots, targets: set) -> set:
    """Return the ops reachable from `roots` through which a target is reached."""
    reachable, stack = set(), [edge for edge in roots if isinstance(edge, Op)]
    while stack:
        op = stack.pop()
        if op not in reachable:
            reachable.add(op)
            stack.extend(edge for edge in op.edges if isinstance(edge, Op))
    needed: set = set()
    for op in sorted(reachable, key=lambda op: op.order):  # inputs before outputs
        if op.released or any(edge in needed or edge in targets for edge in op.edges):
            needed.add(op)
    return needed
