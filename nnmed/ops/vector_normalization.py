"""Division by the norm of a vector, or of neighbouring channels. Made of other ops."""

from __future__ import annotations

import math

import numpy as np

from nnmed.autograd import Tensor
from nnmed.errors import ShapeError
from nnmed.ops.arguments import (
    as_tensor,
    cast,
    check_numbers,
    check_positive,
    check_same_dtype,
)
from nnmed.ops.elementwise import abs
from nnmed.ops.pad import pad
from nnmed.ops.pooling import avg_pool2d
from nnmed.ops.reduction import amax, amin, sum
from nnmed.ops.selection import clip
from nnmed.ops.shape import reshape


def normalize(input, p: float = 2.0, dim=1, eps: float = 1e-12) -> Tensor:
    """Return ``input / max(norm, eps)`` with the p-norm along `dim`.

    Parameters
    ----------
    input : Tensor
        Any shape.
    p : float
        ``inf`` stands for the largest absolute value, ``-inf`` for the smallest, 0 for the
        number of values but zeros.
    dim : int or sequence of int
        One vector lies along `dim`.
    eps : float
        Keeps a vector of zeros what it is: its gradient is that of ``input / eps``.
    """
    x = as_tensor(input)
    check_same_dtype("normalize", input=x)
    check_numbers("normalize", p=p, eps=eps)
    if p == math.inf:
        norm = amax(abs(x), dim, keepdim=True)
    elif p == -math.inf:
        norm = amin(abs(x), dim, keepdim=True)
    elif p == 1:
        norm = sum(abs(x), dim, keepdim=True)
    elif p == 0:
        norm = sum(cast(x != 0, x.dtype), dim, keepdim=True)
    else:
        total = sum(x * x if p == 2 else abs(x) ** p, dim, keepdim=True)
        # The root has no slope at 0: clip passes none on.
        norm = clip(total, min=float(np.finfo(x.dtype).tiny)) ** (1 / p)
    return x / clip(norm, min=float(eps))


def local_response_norm(
    input, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """Return ``input / (k + alpha * s)**beta``, s the mean square over neighbouring channels.

    Krizhevsky et al., "ImageNet classification with deep convolutional neural networks",
    NeurIPS 2012, section 3.3, where alpha stands for alpha / size here.

    Parameters
    ----------
    input : Tensor
        ``(N, C, ...)``, with at least 3 dimensions.
    size : int
        Channels of a neighbourhood: size // 2 before the channel, (size - 1) // 2 behind it;
        those outside count as 0.

    Raises
    ------
    ShapeError
        If `input` has fewer than 3 dimensions.
    """
    x = as_tensor(input)
    check_same_dtype("local_response_norm", input=x)
    check_positive("local_response_norm", size=[size])
    check_numbers("local_response_norm", alpha=alpha, beta=beta, k=k)
    if x.ndim < 3:
        raise ShapeError(f"local_response_norm: input must be (N, C, ...), got {x.shape}")
    if not x.numel():
        return x * 1.0
    n, channels, *places = x.shape
    squares = reshape(x * x, (n, 1, channels, math.prod(places)))
    squares = pad(squares, (0, 0, size // 2, (size - 1) // 2))
    mean_square = reshape(avg_pool2d(squares, (size, 1), stride=1), x.shape)
    return x / (mean_square * alpha + k) ** beta
