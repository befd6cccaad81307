"""Matrix products: matmul, linear, einsum."""

from __future__ import annotations

import itertools
import math

import numpy as np

from nnmed.autograd import Notation, Op, Tensor
from nnmed.errors import ShapeError, UsageError
from nnmed.kernels.einsum import einsum as sum_products
from nnmed.kernels.matmul import matmul as product
from nnmed.ops.arguments import as_tensor, broadcast_shapes, check_same_dtype, operands
from nnmed.ops.indexing import getitem
from nnmed.ops.reduction import sum
from nnmed.ops.shape import broadcast_to, permute, reshape, transpose

_DY = r"\frac{\partial L}{\partial Y}"


class MatMul(Op):
    """Y = A B for (stacks of) matrices,   dA = dY B^T,   dB = A^T dY"""

    forward_latex = r"Y = A B"
    backward_latex = {
        "a": r"\frac{\partial L}{\partial A} = " + _DY + r"\, B^{\mathsf{T}}",
        "b": r"\frac{\partial L}{\partial B} = A^{\mathsf{T}}\, " + _DY,
    }

    def notation(self):
        return Notation(symbols={"a": "A", "b": "B"})

    def forward(self, a, b):
        self.keep(inputs=[i for i in (0, 1) if self.needs[1 - i]])
        return product(a, b)

    def backward(self, dy):
        a, b = self.inputs
        da = MatMul()(dy, transpose(b, -1, -2)) if self.needs[0] else None
        return da, MatMul()(transpose(a, -1, -2), dy) if self.needs[1] else None

    def fused_backward(self, dy):
        a, b = self.inputs
        da = product(dy, b._array.swapaxes(-1, -2)) if self.needs[0] else None
        return da, product(a._array.swapaxes(-1, -2), dy) if self.needs[1] else None

    def flops(self, inputs, output):
        return 2 * int(np.prod(output, dtype=np.int64)) * inputs[0][-1]


class Linear(Op):
    """Y = X W^T + b,   dX = dY W,   dW = dY^T X,   db = sum of the rows of dY"""

    forward_latex = r"Y = X W^{\mathsf{T}} + b"
    backward_latex = {
        "x": r"\frac{\partial L}{\partial X} = " + _DY + r"\, W",
        "weight": r"\frac{\partial L}{\partial W} = \left(" + _DY + r"\right)^{\mathsf{T}} X",
        "bias": r"\frac{\partial L}{\partial b_j} = \sum_i \frac{\partial L}{\partial Y_{ij}}",
    }

    def notation(self):
        no_bias = {} if len(self.input_shapes) > 2 else {"b": 0}
        return Notation(no_bias, symbols={"x": "X", "weight": "W"})

    def forward(self, x, weight, bias=None):
        self.keep(inputs=[i for i in (0, 1) if self.needs[1 - i]])
        y = product(x, weight.T)
        if bias is not None:
            y += bias
        return y

    def backward(self, dy):
        x, weight = self.inputs[:2]
        dx = MatMul()(dy, weight) if self.needs[0] else None
        dw = MatMul()(transpose(dy, 0, 1), x) if self.needs[1] else None
        if len(self.needs) == 2:
            return dx, dw
        return dx, dw, sum(dy, 0) if self.needs[2] else None

    def fused_backward(self, dy):
        x, weight = self.inputs[:2]
        dx = product(dy, weight._array) if self.needs[0] else None
        dw = product(dy.T, x._array) if self.needs[1] else None
        return (dx, dw, dy.sum(0))[: len(self.needs)]

    def flops(self, inputs, output):
        return 2 * int(np.prod(output, dtype=np.int64)) * inputs[1][1]


class Einsum(Op):
    """y = einsum of the operands; the gradient of one is an einsum of dy and the others

    In the formulas, i is a value for every label; i_O are those of the labels O of the output,
    and operand k has the labels L_k. Within an operand no label repeats, and a label has one
    length in all of them (:func:`einsum` takes diagonals and drops what would be broadcast first).
    """

    forward_latex = r"y_j = \sum_{i:\,i_O=j} \prod_k x^{(k)}_{i_{L_k}}"
    backward_latex = {
        "arrays": r"\frac{\partial L}{\partial x^{(m)}_j} = \sum_{i:\,i_{L_m}=j} "
        r"\frac{\partial L}{\partial y_{i_O}} \prod_{k:\,k \ne m} x^{(k)}_{i_{L_k}}"
    }

    def __init__(self, labels: list[str], output: str):
        self.labels, self.output_labels = labels, output

    def notation(self):
        known = sorted({label for own in self.labels for label in own})
        places = [
            np.array([known.index(label) for label in own], int)
            for own in (self.output_labels, *self.labels)
        ]
        lengths = dict(zip("".join(self.labels), itertools.chain(*self.input_shapes)))

        def shape_of_j(indices):  # those of operand m, or else of the output
            own = self.labels[indices["m"]] if "m" in indices else self.output_labels
            return tuple([lengths[label] for label in own])

        operands = len(self.labels)
        every = tuple([lengths[label] for label in known])
        return Notation(
            {"O": places[0], "L": lambda k: places[1 + k]},
            ranges={"i": every, "j": shape_of_j, "k": operands, "m": operands},
        )

    def forward(self, *arrays):
        # The gradient of an operand is made of all the others.
        wanted = self.needs.count(True)
        self.keep(inputs=[i for i, need in enumerate(self.needs) if wanted > need])
        return sum_products(self.labels, self.output_labels, *arrays)

    def backward(self, dy):
        return tuple(
            self._gradient(index, dy) if need else None for index, need in enumerate(self.needs)
        )

    def _gradient(self, index: int, dy: Tensor) -> Tensor:
        own = self.labels[index]
        others = [i for i in range(len(self.labels)) if i != index]
        known = set(self.output_labels).union(*(self.labels[i] for i in others))
        # A label that only this operand has was summed alone: dy repeats along it.
        target = "".join(label for label in own if label in known)
        labels = [self.output_labels, *(self.labels[i] for i in others)]
        gradient = Einsum(labels, target)(dy, *(self.inputs[i] for i in others))
        lengths = self.input_shapes[index]
        kept = [n if label in known else 1 for label, n in zip(own, lengths)]
        return broadcast_to(reshape(gradient, kept), lengths)

    def flops(self, inputs, output):
        sizes = {c: n for labels, shape in zip(self.labels, inputs) for c, n in zip(labels, shape)}
        return len(inputs) * int(np.prod(list(sizes.values()), dtype=np.int64))


def matmul(a, b) -> Tensor:
    """Return the matrix product of `a` and `b`, with NumPy's rules for 1-d and stacks."""
    a, b = operands(a, b)
    if a.ndim == 0 or b.ndim == 0:
        raise ShapeError(f"matmul: operands need a dimension, got {a.shape} and {b.shape}")
    inner = b.shape[-2] if b.ndim > 1 else b.shape[0]
    if a.shape[-1] != inner:
        raise ShapeError(f"matmul: {a.shape} @ {b.shape}: inner lengths {a.shape[-1]} != {inner}")
    if b.ndim == 1:
        y = matmul(a, reshape(b, -1, 1))
        return reshape(y, y.shape[:-1])
    if a.ndim == 1:
        y = matmul(reshape(a, 1, -1), b)
        return reshape(y, (*y.shape[:-2], y.shape[-1]))
    if b.ndim == 2 and a.ndim > 2:  # one tall product instead of a stack
        y = MatMul()(reshape(a, math.prod(a.shape[:-1]), a.shape[-1]), b)
        return reshape(y, (*a.shape[:-1], b.shape[-1]))
    if a.ndim > 2 or b.ndim > 2:
        stack = broadcast_shapes(a.shape[:-2], b.shape[:-2])
        a, b = (broadcast_to(t, (*stack, *t.shape[-2:])) for t in (a, b))
    return MatMul()(a, b)


def linear(input, weight, bias=None) -> Tensor:
    """Return ``input @ weight.T + bias``.

    Parameters
    ----------
    input : Tensor, (..., in_features)
    weight : Tensor, (out_features, in_features) or (in_features,)
    bias : Tensor, (out_features,) or (), optional

    Returns
    -------
    Tensor, (..., out_features)
    """
    input, weight = as_tensor(input), as_tensor(weight)
    bias = None if bias is None else as_tensor(bias)
    check_same_dtype("linear", input=input, weight=weight, bias=bias)
    if weight.ndim == 1:
        y = matmul(input, weight)
        return y if bias is None else y + bias
    if weight.ndim != 2:
        raise ShapeError(f"linear: weight must have 1 or 2 dimensions, got {weight.shape}")
    if input.ndim < 1 or input.shape[-1] != weight.shape[1]:
        raise ShapeError(
            f"linear: weight expects {weight.shape[-1]} input features: input {input.shape}, "
            f"weight {weight.shape}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ShapeError(f"linear: bias has shape {bias.shape}, expected {weight.shape[:1]}")
    rows = reshape(input, math.prod(input.shape[:-1]), input.shape[-1])
    y = Linear()(rows, weight) if bias is None else Linear()(rows, weight, bias)
    return reshape(y, (*input.shape[:-1], weight.shape[0]))


def einsum(equation: str, *tensors) -> Tensor:
    """Return the sum of products that `equation` says, as ``numpy.einsum``.

    Repeated labels in one operand (diagonals) and an ellipsis are understood.
    """
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        tensors = tuple(tensors[0])
    tensors = [as_tensor(t) for t in tensors]
    for index in range(1, len(tensors)):
        tensors[0], tensors[index] = operands(tensors[0], tensors[index])
    tensors = [operands(t, tensors[0])[0] for t in tensors]
    labels, output = _parse(equation, tensors)
    pairs = [_take_diagonals(t, own) for t, own in zip(tensors, labels)]
    pairs = _drop_broadcast(equation, pairs)
    return Einsum([own for _, own in pairs], output)(*(t for t, _ in pairs))


def _parse(equation: str, tensors) -> tuple[list[str], str]:
    """Return the labels of each operand and of the output, ellipses spelt out."""
    if not isinstance(equation, str):
        raise UsageError(f"einsum: the equation is a text such as 'ij,jk->ik', got {equation!r}")
    left, arrow, output = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    for term in (*terms, output):
        letters = term.replace("...", "", 1)
        if letters and not (letters.isascii() and letters.isalpha()):
            raise UsageError(f"einsum: {term!r} in {equation!r} is not made of letters and one ...")
    if len(terms) != len(tensors):
        raise ShapeError(f"einsum: {equation!r} names {len(terms)} operands, got {len(tensors)}")
    free = [c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in equation]
    extra = [t.ndim - len(term.replace("...", "")) for t, term in zip(tensors, terms)]
    for term, count, tensor in zip(terms, extra, tensors):
        if count < 0 or (count and "..." not in term):
            raise ShapeError(f"einsum: {term!r} does not fit a tensor of shape {tensor.shape}")
    widest = max((c for c, term in zip(extra, terms) if "..." in term), default=0)
    dots = "".join(free[:widest])
    labels = [t.replace("...", dots[widest - c :]) for t, c in zip(terms, extra)]
    if arrow:
        output = output.replace("...", dots)
        if len(set(output)) < len(output) or not set(output) <= set("".join(labels)):
            raise UsageError(
                f"einsum: each label of the output must appear in it once, and in an operand: "
                f"{equation!r}"
            )
        return labels, output
    once = [c for c in sorted(set("".join(labels)) - set(dots)) if "".join(labels).count(c) == 1]
    return labels, dots + "".join(once)


def _drop_broadcast(equation: str, pairs) -> list[tuple[Tensor, str]]:
    """Return the operands without dimensions of length 1 where another one is longer."""
    lengths: dict[str, int] = {}
    for tensor, labels in pairs:
        for label, length in zip(labels, tensor.shape):
            if lengths.setdefault(label, length) == 1:
                lengths[label] = length
            elif length not in (1, lengths[label]):
                raise ShapeError(
                    f"einsum: label {label!r} of {equation!r} has the lengths {lengths[label]} "
                    f"and {length}"
                )
    result = []
    for tensor, labels in pairs:
        kept = [i for i, label in enumerate(labels) if tensor.shape[i] == lengths[label]]
        shape = [tensor.shape[i] for i in kept]
        result.append((reshape(tensor, shape), "".join(labels[i] for i in kept)))
    return result


def _take_diagonals(tensor: Tensor, labels: str) -> tuple[Tensor, str]:
    """Return `tensor` with the diagonal taken of each repeated label."""
    for label in dict.fromkeys(labels):
        places = [i for i, c in enumerate(labels) if c == label]
        if len(places) > 1:
            if len({tensor.shape[i] for i in places}) > 1:
                raise ShapeError(f"einsum: label {label!r} has two lengths in {tensor.shape}")
            rest = [i for i in range(tensor.ndim) if i not in places]
            count = np.arange(tensor.shape[places[0]])
            tensor = getitem(permute(tensor, *places, *rest), (count,) * len(places))
            labels = label + "".join(labels[i] for i in rest)
    return tensor, labels
