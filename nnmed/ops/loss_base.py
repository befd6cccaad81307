"""What all losses share: reductions, constant weights, gradients that come with the value."""

from __future__ import annotations

import math
import re
from functools import partial

import numpy as np

from nnmed.autograd import Notation, Op, Tensor, made_when_read
from nnmed.backend.arrays import array_module, is_array, to_device
from nnmed.errors import GradientError, UsageError
from nnmed.kernels import select
from nnmed.ops.reduction import mean, sum

REDUCTIONS = ("none", "mean", "sum")
# In formulas y = reduce_i of the losses of all i: their mean, their sum, or each by itself. The
# last is the gradient of one of them; n is the divisor of the mean, else 1.
_REDUCE = r"\operatorname*{reduce}_i"
_SHARE, _DY = r"\frac{1}{n} ", r"\frac{\partial L}{\partial y}"
TO_ELEMENT = _SHARE + _DY + r"\, "


def pair_notation(op, **weights) -> Notation:
    """Return how the formulas of a loss of pairs are read; i numbers all elements.

    `weights` are the symbols of weights, of which each is a number for every element or None.
    """
    shape = op.input_shapes[0]
    values = {"n": math.prod(shape), **dict.fromkeys(weights, 1)}
    for symbol, weight in weights.items():
        if weight is not None:
            values[symbol] = made_when_read(partial(_every, weight, shape))
    every = dict.fromkeys("xt" if op.reduction != "none" else "xty", np.ravel)
    return Notation(values, views=every)


def _every(weight, shape):
    """Return a weight for each element of a shape, in a row."""
    return np.broadcast_to(to_device(weight, "cpu"), shape).ravel()


class OnePassLoss(Op):
    """A loss whose kernel computes dx for dy = 1 together with y.

    A loss is the last op of a network, so its inputs are still in the cache then. The first
    backward takes that gradient, a later one (``retain_graph=True``) computes it anew.
    ``forward`` is to return ``self.in_one_pass(input, target)``.
    """

    def evaluate(self, input, target, gradient: bool):
        """Return the loss and, if `gradient`, its gradient by the input for dy = 1."""
        raise TypeError(f"{self.name} defines no evaluate")

    reduction = "mean"

    def latex(self):
        forward, backward = super().latex()
        return self._reduced(forward), {n: self._reduced(latex) for n, latex in backward.items()}

    def _reduced(self, latex: str) -> str:
        """Return a formula of the op with its reduction put in."""
        fold = {"mean": r"\frac{1}{n} \sum_i", "sum": r"\sum_i", "none": ""}[self.reduction]
        latex = latex.replace(_REDUCE, fold)
        if self.reduction == "none":
            latex = re.sub(r"^y = ", "y_i = ", latex.replace(_DY, _DY.replace("y", "y_i")))
        return latex if self.reduction == "mean" else latex.replace(_SHARE, "")

    def in_one_pass(self, input, target):
        """Return the loss, and keep the gradient if it is wanted."""
        loss, dx = self.evaluate(input, target, True in self.needs)
        self.keep(inputs=(0, 1), **({} if dx is None else {"dx": dx}))
        return loss

    def input_gradient(self, dy):
        """Return the gradient by the input."""
        x, target = (tensor._array for tensor in self.inputs)
        dx = self.kept.pop("dx", None)
        if dx is None:
            dx = self.evaluate(x, target, True)[1]
        if 0 < dy.ndim < dx.ndim:  # a loss for each row of classes
            dy = array_module(dy).expand_dims(dy, 1)
        return select("loss", x).times(dx, dy)

    def fused_backward(self, dy):
        return super().fused_backward(dy) if self.needs[1] else (self.input_gradient(dy), None)


def per_element(dy: Tensor, reduction: str, count) -> Tensor:
    """Return the gradient that reaches each element's loss, ready to broadcast."""
    return shared(dy, count) if reduction == "mean" else dy


def shared(x: Tensor, count) -> Tensor:
    """Return ``x / count``, x itself where that is 0.

    `count` is a number, or a 0-d array where the host does not know it.
    """
    if is_array(count):
        return x / Tensor._wrap(np.where(count == 0, 1, count).astype(x.dtype))
    return x * (1 / (count or 1))


def check_reduction(name: str, reduction: str, allowed=REDUCTIONS) -> None:
    """Raise UsageError unless `reduction` is one of PyTorch's."""
    if reduction not in allowed:
        names = f"{', '.join(map(repr, allowed[:-1]))} or {allowed[-1]!r}"
        raise UsageError(f"{name}: reduction must be {names}, got {reduction!r}")


def reduced(losses: Tensor, reduction: str) -> Tensor:
    """Return the losses, their mean or their sum."""
    if reduction == "none":
        return losses
    return mean(losses) if reduction == "mean" else sum(losses)


def constant(name: str, argument: str, value, x: Tensor) -> Tensor | None:
    """Return a weight (or None) as a copy on the device of x, which no later change can reach.

    Raises GradientError if it asks for a gradient, which the loss does not give.
    """
    if value is None:
        return None
    if isinstance(value, Tensor) and value.requires_grad:
        raise GradientError(
            f"{name}: the loss has no gradient with respect to {argument}; pass {argument}.detach()"
        )
    copy = Tensor(value)
    return copy if copy.device == x.device else copy.to(x.device)


def array_of(tensor: Tensor | None):
    """Return the array of a tensor that may be missing."""
    return None if tensor is None else tensor._array


def common_shape(a, b):
    """Return the shape that two shapes broadcast to, or None."""
    shape = []
    for i in range(1, max(len(a), len(b)) + 1):
        m, n = (s[-i] if i <= len(s) else 1 for s in (a, b))
        if m != n and 1 not in (m, n):
            return None
        shape.insert(0, n if m == 1 else m)
    return tuple(shape)
