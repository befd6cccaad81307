"""Losses that order and place: rankings, and vectors that shall lie near or far."""

from __future__ import annotations

from collections.abc import Callable

from nnmed.autograd import Tensor
from nnmed.errors import ShapeError, UsageError
from nnmed.ops.arguments import as_tensor, check_numbers, check_same_dtype, operands
from nnmed.ops.distance import pairwise_distance
from nnmed.ops.elementwise import sqrt
from nnmed.ops.loss_base import check_reduction, reduced
from nnmed.ops.reduction import sum
from nnmed.ops.selection import clip, minimum, where


def margin_ranking_loss(
    input1, input2, target, margin: float = 0, *, reduction: str = "mean"
) -> Tensor:
    """Return max(0, -target (input1 - input2) + margin), as PyTorch's function of that name.

    Where an order is known and no value: this lesion is more suspicious than that one.

    Parameters
    ----------
    input1, input2 : Tensor
        Scores, one shape.
    target : Tensor
        1 where `input1` shall be larger, -1 where `input2` shall; their shape.
    margin : float
        By how much.
    reduction : {"mean", "sum", "none"}
    """
    name = "margin_ranking_loss"
    check_reduction(name, reduction)
    check_numbers(name, margin=margin)
    input1, input2, target = _same_shape(name, input1=input1, input2=input2, target=target)
    return reduced(clip(margin - target * (input1 - input2), min=0.0), reduction)


def hinge_embedding_loss(input, target, margin: float = 1.0, *, reduction: str = "mean") -> Tensor:
    """Return the input where target is 1 and max(0, margin - input) where it is -1.

    As ``torch.nn.functional.hinge_embedding_loss``. The input is a distance between two
    views, which shall be small for one patient and at least `margin` for two.
    """
    name = "hinge_embedding_loss"
    check_reduction(name, reduction)
    check_numbers(name, margin=margin)
    x, target = _same_shape(name, input=input, target=target)
    near = where(target == -1, 0.0, x)
    far = where(target == 1, 0.0, clip(margin - x, min=0.0))
    return reduced(near + far, reduction)


def cosine_embedding_loss(
    input1, input2, target, margin: float = 0, *, reduction: str = "mean"
) -> Tensor:
    """Return 1 - cos where target is 1 and max(0, cos - margin) where it is -1.

    As ``torch.nn.functional.cosine_embedding_loss``: pulls the embeddings of one kind of
    lesion together and those of two kinds apart, whatever their lengths.

    Parameters
    ----------
    input1, input2 : Tensor
        (N, D), or (D,) with one target.
    target : Tensor
        (N,) or (), 1 or -1.
    margin : float
        Largest cosine, from -1 to 1, that costs nothing for a pair that shall differ.
    reduction : {"mean", "sum", "none"}
    """
    name = "cosine_embedding_loss"
    check_reduction(name, reduction)
    check_numbers(name, margin=margin)
    target = as_tensor(target)
    x1, x2 = operands(input1, input2)
    check_same_dtype(name, input1=x1, input2=x2)
    if target.ndim > 1 or {x1.ndim, x2.ndim} != {target.ndim + 1}:
        raise ShapeError(
            f"{name}: expected inputs (N, D) with target (N,), or (D,) with (); got input1 "
            f"{x1.shape}, input2 {x2.shape}, target {target.shape}"
        )
    tiny = 1e-12  # PyTorch's, added to the squares
    squares = (sum(x1 * x1, -1) + tiny) * (sum(x2 * x2, -1) + tiny)
    cosine = sum(x1 * x2, -1) / sqrt(squares)
    near = where(target == 1, 1.0 - cosine, 0.0)
    far = where(target == -1, clip(cosine - margin, min=0.0), 0.0)
    return reduced(near + far, reduction)


def triplet_margin_loss(
    anchor,
    positive,
    negative,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    *,
    reduction: str = "mean",
) -> Tensor:
    """Return max(0, d(anchor, positive) - d(anchor, negative) + margin).

    As ``torch.nn.functional.triplet_margin_loss``. Trains an embedding in which images of
    one kind of tumour lie nearer to each other than to others: for finding similar cases,
    or for many kinds with few cases each. Schroff et al., "FaceNet", CVPR 2015, equation 2,
    without its squares.

    Parameters
    ----------
    anchor, positive, negative : Tensor
        (N, D) or (D,); broadcast.
    margin : float
        Positive.
    p, eps : float
        Of :func:`~nnmed.ops.distance.pairwise_distance`.
    swap : bool
        Take d(positive, negative) where it is less than d(anchor, negative): Balntas et
        al., "Learning local feature descriptors with triplets", BMVC 2016.
    reduction : {"mean", "sum", "none"}
    """

    def distance(a, b):
        return pairwise_distance(a, b, p, eps)

    return _triplet(
        "triplet_margin_loss", anchor, positive, negative, distance, margin, swap, reduction
    )


def triplet_margin_with_distance_loss(
    anchor,
    positive,
    negative,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """Return :func:`triplet_margin_loss` with a distance of one's own.

    `distance_function` takes two tensors and returns one number for each pair of rows;
    without it, it is :func:`~nnmed.ops.distance.pairwise_distance`.
    """
    distance = distance_function or pairwise_distance
    name = "triplet_margin_with_distance_loss"
    return _triplet(name, anchor, positive, negative, distance, margin, swap, reduction)


def _triplet(name, anchor, positive, negative, distance, margin, swap, reduction):
    check_reduction(name, reduction)
    check_numbers(name, margin=margin)
    if not margin > 0:
        raise UsageError(f"{name}: margin must be positive, got {margin}")
    anchor, positive, negative = map(as_tensor, (anchor, positive, negative))
    check_same_dtype(name, anchor=anchor, positive=positive, negative=negative)
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise ShapeError(
            f"{name}: anchor {anchor.shape}, positive {positive.shape} and negative "
            f"{negative.shape} must have the same number of dimensions"
        )
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = minimum(far, distance(positive, negative))
    return reduced(clip(near - far + margin, min=0.0), reduction)


def _same_shape(name, **tensors):
    tensors = {key: as_tensor(t) for key, t in tensors.items()}
    *inputs, _ = tensors
    check_same_dtype(name, **{key: tensors[key] for key in inputs})
    shapes = {key: t.shape for key, t in tensors.items()}
    if len(set(shapes.values())) > 1:
        text = ", ".join(f"{key} {shape}" for key, shape in shapes.items())
        raise ShapeError(f"{name}: expected one shape, got {text}")
    return tensors.values()
