"""Losses of overlap for segmentation: Dice, Tversky and their kin; the boundary loss.

All take logits (N, C, ...) and integer labels (N, ...) or (N, 1, ...), in two or three
dimensions. A single logit (C = 1) means labels 0 and 1 and a sigmoid; more mean a softmax.

The conventions are MONAI's: a value for each image and class, then their mean; ``batch``
adds up all images first; ``include_background=False`` leaves out class 0 (no effect on a
single logit). MONAI's ``smooth_nr`` and ``smooth_dr`` are one number here, `smooth`, so that
an empty mask that is predicted empty costs 0. Unlike in MONAI the activation follows from C,
and pixels labelled `ignore_index` take no part.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from nnmed.autograd import Notation, Op, Tensor, made_when_read
from nnmed.backend.arrays import array_module, to_device
from nnmed.errors import ShapeError, UsageError
from nnmed.kernels import select
from nnmed.ops.activation import sigmoid
from nnmed.ops.arguments import as_tensor, check_numbers, check_same_dtype, wrap
from nnmed.ops.binary_cross_entropy import BCEWithLogits
from nnmed.ops.cross_entropy import cross_entropy
from nnmed.ops.label_map import Segmentation, segmentation
from nnmed.ops.loss_base import array_of, check_reduction, constant, reduced, shared
from nnmed.ops.reduction import mean, sum
from nnmed.ops.selection import clip, where
from nnmed.ops.shape import broadcast_to, reshape
from nnmed.ops.softmax import softmax


def dice_loss(
    input,
    target,
    *,
    include_background: bool = True,
    squared_pred: bool = False,
    smooth: float = 1e-5,
    batch: bool = False,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Return 1 - (2 sum(p t) + s) / (sum(p) + sum(t) + s), the soft Dice loss.

    The first choice for a tumour that fills a small part of the image, where pixel-wise
    cross-entropy is content with "none": background that is right counts for nothing. Its
    gradient is rough; :func:`dice_ce_loss` trains more steadily.

    With `squared_pred` the sums of the denominator are of squares: that is the form of
    Milletari et al., "V-Net", 3DV 2016, section 3. Without, it is the form that MONAI
    has by default; both are the same for p of 0 and 1.

    Parameters
    ----------
    input : Tensor
        Logits, (N, C, ...).
    target : Tensor
        Labels, integers, (N, ...) or (N, 1, ...).
    include_background : bool
        Whether class 0 counts; no effect for C = 1.
    squared_pred : bool
        Use squares in the denominator.
    smooth : float
        s. An image without a class costs s' = 1 - s / (sum(p) + s): 0 if nothing is
        predicted, about 1 as soon as sum(p) is well above s, where it is flat: its
        gradient is s / (sum(p) + s)^2. Take ``smooth=1`` or `batch` where many are empty.
    batch : bool
        Sum over all images before dividing, instead of for each image.
    ignore_index : int
        Label of pixels that take no part.
    reduction : {"mean", "sum", "none"}
        Over images and classes; "none" gives (N, C), or (C,) with `batch`, less the
        background.

    Raises
    ------
    ShapeError, DTypeError, UsageError
        If shapes or types do not fit, or a label is no class.
    """
    name = "dice_loss"
    check_reduction(name, reduction)
    maps = segmentation(name, input, target, ignore_index)
    overlap = _overlap(maps, include_background, batch, squared_pred)
    return reduced(_dice(overlap, smooth), reduction)


def generalized_dice_loss(
    input,
    target,
    *,
    include_background: bool = True,
    smooth: float = 1e-5,
    batch: bool = False,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Return 1 - 2 sum_c w_c sum(p t) / sum_c w_c sum(p + t), w_c = 1 / sum(t)^2.

    For several classes of very different size, such as a core and the oedema around it:
    each weighs by the square of its inverse volume. Sudre et al., "Generalised Dice
    overlap", DLMIA 2017, section 2.

    A single logit counts as two classes, background and tumour, as in the paper. The
    weights of an image are scaled to sum 1, which changes nothing but what `smooth` (added
    above and below) is compared to. A class that an image does not have takes the largest
    of the others' weights, as in MONAI; where there is none, all weigh the same.

    Parameters are those of :func:`dice_loss`; "none" gives (N,), or () with `batch`.
    """
    name = "generalized_dice_loss"
    check_reduction(name, reduction)
    maps = segmentation(name, input, target, ignore_index)
    # Of a single logit the background is left in: it is the paper's second class.
    include_background = include_background or maps.input.shape[1] == 1
    overlap = _overlap(maps.with_background(), include_background, batch)
    weight = Tensor._wrap(_inverse_squares(overlap.present._array))
    above = 2.0 * sum(weight * overlap.hits, -1) + smooth
    below = sum(weight * (overlap.predicted + overlap.present), -1) + smooth
    return reduced(1.0 - above / below, reduction)


def tversky_loss(
    input,
    target,
    *,
    alpha: float = 0.5,
    beta: float = 0.5,
    include_background: bool = True,
    smooth: float = 1e-5,
    batch: bool = False,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Return 1 - (TP + s) / (TP + alpha FP + beta FN + s), of soft counts.

    TP = sum(p t), FP = sum(p (1 - t)), FN = sum((1 - p) t). With beta > alpha a missed
    tumour costs more than a false alarm; both 0.5 is Dice. Salehi et al., "Tversky loss
    function for image segmentation", MLMI 2017, equation 4, who found 0.3 and 0.7 best.

    Empty masks and the other parameters are as for :func:`dice_loss`.
    """
    name = "tversky_loss"
    check_reduction(name, reduction)
    maps = segmentation(name, input, target, ignore_index)
    overlap = _overlap(maps, include_background, batch)
    return reduced(_tversky(name, overlap, alpha, beta, smooth), reduction)


def focal_tversky_loss(
    input,
    target,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    gamma: float = 4 / 3,
    include_background: bool = True,
    smooth: float = 1e-5,
    batch: bool = False,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Return :func:`tversky_loss` to the power of 1 / gamma, for each image and class.

    For small lesions: with gamma > 1 the slope grows as the overlap does, so that a lesion
    is finished and not left half found. Abraham and Khan, "A novel focal Tversky loss
    function with improved attention U-Net", ISBI 2019, equation 4, who take gamma from 1
    to 3 and found 4 / 3 best. Their alpha weighs misses; here alpha weighs false alarms
    and beta misses, as in :func:`tversky_loss`.

    Where the overlap is perfect the power has an infinite slope; loss and gradient are 0.
    """
    name = "focal_tversky_loss"
    check_reduction(name, reduction)
    if not gamma > 0:
        raise UsageError(f"{name}: gamma must be positive, got {gamma}")
    maps = segmentation(name, input, target, ignore_index)
    losses = clip(_tversky(name, _overlap(maps, include_background, batch), alpha, beta, smooth), 0)
    perfect = losses == 0
    return reduced(where(perfect, 0.0, where(perfect, 1.0, losses) ** (1 / gamma)), reduction)


def dice_ce_loss(
    input,
    target,
    *,
    lambda_dice: float = 1.0,
    lambda_ce: float = 1.0,
    weight=None,
    include_background: bool = True,
    squared_pred: bool = False,
    smooth: float = 1e-5,
    batch: bool = False,
    ignore_index: int = -100,
) -> Tensor:
    """Return ``lambda_dice`` Dice + ``lambda_ce`` cross-entropy, both means.

    The steady choice for tumours, and nnU-Net's: Dice answers the imbalance, cross-entropy
    gives every pixel a smooth gradient, also in images without a tumour. Isensee et al.,
    "nnU-Net", Nature Methods 18 (2021).

    Cross-entropy is the mean over the pixels that are not ignored, 0 where all are. Parameters
    that are not listed are those of :func:`dice_loss`.

    Parameters
    ----------
    weight : Tensor, optional
        For the cross-entropy: a factor for each class, (C,); for a single logit the weight
        of positives, (1,).
    """
    name = "dice_ce_loss"
    maps = segmentation(name, input, target, ignore_index)
    overlap = _overlap(maps, include_background, batch, squared_pred)
    dice = mean(_dice(overlap, smooth))
    return lambda_dice * dice + lambda_ce * _cross_entropy(name, maps, weight)


def boundary_loss(
    input,
    distance_map,
    *,
    include_background: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """Return the mean over the pixels of p phi, phi the signed distance to the boundary.

    phi is negative inside the reference and positive outside, so the loss pushes predicted
    pixels in, the harder the farther they lie: for outlines, and against islands far away.
    It is linear in p and says little where phi is near 0: add it to :func:`dice_loss` with
    a weight that grows during training. Kervadec et al., "Boundary loss for highly
    unbalanced segmentation", MIDL 2019, equation 5.

    Parameters
    ----------
    input : Tensor
        Logits, (N, C, ...).
    distance_map : Tensor
        phi of each class, (N, C, ...), as
        :func:`nnmed.preprocessing.distance_map.signed_distance_map` makes it; for C = 1
        also (N, ...). For an empty mask it is 0, and so are loss and gradient. Make it 0
        where a pixel shall take no part.
    include_background : bool
        Whether class 0 counts; no effect for C = 1.
    reduction : {"mean", "sum", "none"}
        Over images and classes, of the means over the pixels; "none" gives (N, C), less
        the background.
    """
    name = "boundary_loss"
    check_reduction(name, reduction)
    x, phi = as_tensor(input), as_tensor(distance_map)
    check_same_dtype(name, input=x, distance_map=phi)
    if x.ndim < 3 or x.shape[1] == 0:
        raise ShapeError(f"{name}: input must be (N, C, H, W) or (N, C, D, H, W), got {x.shape}")
    if phi.shape == (x.shape[0], *x.shape[2:]) and x.shape[1] == 1:
        phi = reshape(phi, x.shape)
    if phi.shape != x.shape:
        raise ShapeError(f"{name}: distance_map {phi.shape} must have the shape of input {x.shape}")
    p = sigmoid(x) if x.shape[1] == 1 else softmax(x, 1)
    means = mean(p * phi, tuple(range(2, x.ndim)))
    return reduced(means if include_background or x.shape[1] == 1 else means[:, 1:], reduction)


class Overlap(Op):
    """y_0nc = sum_i p_nci [t_ni = c],   y_1nc = sum_i p_nci^q,   dp = dy_0 [t = c] + dy_1 q p^(q-1)

    k is 1 for the pixels i of image n that count and 0 for those ignored; q is 1 or 2.
    """

    forward_latex = (
        r"y_{0nc} = \sum_i k_{ni}\, p_{nci}\, [t_{ni} = c], \quad "
        r"y_{1nc} = \sum_i k_{ni}\, p_{nci}^q"
    )
    backward_latex = {
        "p": r"\frac{\partial L}{\partial p_{nci}} = k_{ni} \left("
        r"\frac{\partial L}{\partial y_{0nc}} [t_{ni} = c] + "
        r"\frac{\partial L}{\partial y_{1nc}}\, q\, p_{nci}^{q-1}\right)"
    }

    def __init__(self, labels, kept, squared: bool):
        self.labels, self.kept_pixels, self.squared = labels, kept, squared

    def notation(self):
        def flat(array):  # (N, H, W) as (N, pixels)
            return made_when_read(lambda: to_device(array, "cpu").reshape(len(array), -1))

        kept = 1 if self.kept_pixels is None else flat(self.kept_pixels)
        return Notation(
            {"t": flat(self.labels), "k": kept, "q": 2 if self.squared else 1},
            views={"p": lambda p: p.reshape(*p.shape[:2], -1)},
        )

    def forward(self, p):
        self.keep(inputs=(0,))
        return select("loss", p).overlap(p, self.labels, self.kept_pixels, self.squared)

    def fused_backward(self, dy):
        p = self.inputs[0]._array
        kernels = select("loss", p)
        return kernels.overlap_grad(dy, p, self.labels, self.kept_pixels, self.squared)

    def backward(self, dy):
        (p,) = self.inputs
        hits, all_pixels = (reshape(part, (*p.shape[:2], *[1] * (p.ndim - 2))) for part in dy)
        hot = Tensor._wrap(Segmentation(p, self.labels, self.kept_pixels).one_hot())
        rest = all_pixels * p * 2.0 if self.squared else broadcast_to(all_pixels, p.shape)
        if self.kept_pixels is not None:
            rest = rest * Tensor._wrap(self.kept_pixels[:, None].astype(p.dtype))
        return hits * hot + rest

    def flops(self, inputs, output):
        return 3 * math.prod(inputs[0])


class _Sums(NamedTuple):
    """Sums over the pixels of p t, p (or p^2) and t; (N, C), or (C,) for a whole batch."""

    hits: Tensor
    predicted: Tensor
    present: Tensor


def _overlap(maps: Segmentation, include_background, batch, squared=False) -> _Sums:
    both = Overlap(maps.labels, maps.kept, squared)(maps.probabilities)
    sums = _Sums(both[0], both[1], Tensor._wrap(maps.volumes()))
    if maps.input.shape[1] > 1 and not include_background:
        sums = _Sums(*(part[:, 1:] for part in sums))
    return _Sums(*(sum(part, 0) for part in sums)) if batch else sums


def _dice(overlap, smooth):
    return 1.0 - (2.0 * overlap.hits + smooth) / (overlap.predicted + overlap.present + smooth)


def _tversky(name, overlap, alpha, beta, smooth):
    check_numbers(name, alpha=alpha, beta=beta)
    if not (alpha >= 0 and beta >= 0 and alpha + beta > 0):
        raise UsageError(f"{name}: alpha and beta must be positive, got {alpha} and {beta}")
    false_alarms = overlap.predicted - overlap.hits
    misses = overlap.present - overlap.hits
    below = overlap.hits + alpha * false_alarms + beta * misses + smooth
    return 1.0 - (overlap.hits + smooth) / below


def _inverse_squares(volumes):
    """Return Sudre's weights along the last axis, scaled to sum 1."""
    xp = array_module(volumes)
    weights = xp.where(volumes > 0, 1 / xp.maximum(volumes, 1) ** 2, 0)
    largest = weights.max(-1, keepdims=True)
    weights = xp.where(volumes > 0, weights, xp.where(largest > 0, largest, 1))
    return (weights / weights.sum(-1, keepdims=True)).astype(volumes.dtype)


def _cross_entropy(name, maps: Segmentation, weight):
    """Return the mean cross-entropy of the pixels that are not ignored, 0 if there are none."""
    x, kept = maps.input, maps.kept
    weight = constant(name, "weight", weight, x)
    if x.shape[1] > 1:
        reduction = "mean" if maps.labels.size else "sum"
        loss = cross_entropy(x, maps.marked(), weight, ignore_index=-1, reduction=reduction)
        return loss if kept is None else where(wrap(kept.any()), loss, 0.0)
    target = Tensor._wrap(maps.one_hot())
    if weight is not None and weight.shape != (1,):
        raise ShapeError(f"{name}: weight {weight.shape} must be (1,) for a single logit")
    counted = None if kept is None else kept[:, None].astype(x.dtype)
    total = BCEWithLogits(counted, array_of(weight), "sum")(x, target)
    return shared(total, maps.count())
