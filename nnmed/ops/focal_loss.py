"""The focal loss: cross-entropy that turns away from what is easy."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from nnmed.autograd import Tensor
from nnmed.backend.arrays import to_device
from nnmed.errors import ShapeError, UsageError
from nnmed.kernels import select
from nnmed.ops.arguments import as_tensor, check_numbers, check_same_dtype, is_checked
from nnmed.ops.binary_cross_entropy import softplus_of_minus
from nnmed.ops.cross_entropy import PROBABILITY, class_notation, per_row, target_rows
from nnmed.ops.elementwise import exp
from nnmed.ops.label_map import segmentation
from nnmed.ops.loss_base import TO_ELEMENT, OnePassLoss, check_reduction, reduced
from nnmed.ops.reduction import sum
from nnmed.ops.selection import where
from nnmed.ops.softmax import log_softmax, softmax


class Focal(OnePassLoss):
    """y = mean (or sum, or none) of -w_t (1 - p_t)^g log p_t,   dx_c = s (p_c - [c = t]) dy / n

    p = softmax(x) over dimension 1, t the class index with weight w_t, and
    s = w_t ((1 - p_t)^g - g (1 - p_t)^(g-1) p_t log p_t). n is the number of rows for the
    mean, else 1; those with t = -1 are not counted.
    """

    forward_latex = (
        r"y = \operatorname*{reduce}_i \left(-w_{t_i}\, (1 - p_{it_i})^\gamma \ln p_{it_i}\right), "
        r"\quad " + PROBABILITY
    )
    backward_latex = {
        "input": r"\frac{\partial L}{\partial x_{ic}} = "
        + TO_ELEMENT
        + r"w_{t_i} \left((1 - p_{it_i})^\gamma - \gamma\, (1 - p_{it_i})^{\gamma - 1}\, p_{it_i} "
        r"\ln p_{it_i}\right) (p_{ic} - [c = t_i])"
    }

    def __init__(self, weight, gamma: float, reduction: str):
        self.weight, self.gamma, self.reduction = weight, gamma, reduction

    def notation(self):
        usual = class_notation(self, -1)
        return replace(usual, values={**usual.values, r"\gamma": self.gamma})

    def forward(self, input, target):
        return self.in_one_pass(input, target)

    def evaluate(self, input, target, gradient):
        return select("loss", input).focal_loss(
            input, target, self.weight, -1, self.gamma, self.reduction, gradient
        )

    def backward(self, dy):
        x, target = self.inputs
        hot = Tensor._wrap(target_rows(x, target._array, None, 0.0, -1))
        weighted = Tensor._wrap(target_rows(x, target._array, self.weight, 0.0, -1))
        p = softmax(x, 1)
        right, wrong = (sum(p * part, 1, keepdim=True) for part in (hot, 1.0 - hot))
        entropy = -sum(log_softmax(x, 1) * hot, 1, keepdim=True)
        safe = where(wrong == 0, 1.0, wrong)  # where it is 0 the slope is 0, its limit
        slope = safe**self.gamma + self.gamma * safe ** (self.gamma - 1) * right * entropy
        slope = where(wrong == 0, float(self.gamma == 0), slope)
        slope = slope * sum(weighted, 1, keepdim=True)
        count = (target._array.astype(np.int64) != -1).sum()
        return per_row(dy, self.reduction, count) * slope * (p - hot), None

    def flops(self, inputs, output):
        return 7 * math.prod(inputs[0])


def focal_loss(
    input,
    target,
    *,
    gamma: float = 2.0,
    alpha=None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Return -a_t (1 - p_t)^gamma log p_t of each pixel, p_t the probability of its label.

    For tumours that are rare among many easy pixels: a pixel that is right with p_t = 0.9
    counts 100 times less than in cross-entropy (gamma = 2), which this is for gamma = 0.
    Lin et al., "Focal loss for dense object detection", ICCV 2017, equations 4 and 5. No
    probability is clipped: value and gradient are exact for all logits.

    Parameters
    ----------
    input : Tensor
        Logits, (N, C, ...): a sigmoid for C = 1, else a softmax.
    target : Tensor
        Labels, integers, (N, ...) or (N, 1, ...).
    gamma : float
        At least 0.
    alpha : float or sequence, optional
        Balance: for C = 1 the weight of label 1 (that of label 0 is 1 - alpha), else a
        weight for each class, (C,). It does not enter the divisor of the mean.
    ignore_index : int
        Label of pixels that take no part.
    reduction : {"mean", "sum", "none"}
        "mean" divides by the number of pixels that are not ignored (0 if all are), as for
        cross-entropy; the paper divides by the number of positives: take the sum for that.
        "none" gives (N, ...), 0 where ignored.
    """
    name = "focal_loss"
    check_reduction(name, reduction)
    _check_gamma(name, gamma)
    maps = segmentation(name, input, target, ignore_index)
    weights = _class_weights(name, alpha, maps.input)
    x, target = maps.with_background().input, maps.marked()
    return Focal(weights, float(gamma), reduction)(x, target)


def sigmoid_focal_loss(
    inputs, targets, alpha: float = 0.25, gamma: float = 2.0, reduction: str = "none"
) -> Tensor:
    """Return the focal loss of independent logits, as ``torchvision.ops.sigmoid_focal_loss``.

    For detection, where each anchor has a logit for each class, and for findings that do not
    exclude each other. See :func:`focal_loss`.

    Parameters
    ----------
    inputs : Tensor
        Logits, any shape.
    targets : Tensor
        0 or 1, floats of that shape.
    alpha : float
        Weight of positives, 1 - alpha that of negatives; below 0 there is none.
    gamma : float
    reduction : {"none", "mean", "sum"}
    """
    name = "sigmoid_focal_loss"
    check_reduction(name, reduction)
    _check_gamma(name, gamma)
    x, t = as_tensor(inputs), as_tensor(targets)
    check_same_dtype(name, inputs=x, targets=t)
    if x.shape != t.shape:
        raise ShapeError(f"{name}: targets {t.shape} must have the shape of inputs {x.shape}")
    positive = t._array == 1
    if is_checked(positive) and not (positive | (t._array == 0)).all():
        raise UsageError(f"{name}: targets must be 0 or 1")
    losses = _focal(where(Tensor._wrap(positive), x, -x), gamma)
    if alpha >= 0:
        weights = np.where(positive, x.dtype.type(alpha), x.dtype.type(1 - alpha))
        losses = losses * Tensor._wrap(weights)
    return reduced(losses, reduction)


def _focal(margin: Tensor, gamma: float) -> Tensor:
    """Return -(1 - p)^gamma log p for p = sigmoid(margin).

    1 - p is taken as the exponential of its logarithm: its power has a slope everywhere.
    """
    losses = softplus_of_minus(margin)
    return exp(softplus_of_minus(-margin) * -gamma) * losses if gamma else losses


def _class_weights(name, alpha, x):
    """Return the weight of each label as an array, or None."""
    if alpha is None:
        return None
    weights = np.asarray(alpha.numpy() if isinstance(alpha, Tensor) else alpha, x.dtype)
    if x.shape[1] == 1:
        if weights.size != 1 or not 0 <= float(weights.reshape(())) <= 1:
            raise UsageError(f"{name}: alpha must be a number in [0, 1] for one logit, got {alpha}")
        weights = np.array([1 - weights.item(), weights.item()], x.dtype)
    elif weights.shape != (x.shape[1],):
        raise ShapeError(
            f"{name}: alpha {weights.shape} must hold a number for each of the {x.shape[1]} classes"
        )
    return to_device(weights, x.device)


def _check_gamma(name, gamma) -> None:
    check_numbers(name, gamma=gamma)
    if not gamma >= 0:
        raise UsageError(f"{name}: gamma must not be negative, got {gamma}")
