"""Convolutions of few channels, such as a network's first layer.

A patch of kh * kw * C numbers is then too short: copying it costs more than multiplying, and
the product is too thin for BLAS. So m neighbouring output columns become one row of the
product. Their windows overlap: together they see ``span = (m - 1) * stride + (kw - 1) *
dilation + 1`` input columns, and column j of the m has its weights j * stride further on::

    wide weight, kernel row u, m = 2, stride 1, kw = 3:    column 0: [w0 w1 w2  0]
                                                           column 1: [ 0 w0 w1 w2]

That is a convolution again, with m * O output channels, kernel width `span` and horizontal
stride m * stride. Its zeros are wasted multiplications; at a few channels they cost less
than what they save. (They also carry a NaN or infinity of `x` to the whole group: 0 * inf.)
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nnmed.kernels.conv import products
from nnmed.kernels.conv.blocks import MIN_ROW, Geometry

# Measured, in multiplications of the product: what it costs to copy a run of neighbouring
# numbers, and each number of the run.
RUN, NUMBER = 176, 11


def grouped(channels: int, outputs: int, groups: int, geometry: Geometry) -> int:
    """Return how many output columns to group: 1 where grouping does not pay."""
    width = geometry.kernel[1]
    if groups > 1 or width == 1 or channels * width >= MIN_ROW:
        return 1

    def cost(m):  # of a pixel and a kernel row
        run = geometry.reach(1, m) * channels
        return (RUN + NUMBER * run) / m + run * outputs

    return min((1, 2, 4), key=cost)


def correlate(x, weight, y, geometry: Geometry, bias, m: int):
    """Do :func:`products.correlate` with `m` columns in a group; needs one group of channels.

    In `y`, neighbouring pixels of a row must be neighbours in memory.
    """
    whole = y.shape[2] // m * m
    if whole:
        wide = None if bias is None else np.tile(bias, (1, m))
        part = _grouped_view(y[:, :, :whole], m)
        products.correlate(x, _widen(weight, geometry, m), part, _wide(geometry, m), wide)
    if whole < y.shape[2]:
        products.correlate(x, weight, y[:, :, whole:], _shifted(geometry, whole), bias)


def weight_grad(dy, x, geometry: Geometry, m: int):
    """Do :func:`products.weight_grad` with `m` columns in a group."""
    whole = dy.shape[2] // m * m
    shape = (1, dy.shape[4], x.shape[3], *geometry.kernel)
    total = np.zeros(shape, x.dtype)
    if whole:
        part = _grouped_view(dy[:, :, :whole], m)
        wide = products.weight_grad(part, x, _wide(geometry, m))
        total += _narrow(wide.reshape(m, *shape[1:4], -1), geometry)
    if whole < dy.shape[2]:
        total += products.weight_grad(dy[:, :, whole:], x, _shifted(geometry, whole))
    return total


def _grouped_view(y, m: int):
    n, h, w, _, outputs = y.shape
    return y.reshape(n, h, w // m, 1, m * outputs)


def _wide(geometry: Geometry, m: int) -> Geometry:
    """Return the geometry of the wide convolution."""
    (sh, sw), kh = geometry.stride, geometry.kernel[0]
    dilation = geometry.dilation[0], 1
    return replace(
        geometry, kernel=(kh, geometry.reach(1, m)), stride=(sh, m * sw), dilation=dilation
    )


def _shifted(geometry: Geometry, columns: int) -> Geometry:
    """Return the geometry of what remains after the first `columns` output columns."""
    top, left = geometry.before
    return replace(geometry, before=(top, left - columns * geometry.stride[1]))


def _bands(wide, geometry: Geometry):
    """Yield column j's part of a wide weight (m, O, C, kh, span), as (O, C, kh, kw) views."""
    for j, band in enumerate(wide):
        start = j * geometry.stride[1]
        yield band[..., start : start + geometry.reach(1, 1) : geometry.dilation[1]]


def _widen(weight, geometry: Geometry, m: int):
    wide = np.zeros((m, *weight.shape[1:4], geometry.reach(1, m)), weight.dtype)
    for band in _bands(wide, geometry):
        band[...] = weight[0]
    return wide.reshape(1, -1, *wide.shape[2:])


def _narrow(wide, geometry: Geometry):
    """Add up the bands: what :func:`_widen` copied apart."""
    return sum(_bands(wide, geometry))
