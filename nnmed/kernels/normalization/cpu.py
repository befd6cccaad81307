"""Normalisation with NumPy; formulas in reference.py. Layer normalisation is in layer.py.

Batch and group normalisation, on channels-last memory, are sums over the channels of each
image and maps ``x * scale + offset`` with a number for each image and channel: channels.py
walks over them. Batch normalisation takes the whole batch for one image.

Float32 needs care where a mean is large against the spread, since ``E[x^2] - E[x]^2`` and
``x * scale + offset`` then cancel: both give way to forms that first subtract the mean.
"""

from __future__ import annotations

from math import prod

import numpy as np

from nnmed.backend.arrays import empty_channels_last
from nnmed.kernels.elementwise import apply, keep_positive
from nnmed.kernels.normalization.channels import channels_of, scratch_like
from nnmed.kernels.normalization.layer import layer_norm, layer_norm_grad

__all__ = [
    "batch_moments", "batch_norm", "batch_norm_grad", "group_moments", "group_norm",
    "group_norm_grad", "layer_norm", "layer_norm_grad",
]  # fmt: skip

# Largest |mean| / spread for the short forms. E[x^2] - E[x]^2 loses its square in relative
# accuracy, and sums of dy * x lose it against those of dy * (x - mean). x * scale + offset rounds
# three times at its size, so the normalised value errs by up to 5e-6, for a whole channel alike.
_FAR, _FAR_VALUE = 4.0, 32.0


def batch_moments(x):
    """Return each channel's mean and its variance (divided by m), both float64 ``(C,)``."""
    mean, var = _moments(_over_batch(x), x, x.shape[1])
    return mean[0], var[0]


def batch_norm(x, mean, var, weight, bias, eps, relu=False):
    """Return ``(x - mean) / sqrt(var + eps) * weight + bias``, channel by channel.

    With `relu`, what is negative becomes 0.
    """
    return _normalize(_over_batch(x), x, mean[None], var[None], weight, bias, eps, relu)


def batch_norm_grad(dy, x, mean, var, weight, eps, training, y=None):
    """Return dx and, both float64 ``(C,)``, dweight and dbias; see reference.py."""
    walk = _over_batch(x)
    dx = empty_channels_last(x.shape, x.dtype)
    dy = dy if y is None else apply(keep_positive, y, dy)
    gradient, source, target = (walk.view(a) for a in (dy, x, dx))
    with np.errstate(all="ignore"):  # what is not finite shows in the result
        inverse = 1 / np.sqrt(np.asarray(var, np.float64)[None] + eps)
        rest, centre = _centre(walk, mean[None], inverse, x.dtype, _FAR)
        dbias, products = walk.totals(gradient, source, centre)
        dweight = (products - rest * dbias) * inverse
        # dx = scale * (dy + slope * (x - mean) - dbias / m)
        count = max(1, x.size // x.shape[1])
        slope = -inverse * dweight / count
        scale = inverse if weight is None else inverse * weight
        level = -dbias / count - slope * rest
        slope, level, scale = walk.spread([slope, level, scale], x.dtype)

    def with_statistics(out, dy, x, slope, level, scale, centre):
        if centre is not None:
            x = np.subtract(x, centre, out=out)
        np.multiply(x, slope, out=out)
        np.add(out, level, out=out)
        np.add(out, dy, out=out)
        np.multiply(out, scale, out=out)

    if training:
        walk.for_pieces(with_statistics, target, gradient, source, slope, level, scale, centre)
    else:
        walk.for_pieces(lambda out, dy, s: np.multiply(dy, s, out=out), target, gradient, scale)
    return dx, dweight[0], dbias[0]


def group_moments(x, groups):
    """Return mean and variance (divided by m) of each group of channels, float64 ``(N, G)``."""
    return _moments(_over_images(x), x, groups)


def group_norm(x, mean, var, weight, bias, eps):
    """Return ``(x - mean) / sqrt(var + eps) * weight + bias`` with a mean for each group."""
    each = _channels_in_a_group(x, mean)
    mean, var = (np.repeat(a, each, axis=1) for a in (mean, var))
    return _normalize(_over_images(x), x, mean, var, weight, bias, eps)


def group_norm_grad(dy, x, mean, var, weight, eps):
    """Return dx and, both float64 ``(C,)``, dweight and dbias; see reference.py."""
    walk, each = _over_images(x), _channels_in_a_group(x, mean)
    dx = empty_channels_last(x.shape, x.dtype)
    gradient, source, target = (walk.view(a) for a in (dy, x, dx))
    weight = np.ones(x.shape[1]) if weight is None else weight
    with np.errstate(all="ignore"):
        inverse = np.repeat(1 / np.sqrt(np.asarray(var, np.float64) + eps), each, axis=1)
        rest, centre = _centre(walk, np.repeat(mean, each, axis=1), inverse, x.dtype, _FAR)
        sums, products = walk.totals(gradient, source, centre)
        products = (products - rest * sums) * inverse  # sums of dy * n
        count = each * prod(x.shape[2:])
        shares = _by_groups(np.array([sums, products]) * weight, mean.shape[1]) / count
        share, slope = np.repeat(shares, each, axis=2)
        # dx = scale * dy + slope * (x - mean) - inverse * share
        slope = -(inverse**2) * slope
        level = -inverse * share - slope * rest
        slope, level, scale = walk.spread([slope, level, inverse * weight], x.dtype)

    def piece(out, dy, x, slope, level, scale, centre):
        if centre is not None:
            x = np.subtract(x, centre, out=out)
        np.multiply(x, slope, out=out)
        np.add(out, level, out=out)
        np.add(out, np.multiply(dy, scale, out=scratch_like(out)), out=out)

    walk.for_pieces(piece, target, gradient, source, slope, level, scale, centre)
    return dx, products.sum(axis=0), sums.sum(axis=0)


def _over_batch(x):
    return channels_of(1, x.size // max(1, x.shape[1]), x.shape[1])


def _over_images(x):
    return channels_of(x.shape[0], prod(x.shape[2:]), x.shape[1])


def _channels_in_a_group(x, mean):
    return x.shape[1] // max(1, mean.shape[1])


def _by_groups(numbers, groups):
    """Return the sum over the channels of each group, from (..., C) to (..., G)."""
    *rest, channels = numbers.shape
    return np.add.reduce(numbers.reshape(*rest, groups, channels // max(1, groups)), axis=-1)


def _moments(walk, x, groups):
    """Return mean and variance of each group of each image that `walk` knows."""
    rows, each = walk.view(x), walk.channels // max(1, groups)
    count = x.size // max(1, walk.images * groups)

    def about(centre):
        mean, square = _by_groups(walk.totals(rows, rows, centre), groups) / max(1, count)
        return mean, np.maximum(square - mean**2, 0)

    with np.errstate(all="ignore"):
        mean, var = about(None)
        if (mean**2 > _FAR**2 * var).any():
            centre = mean.astype(x.dtype)
            rest, var = about(walk.spread(np.repeat(centre, each, axis=1), x.dtype))
            mean = centre + rest
    return mean, var


def _normalize(walk, x, mean, var, weight, bias, eps, relu=False):
    """Return the output; `mean` and `var` are (images, C)."""
    y = empty_channels_last(x.shape, x.dtype)
    with np.errstate(all="ignore"):
        inverse = 1 / np.sqrt(np.asarray(var, np.float64) + eps)
        rest, centre = _centre(walk, mean, inverse, x.dtype, _FAR_VALUE)
        scale = inverse if weight is None else inverse * weight
        offset = (0.0 if bias is None else bias) - rest * scale
        scale, offset = walk.spread([scale, offset], x.dtype)

    def piece(out, x, scale, offset, centre):
        if centre is not None:
            x = np.subtract(x, centre, out=out)
        np.multiply(x, scale, out=out)
        np.add(out, offset, out=out)
        if relu:
            np.clip(out, out.dtype.type(0), out.dtype.type(np.inf), out=out)

    walk.for_pieces(piece, walk.view(y), walk.view(x), scale, offset, centre)
    return y


def _centre(walk, mean, inverse, dtype, far):
    """Return what is still to subtract after `centre`, and `centre` as rows or None.

    There is one if the mean of a channel is beyond `far` spreads.

    The centre is rounded to `dtype`, so that x - centre is exact where it matters.
    """
    mean = np.asarray(mean, np.float64)
    if not (np.abs(mean) * inverse > far).any():
        return mean, None
    centre = mean.astype(dtype)
    return mean - centre, walk.spread(centre, dtype)
