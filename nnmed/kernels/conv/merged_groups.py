"""Convolutions in many small groups of channels, a few groups at a time.

A group of four channels makes products far too thin for BLAS. So some neighbouring groups are
taken as one larger group, whose weight is zero wherever an output channel would see another's
inputs::

    two groups as one:    [ w0  0 ]     The zeros are multiplied in vain, but at a few channels
                          [  0 w1 ]     a group that costs less than thin products.

(They also carry a NaN or infinity of `x` to the groups that are taken together: 0 * inf.)
"""

from __future__ import annotations

import numpy as np

# Measured: groups are taken together up to so many channels.
CHANNELS = 16


def merged(groups: int, channels: int, outputs: int) -> int:
    """Return how many groups of so many channels and outputs to take as one."""
    most = CHANNELS // max(channels, outputs)
    return max((m for m in range(1, most + 1) if groups % m == 0), default=1)


def merge(weight, m: int):
    """Return the weight (G/m, m * O, m * C, kh, kw) of (G, O, C, kh, kw)."""
    groups, outputs, channels, *kernel = weight.shape
    wide = np.zeros((groups // m, m, outputs, m, channels, *kernel), weight.dtype)
    for k, part in enumerate(_diagonal(wide)):
        part[...] = weight[k::m]
    return wide.reshape(groups // m, m * outputs, m * channels, *kernel)


def split(wide, m: int):
    """Return the gradient of the weight from that of :func:`merge`'s result."""
    groups, outputs, channels, *kernel = wide.shape
    wide = wide.reshape(groups, m, outputs // m, m, channels // m, *kernel)
    return np.stack(_diagonal(wide), axis=1).reshape(-1, *wide.shape[2:3], *wide.shape[4:])


def _diagonal(wide):
    """Return the blocks (G/m, O, C, kh, kw) on the diagonal, views."""
    return [wide[:, k, :, k] for k in range(wide.shape[1])]
