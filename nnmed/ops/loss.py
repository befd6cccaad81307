"""Losses between a prediction and a target of the same shape."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import numpy as np

from nnmed.autograd import Tensor
from nnmed.errors import ShapeError, UsageError
from nnmed.kernels import select
from nnmed.ops.arguments import as_tensor, check_numbers, check_same_dtype, operands
from nnmed.ops.elementwise import sign
from nnmed.ops.loss_base import (
    TO_ELEMENT,
    OnePassLoss,
    check_reduction,
    common_shape,
    pair_notation,
    per_element,
    reduced,
)
from nnmed.ops.reduction import sum
from nnmed.ops.selection import clip
from nnmed.ops.shape import broadcast_to

_REDUCED = r"y = \operatorname*{reduce}_i\, "
_DX = r"\frac{\partial L}{\partial x_i} = " + TO_ELEMENT
_DT = r"\frac{\partial L}{\partial t_i} = " + TO_ELEMENT


class PairLoss(OnePassLoss):
    """y = mean (or sum, or none) of f(x - t),   dx = f'(x - t) dy / n,   dt = -dx

    n is the number of elements for the mean, else 1.
    """

    def __init__(self, reduction: str):
        self.reduction = reduction

    def notation(self):
        return pair_notation(self)

    def fused_backward(self, dy):
        dx = self.input_gradient(dy)
        return dx, np.negative(dx) if self.needs[1] else None

    def backward(self, dy):
        x, target = self.inputs
        dx = per_element(dy, self.reduction, x.numel()) * self.slope(x - target)
        return dx, -dx if self.needs[1] else None

    def flops(self, inputs, output):
        return 3 * math.prod(inputs[0])


class MSELoss(PairLoss):
    """y = mean (or sum, or none) of (x - t)^2,   dx = 2 (x - t) dy / n,   dt = -dx

    n is the number of elements for the mean, else 1.
    """

    forward_latex = _REDUCED + r"(x_i - t_i)^2"
    backward_latex = {
        "input": _DX + r"2 (x_i - t_i)",
        "target": _DT + r"2 (t_i - x_i)",
    }

    def forward(self, input, target):
        return self.in_one_pass(input, target)

    def evaluate(self, input, target, gradient):
        kernels = select("loss", input)
        return kernels.mse_loss(input, target, self.reduction, gradient)

    def slope(self, difference):
        return difference * 2.0


class L1Loss(PairLoss):
    """y = mean (or sum, or none) of |x - t|,   dx = sign(x - t) dy / n,   dt = -dx

    n is the number of elements for the mean, else 1. Where x = t the gradient is 0.
    """

    forward_latex = _REDUCED + r"|x_i - t_i|"
    backward_latex = {
        "input": _DX + r"\operatorname{sign}(x_i - t_i)",
        "target": _DT + r"\operatorname{sign}(t_i - x_i)",
    }

    def forward(self, input, target):
        return self.in_one_pass(input, target)

    def evaluate(self, input, target, gradient):
        kernels = select("loss", input)
        return kernels.l1_loss(input, target, self.reduction, gradient)

    def slope(self, difference):
        return sign(difference)


class SmoothL1Loss(PairLoss):
    """y = mean (or sum, or none) of d^2 / (2 b) if |d| < b else |d| - b / 2,   d = x - t

    dx = clip(d / b, -1, 1) dy / n and dt = -dx; n is the number of elements for the mean,
    else 1. Girshick, "Fast R-CNN", ICCV 2015, equation 3, with the width b (beta).
    """

    forward_latex = (
        _REDUCED + r"\begin{cases} d_i^2 / (2\beta) & |d_i| < \beta \\ "
        r"|d_i| - \beta / 2 & \text{else} \end{cases}, \quad d_i = x_i - t_i"
    )
    backward_latex = {
        "input": _DX + r"\min(\max(d_i / \beta, -1), 1)",
        "target": _DT + r"\min(\max(-d_i / \beta, -1), 1)",
    }

    def __init__(self, reduction: str, beta: float):
        self.reduction, self.beta = reduction, beta

    def notation(self):
        usual = super().notation()
        return replace(usual, values={**usual.values, r"\beta": self.beta})

    def forward(self, input, target):
        return self.in_one_pass(input, target)

    def evaluate(self, input, target, gradient):
        kernels = select("loss", input)
        return kernels.smooth_l1_loss(input, target, self.beta, self.reduction, gradient)

    def slope(self, difference):
        return clip(difference / self.beta, -1.0, 1.0)


def mse_loss(input, target, *, reduction: str = "mean", weight=None) -> Tensor:
    """Return the squared error, as ``torch.nn.functional.mse_loss``.

    For restoring images and for measures with mild noise, such as an age or a density; one
    wrong entry pulls hard: see :func:`huber_loss`.

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
    """Return the absolute error, as ``torch.nn.functional.l1_loss``.

    For sizes of lesions in mm, some of which are wrong: the best prediction is the median.
    Arguments are those of :func:`mse_loss`.
    """
    x, target = _pair("l1_loss", input, target, reduction)
    if weight is None:
        return L1Loss(reduction)(x, target)
    return _weighted("l1_loss", L1Loss("none")(x, target), input, weight, reduction)


def smooth_l1_loss(input, target, *, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """Return the absolute error, rounded to a parabola where it is below `beta`.

    As ``torch.nn.functional.smooth_l1_loss``; for the corners of a tumour's box.
    """
    x, target = _pair("smooth_l1_loss", input, target, reduction)
    check_numbers("smooth_l1_loss", beta=beta)
    if not beta >= 0:
        raise UsageError(f"smooth_l1_loss: beta must not be negative, got {beta}")
    op = L1Loss(reduction) if beta == 0 else SmoothL1Loss(reduction, float(beta))
    return op(x, target)


def huber_loss(input, target, reduction: str = "mean", delta: float = 1.0, weight=None) -> Tensor:
    """Return `delta` times :func:`smooth_l1_loss` with that width: slope `delta` far out.

    As ``torch.nn.functional.huber_loss``. For sizes and doses with some wrong entries, which
    the square would let decide. `weight` is a factor for each element, of the input's
    shape; unlike in :func:`mse_loss`, the mean divides by the number of elements.
    """
    name = "huber_loss"
    check_numbers(name, delta=delta)
    if not 0 < delta < math.inf:
        raise UsageError(f"{name}: delta must be positive and finite, got {delta}")
    x, target = _pair(name, input, target, reduction)
    losses = SmoothL1Loss(reduction if weight is None else "none", float(delta))(x, target)
    losses = losses if delta == 1 else losses * float(delta)
    return losses if weight is None else reduced(_times(name, losses, input, weight), reduction)


def _pair(name, input, target, reduction):
    """Return input and target with one dtype and one shape."""
    check_reduction(name, reduction)
    x, target = operands(input, target)
    check_same_dtype(name, input=x, target=target)
    if x.shape == target.shape:
        return x, target
    shape = common_shape(x.shape, target.shape)
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
    """Return the weighted losses, reduced; the mean divides by the sum of the weights."""
    losses, weight = _times(name, losses, input, weight), as_tensor(weight)
    return sum(losses) / sum(weight) if reduction == "mean" else reduced(losses, reduction)


def _times(name, losses, input, weight):
    weight, shape = as_tensor(weight), as_tensor(input).shape
    if weight.shape != shape:
        raise ShapeError(f"{name}: weight {weight.shape} must have the shape of input {shape}")
    return losses * weight
