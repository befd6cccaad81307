"""Margin losses of class scores: the right ones shall lie above the others."""

from __future__ import annotations

import numpy as np

from nnmed.autograd import Tensor
from nnmed.backend.arrays import array_module
from nnmed.errors import DTypeError, ShapeError, UsageError
from nnmed.ops.activation import relu
from nnmed.ops.arguments import as_tensor, check_numbers, check_same_dtype, is_checked, operands
from nnmed.ops.binary_cross_entropy import BCEWithLogits, check_binary, softplus_of_minus
from nnmed.ops.cross_entropy import check_classes, check_indices
from nnmed.ops.loss_base import check_reduction, constant, reduced
from nnmed.ops.reduction import mean, sum
from nnmed.ops.selection import where
from nnmed.ops.shape import reshape, unsqueeze


def soft_margin_loss(input, target, *, reduction: str = "mean") -> Tensor:
    """Return log(1 + exp(-target input)), as ``torch.nn.functional.soft_margin_loss``.

    Binary cross-entropy for labels that are written as 1 and -1. Exact for all scores,
    where PyTorch's overflows to infinity.
    """
    name = "soft_margin_loss"
    check_reduction(name, reduction)
    x, target = operands(input, target)
    check_same_dtype(name, input=x, target=target)
    if x.shape != target.shape:
        raise ShapeError(f"{name}: target {target.shape} must have the shape of input {x.shape}")
    return softplus_of_minus(x * target, reduction)


def multilabel_soft_margin_loss(input, target, weight=None, *, reduction: str = "mean") -> Tensor:
    """Return binary cross-entropy of logits, averaged over the classes of each case.

    As ``torch.nn.functional.multilabel_soft_margin_loss``. For findings that do not exclude
    each other, such as mass and calcification in one breast.

    Parameters
    ----------
    input : Tensor
        Logits, (N, C) or (C,).
    target : Tensor
        Numbers of the same shape, 1 where the class is present, else 0.
    weight : Tensor, optional
        Factor of each class, (C,).
    reduction : {"mean", "sum", "none"}
        "none" gives a number for each case.
    """
    name = "multilabel_soft_margin_loss"
    input, target = operands(input, target)
    x, target, weights = check_binary(name, input, target, dict(weight=weight), reduction)
    if not x.ndim:
        raise ShapeError(f"{name}: input must be (N, C) or (C,), got ()")
    losses = BCEWithLogits(*weights, None, "none")(x, target)
    return reduced(mean(losses, -1), reduction)


def multi_margin_loss(
    input, target, p: int = 1, margin: float = 1.0, weight=None, *, reduction: str = "mean"
) -> Tensor:
    """Return the sum over the wrong classes c of max(0, margin - x_t + x_c)^p, over C.

    As ``torch.nn.functional.multi_margin_loss``: cases that are right by the margin cost
    nothing, so the hard ones decide. Scores do not become probabilities; where those are
    wanted, use :func:`~nnmed.ops.cross_entropy.cross_entropy`.

    Parameters
    ----------
    input : Tensor
        Scores, (N, C) or (C,).
    target : Tensor
        Class indices, (N,) or ().
    p : {1, 2}
    margin : float
    weight : Tensor, optional
        Factor of each case by its class, (C,); the mean divides by N all the same.
    reduction : {"mean", "sum", "none"}
    """
    name = "multi_margin_loss"
    check_numbers(name, margin=margin)
    check_reduction(name, reduction)
    if p not in (1, 2):
        raise UsageError(f"{name}: p must be 1 or 2, got {p}")
    x, target = as_tensor(input), as_tensor(target)
    weight = constant(name, "weight", weight, x)
    check_same_dtype(name, input=x, weight=weight)
    check_classes(name, x, weight)
    unbatched = x.ndim == 1
    if unbatched:
        x, target = unsqueeze(x, 0), reshape(target, (1,))
    if x.ndim != 2:
        raise ShapeError(f"{name}: input must be (N, C) or (C,), got {x.shape}")
    check_indices(name, x, target, ignore_index=None)
    labels = target._array
    right = Tensor._wrap(array_module(labels).arange(x.shape[1]) == labels[:, None])
    over = relu(x - sum(where(right, x, 0.0), 1, keepdim=True) + margin)
    over = where(right, 0.0, over if p == 1 else over * over)
    losses = mean(over, 1)
    if weight is not None:
        losses = losses * Tensor._wrap(weight._array[labels])
    return reduced(reshape(losses, ()) if unbatched else losses, reduction)


def multilabel_margin_loss(input, target, *, reduction: str = "mean") -> Tensor:
    """Return the sum over present i and absent j of max(0, 1 - x_i + x_j), over C.

    As ``torch.nn.functional.multilabel_margin_loss``: every finding that is present shall
    score above every one that is absent. It compares all pairs of classes, in N C C numbers.

    Parameters
    ----------
    input : Tensor
        Scores, (N, C) or (C,).
    target : Tensor
        Integers of the same shape: the classes present, then -1; what follows the first
        -1 is not read. A class that stands twice counts twice.
    reduction : {"mean", "sum", "none"}
    """
    name = "multilabel_margin_loss"
    check_reduction(name, reduction)
    x, target = as_tensor(input), as_tensor(target)
    check_same_dtype(name, input=x)
    if target.dtype.kind not in "iu":
        raise DTypeError(f"{name}: target must hold integers, got {target.dtype}")
    if x.shape != target.shape or x.ndim not in (1, 2):
        raise ShapeError(
            f"{name}: input and target must both be (N, C) or (C,), got {x.shape} and "
            f"{target.shape}"
        )
    unbatched = x.ndim == 1
    if unbatched:
        x, target = unsqueeze(x, 0), unsqueeze(target, 0)
    present = _counts(name, target._array).astype(x.dtype)
    pairs = Tensor._wrap(present[:, :, None] * (present[:, None] == 0))
    over = relu(unsqueeze(x, 1) - unsqueeze(x, 2) + 1.0)
    losses = sum(pairs * over, (1, 2)) / max(x.shape[1], 1)
    return reduced(reshape(losses, ()) if unbatched else losses, reduction)


def _counts(name, target):
    """Return how often each class stands before the first -1, (N, C)."""
    classes, target = target.shape[1], target.astype(np.int64)
    listed = (target == -1).cumsum(axis=1, dtype=np.int64) == 0
    bad = listed & ((target < 0) | (target >= classes))
    if is_checked(bad) and bad.any():
        place = tuple(int(i[0]) for i in np.nonzero(bad))
        raise UsageError(
            f"{name}: target holds class index {int(target[place])} at {place}, but there are "
            f"{classes} classes: 0 to {classes - 1}, then -1"
        )
    same = target[:, :, None] == array_module(target).arange(classes)
    return (same & listed[:, :, None]).sum(axis=1)
