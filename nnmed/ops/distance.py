"""How near two vectors are: p-norm distance and cosine similarity."""

from __future__ import annotations

import math

from nnmed.autograd import Tensor
from nnmed.errors import ShapeError, UsageError
from nnmed.ops.arguments import (
    broadcast_shapes,
    check_numbers,
    check_same_dtype,
    dimension,
    operands,
)
from nnmed.ops.elementwise import abs, sqrt
from nnmed.ops.reduction import amax, sum
from nnmed.ops.selection import clip, where
from nnmed.ops.shape import broadcast_to


def pairwise_distance(x1, x2, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    """Return the p-norm of ``x1 - x2 + eps`` along the last dimension.

    As ``torch.nn.functional.pairwise_distance``, but p must be positive. Where the norm
    is 0, so is its gradient.

    Parameters
    ----------
    x1, x2 : Tensor
        (N, D) or (D,); broadcast.
    p : float
        2 for Euclid, 1 for the sum of absolute values, ``math.inf`` for the largest.
    eps : float
        Keeps the norm of equal vectors off its kink at 0.
    keepdim : bool
        Keep the last dimension, with length 1.
    """
    name = "pairwise_distance"
    check_numbers(name, p=p, eps=eps)
    x1, x2 = operands(x1, x2)
    check_same_dtype(name, x1=x1, x2=x2)
    if not broadcast_shapes(x1.shape, x2.shape):
        raise ShapeError(f"{name}: x1 and x2 are single numbers; give vectors, (N, D) or (D,)")
    if not p > 0:
        raise UsageError(f"{name}: p must be positive, got {p}")
    return _norm(x1 - x2 + eps, p, keepdim)


def cosine_similarity(x1, x2, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """Return the cosine of the angle between `x1` and `x2` along `dim`.

    ``x1 . x2 / (max(|x1|, eps) max(|x2|, eps))``, as PyTorch's function of that name; a norm
    below `eps` is a constant for the gradient.
    """
    x1, x2 = operands(x1, x2)
    check_same_dtype("cosine_similarity", x1=x1, x2=x2)
    check_numbers("cosine_similarity", eps=eps)
    if not eps >= 0:
        raise UsageError(f"cosine_similarity: eps must be at least 0, got {eps}")
    shape = broadcast_shapes(x1.shape, x2.shape)
    dim = dimension(dim, len(shape))
    x1, x2 = broadcast_to(x1, shape), broadcast_to(x2, shape)
    norms = [sqrt(clip(sum(x * x, dim, keepdim=True), min=eps * eps)) for x in (x1, x2)]
    return sum(x1 / norms[0] * (x2 / norms[1]), dim)


def _norm(x, p, keepdim):
    size = abs(x)
    if p == math.inf:
        return amax(size, -1, keepdim)
    if p == 1:
        return sum(size, -1, keepdim)
    if p == 2:
        total = sum(x * x, -1, keepdim)
    else:  # below p = 1 the power has an infinite slope at 0
        total = sum(where(x == 0, 0.0, where(x == 0, 1.0, size) ** p), -1, keepdim)
    safe = where(total == 0, 1.0, total)
    return where(total == 0, 0.0, sqrt(safe) if p == 2 else safe ** (1 / p))
