"""Moving numbers between channels and pixels, and among channels.

All are reshapes and permutations. The channels are put last first, where those of
channels-last memory lie, so that results and gradients keep that layout.
"""

from __future__ import annotations

from nnmed.autograd import Tensor
from nnmed.errors import ShapeError
from nnmed.ops.arguments import as_tensor, check_positive
from nnmed.ops.shape import permute, reshape


def pixel_shuffle(input, upscale_factor: int) -> Tensor:
    """Return pictures with r x r pixels made of every r*r channels, r the factor.

    y[c, i*r + u, j*r + v] = x[c*r*r + u*r + v, i, j]

    Parameters
    ----------
    input : Tensor
        ``(..., C * r * r, H, W)``.

    Returns
    -------
    Tensor
        ``(..., C, H * r, W * r)``.
    """
    x, r = _with_factor("pixel_shuffle", input, upscale_factor)
    *batch, c, h, w = x.shape
    if c % (r * r):
        raise ShapeError(
            f"pixel_shuffle: {c} channels cannot be split into {r * r} each: input {x.shape}"
        )
    k = len(batch)
    x = reshape(_channels_last(x), (*batch, h, w, c // (r * r), r, r))
    x = permute(x, *range(k), k, k + 3, k + 1, k + 4, k + 2)
    return _channels_first(reshape(x, (*batch, h * r, w * r, c // (r * r))))


def pixel_unshuffle(input, downscale_factor: int) -> Tensor:
    """Return pictures with r*r channels made of every r x r pixels, r the factor.

    y[c*r*r + u*r + v, i, j] = x[c, i*r + u, j*r + v]

    Parameters
    ----------
    input : Tensor
        ``(..., C, H * r, W * r)``.

    Returns
    -------
    Tensor
        ``(..., C * r * r, H, W)``.
    """
    x, r = _with_factor("pixel_unshuffle", input, downscale_factor)
    *batch, c, h, w = x.shape
    if h % r or w % r:
        raise ShapeError(f"pixel_unshuffle: {r} does not divide rows and columns of {x.shape}")
    k = len(batch)
    x = reshape(_channels_last(x), (*batch, h // r, r, w // r, r, c))
    x = permute(x, *range(k), k, k + 2, k + 4, k + 1, k + 3)
    return _channels_first(reshape(x, (*batch, h // r, w // r, c * r * r)))


def channel_shuffle(input, groups: int) -> Tensor:
    """Return `input` with its channels dealt out: one of each group in turn.

    y[n, j*g + i] = x[n, i * C/g + j]

    Parameters
    ----------
    input : Tensor
        ``(N, C, ...)`` with at least one dimension after C.
    """
    x = as_tensor(input)
    check_positive("channel_shuffle", groups=(groups,))
    if x.ndim < 3 or x.shape[1] % groups:
        raise ShapeError(
            f"channel_shuffle: input must be (N, C, ...) with C a multiple of groups={groups}, "
            f"got {x.shape}"
        )
    n, c, *rest = x.shape
    last = permute(x, 0, *range(2, x.ndim), 1)
    dealt = reshape(last, (n, *rest, groups, c // groups))
    dealt = permute(dealt, *range(x.ndim - 1), x.ndim, x.ndim - 1)
    return permute(reshape(dealt, last.shape), 0, x.ndim - 1, *range(1, x.ndim - 1))


def _with_factor(name, input, factor):
    x = as_tensor(input)
    check_positive(
        name, **{"upscale_factor" if name == "pixel_shuffle" else "downscale_factor": (factor,)}
    )
    if x.ndim < 3:
        raise ShapeError(f"{name}: input must be (..., C, H, W), got {x.shape}")
    return x, int(factor)


def _channels_last(x) -> Tensor:
    k = x.ndim - 3
    return permute(x, *range(k), k + 1, k + 2, k)


def _channels_first(x) -> Tensor:
    k = x.ndim - 3
    return permute(x, *range(k), k + 2, k, k + 1)
