"""Sampling at given places with NumPy on channels-last memory; formulas in reference.py."""

from __future__ import annotations

import numpy as np

from nnmed.backend.arrays import empty_channels_last, nhwc
from nnmed.backend.threads import chunks, parallel_for
from nnmed.kernels.blocks import BLOCK


def sample(x, index, weight):
    """Return the weighted sums of the places of x that `index` names; see reference.py."""
    (n, c), places = x.shape[:2], index.shape[2]
    y = empty_channels_last((n, c, places), x.dtype)
    source, target = nhwc(x), nhwc(y)
    pieces = _pieces(n, places, c)

    def task(number):
        image, part = pieces[number]
        pixels = np.ascontiguousarray(source[image])
        total = target[image, part]
        for k, (places, weights) in enumerate(zip(index[:, image, part], weight[:, image, part])):
            values = _read(pixels, places, weights[:, None])
            if k:
                total += values
            else:
                total[...] = values

    parallel_for(task, len(pieces))
    return y


def sample_input_grad(dy, index, weight, size):
    """Return dx, (N, C, size): each dy is added where its value was read, times the weight."""
    n, c, places = dy.shape
    dx = empty_channels_last((n, c, size), dy.dtype)
    source, target = nhwc(dy), nhwc(dx)
    channels = np.arange(c)

    def task(image):
        total = np.zeros((size + 1) * c, dy.dtype)  # the last pixel is what lies outside
        for start, stop in chunks(places, max(1, BLOCK // max(1, c))):
            part = slice(start, stop)
            values = np.ascontiguousarray(source[image, part])
            for spots, weights in zip(index[:, image, part], weight[:, image, part]):
                pixels = np.minimum(spots.view(np.uintp), size).view(np.intp)
                flat = pixels[:, None] * c + channels
                shares = values * weights[:, None]
                np.add.at(total, flat.reshape(-1), shares.reshape(-1))
        target[image] = total[: size * c].reshape(size, c)

    parallel_for(task, n)
    return dx


def sample_weight_grad(dy, x, index):
    """Return the gradient of the weights: products of dy and what was read, over channels."""
    n, c, places = dy.shape
    dweight = np.empty(index.shape, x.dtype)
    source, gradient = nhwc(x), nhwc(dy)
    pieces = _pieces(n, places, c)
    ones = np.ones(c, x.dtype)

    def task(number):
        image, part = pieces[number]
        pixels = np.ascontiguousarray(source[image])
        for k, spots in enumerate(index[:, image, part]):
            values = _read(pixels, spots, gradient[image, part])
            np.matmul(values, ones, out=dweight[k, image, part])

    parallel_for(task, len(pieces))
    return dweight


def _read(pixels, places, factor):
    """Return `pixels` (size, C) at `places` times `factor`, 0 where a place is negative."""
    values = np.take(pixels, places, axis=0, mode="clip")
    values *= factor
    outside = places < 0
    if outside.any():  # not a product: 0 times a NaN would be NaN
        values[outside] = 0
    return values


def _pieces(images, places, channels):
    """Return (image, slice of places) pairs of about BLOCK numbers."""
    step = max(1, BLOCK // max(1, channels))
    return [
        (image, slice(start, stop))
        for image in range(images)
        for start, stop in chunks(places, step)
    ]
