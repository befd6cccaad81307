"""Backward: walk the graph from the outputs to the leaves, newest op first.

Ops are numbered as they run, so that taking the greatest number first visits every op after
all ops that used its output: a heap replaces recursion and topological sorting.
"""

from __future__ import annotations

import heapq

import numpy as np

from nnmed.autograd import modes
from nnmed.autograd.op import Op, observers
from nnmed.autograd.tensor import Tensor
from nnmed.backend.arrays import array_module
from nnmed.errors import GradientError, ShapeError


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
    outputs, inputs = _sequence(outputs), _sequence(inputs)
    grad_outputs = [None] * len(outputs) if grad_outputs is None else _sequence(grad_outputs)
    if len(grad_outputs) != len(outputs):
        raise ShapeError(f"{len(outputs)} outputs, but {len(grad_outputs)} grad_outputs")
    for index, tensor in enumerate(inputs):
        if not tensor._requires_grad:
            raise GradientError(f"input {index} does not require a gradient")
    walk = _Walk(retain_graph, create_graph, targets=[_edge(tensor) for tensor in inputs])
    walk.run(list(zip(outputs, grad_outputs)))
    gradients = tuple(walk.found.get(_edge(tensor)) for tensor in inputs)
    for index, gradient in enumerate(gradients):
        if gradient is None and not allow_unused:
            raise GradientError(
                f"input {index} was not used to compute the outputs; "
                "pass allow_unused=True to get None for it"
            )
    return gradients


class _Walk:
    """One backward pass."""

    def __init__(self, retain_graph, create_graph, targets=None):
        self.create_graph = create_graph
        self.retain_graph = create_graph if retain_graph is None else retain_graph
        # Without targets, gradients are added to all leaves.
        self.targets = None if targets is None else set(targets)
        self.found: dict = {}
        self.needed: set | None = None
        self.pending: dict[Op, Tensor] = {}
        self.heap: list[tuple[int, Op]] = []

    def run(self, roots) -> None:
        if self.targets is not None:
            self.needed = _ops_between([_edge(output) for output, _ in roots], self.targets)
        with modes.set_grad_enabled(self.create_graph):
            for output, gradient in roots:
                self.deliver(_edge(output), _initial_gradient(output, gradient), owned=False)
            while self.heap:
                _, op = heapq.heappop(self.heap)
                self.visit(op, self.pending.pop(op))

    def visit(self, op: Op, dy: Tensor) -> None:
        if self.targets is not None and op in self.targets:
            self.found[op] = dy
        if self.needed is not None and op not in self.needed:
            return
        if op.released:
            raise GradientError(
                f"backward came a second time to {op.name} at {op.location}, whose arrays were "
                "released by the first: pass retain_graph=True to the first backward"
            )
        gradients = self.differentiate(op, dy)
        edges = op.edges
        if not self.retain_graph:
            op.release()
        for index, (edge, gradient) in enumerate(zip(edges, gradients)):
            if edge is not None and gradient is not None:
                # An array that is a view, or dy itself, may be somebody else's too.
                owned = gradient._array.base is None and not any(
                    gradient._array is other._array
                    for other in (dy, *gradients[:index])
                    if other is not None
                )
                self.deliver(edge, gradient, owned)

    def differentiate(self, op: Op, dy: Tensor) -> tuple:
        if op.fused_backward is not None and not self.create_graph:
            arrays = op.fused_backward(dy._array)
            arrays = arrays if isinstance(arrays, tuple) else (arrays,)
            gradients = tuple([None if a is None else Tensor._wrap(a) for a in arrays])
        else:
            modes.state.backward_of = op
            try:
                gradients = op.backward(dy)
            finally:
                modes.state.backward_of = None
            gradients = gradients if isinstance(gradients, tuple) else (gradients,)
        if len(gradients) != len(op.edges):
            raise GradientError(
                f"{op.name}.backward gave {len(gradients)} gradients for {len(op.edges)} inputs"
            )
        for gradient, shape, need in zip(gradients, op.input_shapes, op.needs):
            if need and gradient is not None and gradient._array.shape != shape:
                raise GradientError(
                    f"{op.name}.backward gave a gradient of shape {gradient.shape} for an input "
                    f"of shape {shape}"
                )
        for observer in tuple(observers):
            observer.backward(op, dy, gradients)
        return gradients

    def deliver(self, edge, gradient: Tensor, owned: bool) -> None:
        """Add `gradient` to what has arrived at `edge`, an Op or a leaf."""
        if isinstance(edge, Op):
            if edge in self.pending:
                self.pending[edge] = self.pending[edge] + gradient
            else:
                self.pending[edge] = gradient
                heapq.heappush(self.heap, (-edge.order, edge))
        elif self.targets is None:
            edge.grad = self.add(edge.grad, gradient, owned)
        elif edge in self.targets:
            self.found[edge] = self.add(self.found.get(edge), gradient, owned)

    def add(self, before, gradient: Tensor, owned: bool) -> Tensor:
        if before is not None:
            return before + gradient
        if self.create_graph or owned:
            return gradient
        return Tensor(gradient)  # a copy: two leaves must not share one gradient array


def _edge(tensor: Tensor):
    return tensor if tensor._op is None else tensor._op


def _sequence(tensors) -> list:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


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
        gradient = Tensor._wrap(np.asarray(gradient, output.dtype))
    if gradient.shape != output.shape:
        raise ShapeError(f"gradient has shape {gradient.shape}, the output has {output.shape}")
    if gradient.dtype != output.dtype:
        raise GradientError(f"gradient is {gradient.dtype}, the output is {output.dtype}")
    return gradient


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
