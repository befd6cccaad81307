"""The focal loss: cross-entropy that turns away from what is easy."""

from __future__ import annotations

import numpy as np

from nnmed.autograd import Tensor
from nnmed.errors import ShapeError, UsageError
from nnmed.ops.arguments import as_tensor, check_same_dtype
from nnmed.ops.binary_cross_entropy import softplus_of_minus
from nnmed.ops.elementwise import exp, log
from nnmed.ops.label_map import segmentation
from nnmed.ops.loss_base import check_reduction, reduced
from nnmed.ops.reduction import sum
from nnmed.ops.selection import where
from nnmed.ops.shape import reshape, unsqueeze


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
    factor = None if weights is None else weights[maps.labels]
    if maps.kept is not None:
        factor = maps.kept.astype(maps.input.dtype) * (1 if factor is None else factor)
    losses = _focal(_margin(maps), gamma)
    if factor is not None:
        losses = losses * Tensor._wrap(factor)
    if reduction != "mean":
        return reduced(losses, reduction)
    return sum(losses) * (1 / max(maps.count(), 1))


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
    if not (positive | (t._array == 0)).all():
        raise UsageError(f"{name}: targets must be 0 or 1")
    losses = _focal(where(Tensor._wrap(positive), x, -x), gamma)
    if alpha >= 0:
        losses = losses * Tensor._wrap(np.where(positive, alpha, 1 - alpha).astype(x.dtype))
    return reduced(losses, reduction)


def _focal(margin: Tensor, gamma: float) -> Tensor:
    """Return -(1 - p)^gamma log p for p = sigmoid(margin).

    1 - p is taken as the exponential of its logarithm: its power has a slope everywhere.
    """
    losses = softplus_of_minus(margin)
    return exp(softplus_of_minus(-margin) * -gamma) * losses if gamma else losses


def _margin(maps) -> Tensor:
    """Return the logit of being right, (N, ...): how far a pixel's label is ahead.

    For a softmax that is x_t - log sum over c other than t of exp(x_c), since then
    p_t = sigmoid(margin).
    """
    x, shape = maps.input, maps.labels.shape
    if x.shape[1] == 1:
        one = Tensor._wrap(maps.labels == 1)
        logit = reshape(x, shape)
        return where(one, logit, -logit)
    classes = np.arange(x.shape[1]).reshape(-1, *[1] * (x.ndim - 2))
    right = classes == np.expand_dims(maps.labels, 1)
    largest = Tensor._wrap(np.where(right, -np.inf, x._array).max(1))
    right = Tensor._wrap(right)
    others = exp(where(right, -np.inf, x - unsqueeze(largest, 1)))
    return sum(where(right, x, 0.0), 1) - log(sum(others, 1)) - largest


def _class_weights(name, alpha, x):
    """Return the weight of each label as an array, or None."""
    if alpha is None:
        return None
    weights = np.asarray(alpha.numpy() if isinstance(alpha, Tensor) else alpha, x.dtype)
    if x.shape[1] == 1:
        if weights.size != 1 or not 0 <= float(weights.reshape(())) <= 1:
            raise UsageError(f"{name}: alpha must be a number in [0, 1] for one logit, got {alpha}")
        return np.array([1 - weights.item(), weights.item()], x.dtype)
    if weights.shape != (x.shape[1],):
        raise ShapeError(
            f"{name}: alpha {weights.shape} must hold a number for each of the {x.shape[1]} classes"
        )
    return weights


def _check_gamma(name, gamma) -> None:
    if not gamma >= 0:
        raise UsageError(f"{name}: gamma must not be negative, got {gamma}")
