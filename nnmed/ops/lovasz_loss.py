"""Lovasz losses: the Jaccard index itself, made continuous."""

from __future__ import annotations

import numpy as np

from nnmed.autograd import Tensor
from nnmed.backend.arrays import array_module
from nnmed.errors import ShapeError, UsageError
from nnmed.kernels import select
from nnmed.ops.activation import relu
from nnmed.ops.label_map import segmentation
from nnmed.ops.loss_base import check_reduction, reduced
from nnmed.ops.reduction import sum
from nnmed.ops.selection import where
from nnmed.ops.shape import permute, reshape


def lovasz_hinge_loss(
    input, target, *, batch: bool = False, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    """Return the Lovasz hinge of a single logit: a convex bound of 1 - Jaccard.

    For the last epochs of a tumour / background network that is scored by overlap, after
    cross-entropy has brought it near. Berman et al., "The Lovasz-softmax loss", CVPR 2018,
    equation 8 with the margins 1 - x (2 t - 1) as errors and algorithm 1. The logits are
    used as they are: outside the margin of 1 a pixel costs nothing.

    Parameters
    ----------
    input : Tensor
        Logits, (N, 1, ...).
    target : Tensor
        Labels 0 and 1, integers, (N, ...) or (N, 1, ...).
    batch : bool
        Treat all images as one, instead of each by itself (the authors' ``per_image``).
    ignore_index : int
        Label of pixels that take no part.
    reduction : {"mean", "sum", "none"}
        Over images; "none" gives (N,), or () with `batch`. In an image without tumour the
        loss is the largest error, max(0, 1 + x): only the worst pixel has a gradient.
    """
    name = "lovasz_hinge_loss"
    check_reduction(name, reduction)
    maps = segmentation(name, input, target, ignore_index)
    if maps.input.shape[1] != 1:
        raise ShapeError(
            f"{name}: input must have a single logit, (N, 1, ...), got {maps.input.shape}; for "
            "classes take lovasz_softmax_loss"
        )
    truth = maps.one_hot()
    errors = 1.0 - maps.input * Tensor._wrap(2 * truth - 1)
    return reduced(_extension(maps, errors, truth, batch, relu)[..., 0], reduction)


def lovasz_softmax_loss(
    input,
    target,
    *,
    classes: str = "present",
    batch: bool = False,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Return the mean over the classes of the Lovasz extension of 1 - Jaccard.

    As :func:`lovasz_hinge_loss`, for several classes: the errors of class c are 1 - p_c in
    it and p_c outside. Berman et al., CVPR 2018, equations 11 and 12. A single logit is a
    class whose p is its sigmoid. Parameters that are not listed are those of
    :func:`lovasz_hinge_loss`, with input (N, C, ...).

    Parameters
    ----------
    classes : {"present", "all"}
        Average over the classes that the image (with `batch`, the batch) has, as the authors
        do; an image without any costs 0 and teaches nothing. With "all", an absent class
        costs its largest probability.
    """
    name = "lovasz_softmax_loss"
    check_reduction(name, reduction)
    if classes not in ("present", "all"):
        raise UsageError(f"{name}: classes must be 'present' or 'all', got {classes!r}")
    maps = segmentation(name, input, target, ignore_index)
    truth = maps.one_hot()
    hit, p = Tensor._wrap(truth == 1), maps.probabilities
    losses = _extension(maps, where(hit, 1.0 - p, p), truth, batch)
    counted = array_module(truth).ones(losses.shape, losses.dtype)
    if classes == "present":
        counted[...] = truth.any((*((0,) if batch else ()), *range(2, truth.ndim)))
    share = counted / np.maximum(counted.sum(-1, keepdims=True), 1)
    return reduced(sum(losses * Tensor._wrap(share), -1), reduction)


def _extension(maps, errors: Tensor, truth, batch: bool, positive=lambda x: x) -> Tensor:
    """Return the sum of errors times the Lovasz weights, (N, C), or (C,) with `batch`.

    The weights depend on the order of the errors alone, so they are constant wherever the
    loss has a gradient.
    """
    kept = np.ones_like(truth, bool) if maps.kept is None else maps.kept[:, None]
    inside, kept = truth == 1, np.broadcast_to(kept, truth.shape)
    errors, inside, kept = (
        _as_rows(t, batch) for t in (errors, Tensor._wrap(inside), Tensor._wrap(kept))
    )
    weights = select("loss", truth).lovasz_weights(errors._array, inside._array, kept._array)
    losses = sum(positive(errors) * Tensor._wrap(weights), 1)
    return losses if batch else reshape(losses, maps.input.shape[:2])


def _as_rows(x: Tensor, batch: bool) -> Tensor:
    """Return (N, C, ...) as a row for each image and class, or for each class."""
    images, classes = x.shape[:2]
    pixels = int(np.prod(x.shape[2:]))
    if not batch:
        return reshape(x, (images * classes, pixels))
    return reshape(permute(x, (1, 0, *range(2, x.ndim))), (classes, images * pixels))
