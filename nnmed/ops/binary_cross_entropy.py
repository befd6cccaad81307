"""Binary cross-entropy of logits and of probabilities."""

from __future__ import annotations

import math

from nnmed.autograd import Tensor
from nnmed.backend.arrays import array_module
from nnmed.errors import ShapeError, UsageError
from nnmed.kernels import select
from nnmed.ops.activation import sigmoid
from nnmed.ops.arguments import as_tensor, check_same_dtype, is_checked
from nnmed.ops.elementwise import log
from nnmed.ops.loss_base import (
    TO_ELEMENT,
    OnePassLoss,
    array_of,
    check_reduction,
    common_shape,
    constant,
    pair_notation,
    per_element,
)
from nnmed.ops.selection import where

_DX = r"\frac{\partial L}{\partial x_i} = " + TO_ELEMENT
_DT = r"\frac{\partial L}{\partial t_i} = " + TO_ELEMENT


class BCEWithLogits(OnePassLoss):
    """y = mean (or sum, or none) of w ((1 - t) log(1 + e^x) + v t log(1 + e^-x))

    dx = w ((1 - t) s(x) - v t s(-x)) dy / n and dt = w (v log(1 + e^-x) - log(1 + e^x)) dy / n
    with s the sigmoid, v the weight of positives, n the number of elements for the mean,
    else 1. No probability is computed, so none is clipped: the loss is exact for all x.
    """

    forward_latex = (
        r"y = \operatorname*{reduce}_i\, w_i \left((1 - t_i) \ln(1 + e^{x_i}) "
        r"+ v_i\, t_i \ln(1 + e^{-x_i})\right)"
    )
    backward_latex = {
        "input": _DX + r"w_i \left((1 - t_i)\, \sigma(x_i) - v_i\, t_i\, \sigma(-x_i)\right)",
        "target": _DT + r"w_i \left(v_i \ln(1 + e^{-x_i}) - \ln(1 + e^{x_i})\right)",
    }

    def __init__(self, weight, pos_weight, reduction: str):
        self.weight, self.pos_weight, self.reduction = weight, pos_weight, reduction

    def notation(self):
        return pair_notation(self, w=self.weight, v=self.pos_weight)

    def forward(self, input, target):
        return self.in_one_pass(input, target)

    def evaluate(self, input, target, gradient):
        return select("loss", input).binary_cross_entropy_with_logits(
            input, target, self.weight, self.pos_weight, self.reduction, gradient
        )

    def backward(self, dy):
        x, target = self.inputs
        weight, pos_weight = (
            1.0 if w is None else Tensor._wrap(w) for w in (self.weight, self.pos_weight)
        )
        here = per_element(dy, self.reduction, x.numel()) * weight
        dx = dt = None
        if self.needs[0]:
            dx = here * ((1.0 - target) * sigmoid(x) - pos_weight * target * sigmoid(-x))
        if self.needs[1]:
            dt = here * ((pos_weight - 1.0) * softplus_of_minus(x) - x)
        return dx, dt

    def flops(self, inputs, output):
        return 14 * math.prod(inputs[0])


class BCE(OnePassLoss):
    """y = mean (or sum, or none) of -w (t log x + (1 - t) log(1 - x)),   0 log 0 = 0

    dx = w ((1 - t) / (1 - x) - t / x) dy / n with 0 / 0 = 0, and
    dt = w (log(1 - x) - log x) dy / n; n is the number of elements for the mean, else 1.
    """

    forward_latex = (
        r"y = \operatorname*{reduce}_i\, w_i \left(-t_i \ln x_i - (1 - t_i) \ln(1 - x_i)\right)"
    )
    backward_latex = {
        "input": _DX + r"w_i \left(\frac{1 - t_i}{1 - x_i} - \frac{t_i}{x_i}\right)",
        "target": _DT + r"w_i \left(\ln(1 - x_i) - \ln x_i\right)",
    }

    def __init__(self, weight, reduction: str):
        self.weight, self.reduction = weight, reduction

    def notation(self):
        return pair_notation(self, w=self.weight)

    def forward(self, input, target):
        return self.in_one_pass(input, target)

    def evaluate(self, input, target, gradient):
        return select("loss", input).binary_cross_entropy(
            input, target, self.weight, self.reduction, gradient
        )

    def backward(self, dy):
        x, target = self.inputs
        here = per_element(dy, self.reduction, x.numel())
        if self.weight is not None:
            here = here * Tensor._wrap(self.weight)
        dx = dt = None
        if self.needs[0]:
            above = where((x == 0) & (target == 0), 1.0, x)
            below = where((x == 1) & (target == 1), 1.0, 1.0 - x)
            dx = here * ((1.0 - target) / below - target / above)
        if self.needs[1]:
            zero = Tensor._wrap(array_module(x._array).zeros_like(x._array))
            dt = -here * (BCE(None, "none")(x, zero) + log(x))
        return dx, dt

    def flops(self, inputs, output):
        return 10 * math.prod(inputs[0])


def softplus_of_minus(x: Tensor, reduction: str = "none") -> Tensor:
    """Return log(1 + exp(-x)), the loss of a positive: exact for all x."""
    one = Tensor._wrap(array_module(x._array).ones_like(x._array))
    return BCEWithLogits(None, None, reduction)(x, one)


def binary_cross_entropy_with_logits(
    input, target, weight=None, *, reduction: str = "mean", pos_weight=None
) -> Tensor:
    """Return the binary cross-entropy of logits, as PyTorch's function of that name.

    For "tumour or none", of a patient or of each pixel; `pos_weight` is the simplest answer
    to few positives: about their share, inverted.

    Parameters
    ----------
    input : Tensor
        Logits, any shape.
    target : Tensor
        Probabilities in [0, 1], float, of the same shape.
    weight : Tensor, optional
        Factor of each element's loss; broadcast. The mean still divides by their number.
    reduction : {"mean", "sum", "none"}
    pos_weight : Tensor, optional
        Factor of the positives' part of the loss; broadcast.

    Raises
    ------
    ShapeError
        If the shapes differ, or a weight cannot be broadcast to them.
    GradientError
        If a weight requires a gradient: as in PyTorch, they are constants.
    """
    name = "binary_cross_entropy_with_logits"
    weights = dict(weight=weight, pos_weight=pos_weight)
    x, target, weights = check_binary(name, input, target, weights, reduction)
    return BCEWithLogits(*weights, reduction)(x, target)


def binary_cross_entropy(input, target, weight=None, *, reduction: str = "mean") -> Tensor:
    """Return the binary cross-entropy of probabilities, as PyTorch's function of that name.

    To train a network, prefer :func:`binary_cross_entropy_with_logits`: a float32
    probability rounds to 1 at a logit of 17, and its gradient with it. Arguments are those
    of that function, `input` in [0, 1].

    The value is exact: a positive of probability 0 costs infinity and has the gradient
    -infinity, and a probability of 1e-30 costs what it should. PyTorch lets no logarithm
    fall below -100, and no denominator of its gradient (x - t) / (x (1 - x)) below 1e-12:
    both are finite there. At x = t = 0 and x = t = 1 the loss is 0 and its slope 1 and -1,
    where PyTorch's is 0.

    Raises
    ------
    UsageError
        If an input lies outside [0, 1] or is NaN. On a GPU, the loss is NaN instead.
    """
    name = "binary_cross_entropy"
    x, target, weights = check_binary(name, input, target, dict(weight=weight), reduction)
    p = x._array
    if is_checked(p) and p.size and not (p.min() >= 0 and p.max() <= 1):
        raise UsageError(
            f"{name}: input holds values outside [0, 1] (from {p.min()} to {p.max()}): pass "
            "probabilities, or logits to binary_cross_entropy_with_logits"
        )
    return BCE(*weights, reduction)(x, target)


def check_binary(name, input, target, weights, reduction):
    """Return input and target as tensors, and the constant weights as arrays."""
    check_reduction(name, reduction)
    x, target = as_tensor(input), as_tensor(target)
    weights = {key: constant(name, key, w, x) for key, w in weights.items()}
    check_same_dtype(name, input=x, target=target, **weights)
    if x.shape != target.shape:
        raise ShapeError(f"{name}: target {target.shape} must have the shape of input {x.shape}")
    for key, w in weights.items():
        if w is not None and common_shape(w.shape, x.shape) != x.shape:
            raise ShapeError(f"{name}: {key} {w.shape} cannot be broadcast to input {x.shape}")
    return x, target, [array_of(w) for w in weights.values()]
