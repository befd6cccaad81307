"""Losses between a prediction and a target of the same shape."""

from __future__ import annotations

import math
import warnings

from nnmed.autograd import Op, Tensor
from nnmed.backend.arrays import array_module
from nnmed.errors import GradientError, ShapeError, UsageError
from nnmed.kernels import select
from nnmed.ops.activation import sigmoid
from nnmed.ops.arguments import as_tensor, check_same_dtype, operands
from nnmed.ops.elementwise import sign
from nnmed.ops.reduction import sum
from nnmed.ops.selection import clip
from nnmed.ops.shape import broadcast_to

REDUCTIONS = ("none", "mean", "sum")

_REDUCED = r"L = \operatorname{reduce}_i\, "
_DX = r"\frac{\partial L}{\partial x_i} = "


class PairLoss(Op):
    """L = mean (or sum, or none) of f(x - t),   dx = f'(x - t) dL / n,   dt = -dx

    n is the number of elements for the mean, else 1.
    """

    def __init__(self, reduction: str):
        self.reduction = reduction

    def fused_backward(self, dy):
        x, target = (tensor._array for tensor in self.inputs)
        dx = self.gradient(select("loss", x), dy, x, target)
        return dx, array_module(dx).asarray(-dx) if self.needs[1] else None

    def backward(self, dy):
        x, target = self.inputs
        dx = per_element(dy, self.reduction, x.numel()) * self.slope(x - target)
        return dx, -dx if self.needs[1] else None

    def flops(self, inputs, output):
        return 3 * math.prod(inputs[0])


class MSELoss(PairLoss):
    """L = mean (or sum, or none) of (x - t)^2,   dx = 2 (x - t) dL / n,   dt = -dx

    n is the number of elements for the mean, else 1.
    """

    forward_latex = _REDUCED + r"(x_i - t_i)^2"
    backward_latex = {
        "input": _DX + r"\frac{2}{n} (x_i - t_i)",
        "target": r"\frac{\partial L}{\partial t_i} = \frac{2}{n} (t_i - x_i)",
    }

    def forward(self, input, target):
        self.keep(inputs=(0, 1))
        return select("loss", input).mse_loss(input, target, self.reduction)

    def gradient(self, kernels, dy, x, target):
        return kernels.mse_loss_grad(dy, x, target, self.reduction)

    def slope(self, difference):
        return difference * 2.0


class L1Loss(PairLoss):
    """L = mean (or sum, or none) of |x - t|,   dx = sign(x - t) dL / n,   dt = -dx

    n is the number of elements for the mean, else 1. Where x = t the gradient is 0.
    """

    forward_latex = _REDUCED + r"|x_i - t_i|"
    backward_latex = {
        "input": _DX + r"\frac{1}{n} \operatorname{sign}(x_i - t_i)",
        "target": r"\frac{\partial L}{\partial t_i} = "
        r"\frac{1}{n} \operatorname{sign}(t_i - x_i)",
    }

    def forward(self, input, target):
        self.keep(inputs=(0, 1))
        return select("loss", input).l1_loss(input, target, self.reduction)

    def gradient(self, kernels, dy, x, target):
        return kernels.l1_loss_grad(dy, x, target, self.reduction)

    def slope(self, difference):
        return sign(difference)


class SmoothL1Loss(PairLoss):
    """L = mean (or sum, or none) of d^2 / (2 b) if |d| < b else |d| - b / 2,   d = x - t

    dx = clip(d / b, -1, 1) dL / n and dt = -dx; n is the number of elements for the mean,
    else 1. Girshick, "Fast R-CNN", ICCV 2015, equation 3, with the width b (beta).
    """

    forward_latex = (
        _REDUCED + r"\begin{cases} d_i^2 / (2\beta) & |d_i| < \beta \\ "
        r"|d_i| - \beta / 2 & \text{else} \end{cases}, \quad d = x - t"
    )
    backward_latex = {
        "input": _DX + r"\frac{1}{n} \min(\max(d_i / \beta, -1), 1)",
        "target": r"\frac{\partial L}{\partial t_i} = -\frac{1}{n} \min(\max(d_i / \beta, -1), 1)",
    }

    def __init__(self, reduction: str, beta: float):
        self.reduction, self.beta = reduction, beta

    def forward(self, input, target):
        self.keep(inputs=(0, 1))
        return select("loss", input).smooth_l1_loss(input, target, self.beta, self.reduction)

    def gradient(self, kernels, dy, x, target):
        return kernels.smooth_l1_loss_grad(dy, x, target, self.beta, self.reduction)

    def slope(self, difference):
        return clip(difference / self.beta, -1.0, 1.0)


class BCEWithLogits(Op):
    """L = mean (or sum, or none) of w ((1 - t) log(1 + e^x) + v t log(1 + e^-x))

    dx = w ((1 - t) s(x) - v t s(-x)) dL / n and dt = w (v log(1 + e^-x) - log(1 + e^x)) dL / n
    with s the sigmoid, v the weight of positives, n the number of elements for the mean,
    else 1. No probability is computed, so none is clipped: the loss is exact for all x.
    """

    forward_latex = (
        r"L = \operatorname{reduce}_i\, w_i \left((1 - t_i) \ln(1 + e^{x_i}) "
        r"+ v_i\, t_i \ln(1 + e^{-x_i})\right)"
    )
    backward_latex = {
        "input": _DX + r"\frac{w_i}{n} \left((1 - t_i)\, \sigma(x_i) - v_i\, t_i\, \sigma(-x_i)"
        r"\right)",
        "target": r"\frac{\partial L}{\partial t_i} = \frac{w_i}{n} "
        r"\left(v_i \ln(1 + e^{-x_i}) - \ln(1 + e^{x_i})\right)",
    }

    def __init__(self, weight, pos_weight, reduction: str):
        self.weight, self.pos_weight, self.reduction = weight, pos_weight, reduction

    def forward(self, input, target):
        self.keep(inputs=(0, 1))
        return select("loss", input).binary_cross_entropy_with_logits(
            input, target, self.weight, self.pos_weight, self.reduction
        )

    def fused_backward(self, dy):
        x, target = (tensor._array for tensor in self.inputs)
        kernels, dx, dt = select("loss", x), None, None
        if self.needs[0]:
            dx = kernels.binary_cross_entropy_with_logits_grad(
                dy, x, target, self.weight, self.pos_weight, self.reduction
            )
        if self.needs[1]:
            dt = kernels.binary_cross_entropy_with_logits_target_grad(
                dy, x, self.weight, self.pos_weight, self.reduction
            )
        return dx, dt

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


def per_element(dy: Tensor, reduction: str, count: float) -> Tensor:
    """Return the gradient that reaches each element's loss, ready to broadcast."""
    return dy * (1 / (count or 1)) if reduction == "mean" else dy


def softplus_of_minus(x: Tensor) -> Tensor:
    """Return log(1 + exp(-x)), which is the loss of a positive."""
    one = Tensor._wrap(array_module(x._array).ones_like(x._array))
    return BCEWithLogits(None, None, "none")(x, one)


def mse_loss(input, target, *, reduction: str = "mean", weight=None) -> Tensor:
    """Return the squared error, as ``torch.nn.functional.mse_loss``.

    Parameters
    ----------
    input, target : Tensor
        One shape; others are broadcast, with a warning.
    reduction : {"mean", "sum", "none"}
    weight : Tensor, optional
        A factor for each element, of the input's shape; the mean divides by its sum.
    """
    x, target = _pair("mse_loss", input, target, reduction)
    if weight is None:
        return MSELoss(reduction)(x, target)
    return _weighted("mse_loss", MSELoss("none")(x, target), input, weight, reduction)


def l1_loss(input, target, *, reduction: str = "mean", weight=None) -> Tensor:
    """Return the absolute error; arguments as for :func:`mse_loss`."""
    x, target = _pair("l1_loss", input, target, reduction)
    if weight is None:
        return L1Loss(reduction)(x, target)
    return _weighted("l1_loss", L1Loss("none")(x, target), input, weight, reduction)


def smooth_l1_loss(input, target, *, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """Return the absolute error, rounded to a parabola where it is below `beta`."""
    x, target = _pair("smooth_l1_loss", input, target, reduction)
    if not beta >= 0:
        raise UsageError(f"smooth_l1_loss: beta must not be negative, got {beta}")
    op = L1Loss(reduction) if beta == 0 else SmoothL1Loss(reduction, float(beta))
    return op(x, target)


def binary_cross_entropy_with_logits(
    input, target, weight=None, *, reduction: str = "mean", pos_weight=None
) -> Tensor:
    """Return the binary cross-entropy of logits, as PyTorch's function of that name.

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
    check_reduction(name, reduction)
    x, target = as_tensor(input), as_tensor(target)
    weight, pos_weight = constant(name, "weight", weight), constant(name, "pos_weight", pos_weight)
    check_same_dtype(name, input=x, target=target, weight=weight, pos_weight=pos_weight)
    if x.shape != target.shape:
        raise ShapeError(f"{name}: target {target.shape} must have the shape of input {x.shape}")
    for key, w in (("weight", weight), ("pos_weight", pos_weight)):
        if w is not None and _common_shape(w.shape, x.shape) != x.shape:
            raise ShapeError(f"{name}: {key} {w.shape} cannot be broadcast to input {x.shape}")
    return BCEWithLogits(array_of(weight), array_of(pos_weight), reduction)(x, target)


def check_reduction(name: str, reduction: str) -> None:
    """Raise UsageError unless `reduction` is one of PyTorch's."""
    if reduction not in REDUCTIONS:
        raise UsageError(f"{name}: reduction must be 'none', 'mean' or 'sum', got {reduction!r}")


def constant(name: str, argument: str, value) -> Tensor | None:
    """Return a weight (or None) as a copy, which no later change can reach.

    Raises GradientError if it asks for a gradient, which the loss does not give.
    """
    if value is None:
        return None
    if isinstance(value, Tensor) and value.requires_grad:
        raise GradientError(
            f"{name}: the loss has no gradient with respect to {argument}; pass {argument}.detach()"
        )
    return Tensor(value)


def array_of(tensor: Tensor | None):
    """Return the array of a tensor that may be missing."""
    return None if tensor is None else tensor._array


def _pair(name, input, target, reduction):
    """Return input and target with one dtype and one shape."""
    check_reduction(name, reduction)
    x, target = operands(input, target)
    check_same_dtype(name, input=x, target=target)
    if x.shape == target.shape:
        return x, target
    shape = _common_shape(x.shape, target.shape)
    if shape is None:
        raise ShapeError(f"{name}: input {x.shape} and target {target.shape} do not fit together")
    warnings.warn(
        f"{name}: target {target.shape} and input {x.shape} differ and are broadcast to {shape}; "
        "give them one shape",
        UserWarning,
        stacklevel=3,
    )
    return broadcast_to(x, shape), broadcast_to(target, shape)


def _weighted(name, losses, input, weight, reduction):
    weight = as_tensor(weight)
    if weight.shape != as_tensor(input).shape:
        raise ShapeError(
            f"{name}: weight {weight.shape} must have the shape of input {as_tensor(input).shape}"
        )
    losses = losses * weight
    if reduction == "none":
        return losses
    total = sum(losses)
    return total / sum(weight) if reduction == "mean" else total


def _common_shape(a, b):
    """Return the shape that two shapes broadcast to, or None."""
    shape = []
    for i in range(1, max(len(a), len(b)) + 1):
        m, n = (s[-i] if i <= len(s) else 1 for s in (a, b))
        if m != n and 1 not in (m, n):
            return None
        shape.insert(0, n if m == 1 else m)
    return tuple(shape)
