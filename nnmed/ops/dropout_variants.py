"""Dropout of whole channels, and dropout that keeps mean and variance.

All are products with (and sums of) arrays of random numbers, so their gradients are those of
the product. The masks are drawn as :class:`nnmed.ops.dropout.Dropout` draws its own.
"""

from __future__ import annotations

import math

import numpy as np

from nnmed.autograd import Tensor
from nnmed.backend.arrays import array_module
from nnmed.backend.random import draw_key
from nnmed.errors import ShapeError
from nnmed.kernels import select
from nnmed.ops.dropout import checked_dropout

_ALPHA = 1.7580993408473766  # the negative of selu's limit at minus infinity


def dropout1d(
    input, p: float = 0.5, training: bool = True, inplace: bool = False, *, stream: int = 0
) -> Tensor:
    """Zero each channel of (N, C, L) or (C, L) with probability `p`, scale the others by 1/(1-p).

    Tompson et al., "Efficient object localization using convolutional networks", CVPR 2015.
    `training` and `stream` are those of :func:`nnmed.functional.dropout`.
    """
    return _channel_dropout("dropout1d", input, p, training, inplace, stream, {2: 1, 3: 2})


def dropout2d(
    input, p: float = 0.5, training: bool = True, inplace: bool = False, *, stream: int = 0
) -> Tensor:
    """Zero each channel of (N, C, H, W) with probability `p`; see :func:`dropout1d`.

    As in PyTorch, three dimensions are (N, C, L), not one picture.
    """
    return _channel_dropout("dropout2d", input, p, training, inplace, stream, {3: 2, 4: 2})


def dropout3d(
    input, p: float = 0.5, training: bool = True, inplace: bool = False, *, stream: int = 0
) -> Tensor:
    """Zero each channel of (N, C, D, H, W) or (C, D, H, W); see :func:`dropout1d`."""
    return _channel_dropout("dropout3d", input, p, training, inplace, stream, {4: 1, 5: 2})


def alpha_dropout(
    input, p: float = 0.5, training: bool = False, inplace: bool = False, *, stream: int = 0
) -> Tensor:
    """Set each element with probability `p` to selu's lower limit, and keep mean and variance.

    A map a x + b of the result restores mean 0 and variance 1. Klambauer et al.,
    "Self-normalizing neural networks", NeurIPS 2017. `training` and `stream` are those of
    :func:`nnmed.functional.dropout`.
    """
    x = checked_dropout("alpha_dropout", input, p, inplace)
    return _alpha_dropout(x, np.ones_like(x._array), p, training, stream)


def feature_alpha_dropout(
    input, p: float = 0.5, training: bool = False, inplace: bool = False, *, stream: int = 0
) -> Tensor:
    """Do as :func:`alpha_dropout` does, to whole channels of (N, C, ...)."""
    x = checked_dropout("feature_alpha_dropout", input, p, inplace)
    if training and x.ndim < 2:
        raise ShapeError(f"feature_alpha_dropout: expected (N, C, ...), got shape {x.shape}")
    return _alpha_dropout(x, _ones_per_channel(x, 2), p, training, stream)


def _channel_dropout(name, input, p, training, inplace, stream, leading):
    """`leading`: for each number of dimensions, how many come before those of a channel."""
    x = checked_dropout(name, input, p, inplace)
    if x.ndim not in leading:
        expected = " or ".join(map(str, leading))
        raise ShapeError(f"{name}: expected {expected} dimensions, got shape {x.shape}")
    if not training or p == 0:
        return x
    mask = _dropped(_ones_per_channel(x, leading[x.ndim]), p, stream)
    return x * Tensor._wrap(mask)


def _alpha_dropout(x, ones, p, training, stream):
    if not training or p == 0:
        return x
    if p == 1:
        return x * 0.0
    a = 1 / math.sqrt((1 - p) * (1 + p * _ALPHA**2))
    xp = array_module(x._array)
    factor = xp.asarray(xp.multiply(_dropped(ones, p, stream) > 0, a, dtype=x.dtype))
    offset = xp.asarray((factor - a * (1 - p)) * _ALPHA)
    return x * Tensor._wrap(factor) + Tensor._wrap(offset)


def _ones_per_channel(x, leading: int):
    shape = x.shape[:leading] + (1,) * (x.ndim - leading)
    return array_module(x._array).ones(shape, x.dtype)


def _dropped(ones, p, stream):
    return select("activation", ones).dropout(ones, float(p), draw_key(stream))[0]
