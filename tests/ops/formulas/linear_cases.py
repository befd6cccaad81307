"""Cases of ops that are linear in each input: products, convolutions, windows, sampling."""

from __future__ import annotations

import math

import numpy as np

from nnmed.kernels.resample.taps import linear_taps
from nnmed.kernels.resample.windows import Windows
from nnmed.ops import conv, fold, grid_sample, interpolate, linalg
from tests.ops.formulas.case import Case

rng = np.random.default_rng(4)


def normal(*shape):
    return rng.standard_normal(shape)


# -- convolution ------------------------------------------------------------------------

STRIDE, DILATION, PADDING = (2, 1), (1, 2), ((1, 1), (2, 1))


def convolution(op, groups=1, **inputs):
    """Return the case of one of the three ops of convolution."""
    make = {
        "Conv": lambda: conv.Conv(STRIDE, PADDING, DILATION, groups),
        "ConvTranspose": lambda: conv.ConvTranspose((4, 3), STRIDE, PADDING, DILATION, groups),
        "ConvWeightGrad": lambda: conv.ConvWeightGrad((2, 2), STRIDE, PADDING, DILATION, groups),
    }[op]
    return Case(make, inputs, f"groups{groups}")


CONVOLUTIONS = [
    case
    for g in (1, 2)
    for case in (
        convolution(
            "Conv", g, x=normal(2, 2, 4, 3), weight=normal(2, 2 // g, 2, 2), bias=normal(2)
        ),
        convolution("ConvTranspose", g, x=normal(2, 2, 3, 4), weight=normal(2, 2 // g, 2, 2)),
        convolution("ConvWeightGrad", g, y=normal(2, 2, 3, 4), x=normal(2, 2, 4, 3)),
    )
] + [
    Case(
        lambda: conv.Conv((2, 1), ((-1, 1), (0, 0)), (1, 1), 1),
        dict(x=normal(1, 2, 5, 2), weight=normal(2, 2, 2, 1), bias=normal(2)),
        "cropped",
    ),
    Case(
        lambda: conv.Conv((1, 1, 2), ((0, 1),) * 3, (1, 1, 1), 1),
        dict(x=normal(1, 1, 2, 1, 2), weight=normal(1, 1, 2, 2, 1), bias=normal(1)),
        "volume",
    ),
]

# -- windows ---------------------------------------------------------------------------

WINDOWS = Windows((2, 3), (2, 1), (1, 2), (1, 3))  # kernel, dilation, padding, stride
WINDOW_OPS = [
    Case(lambda: fold.Unfold(WINDOWS), dict(x=normal(1, 2, 4, 5))),
    Case(
        lambda: fold.Fold(WINDOWS, (4, 5)),
        dict(x=normal(1, 2 * 6, math.prod(WINDOWS.counts((4, 5))))),
    ),
]

# -- matrices --------------------------------------------------------------------------


def einsum(labels, output, *shapes):
    """Return the case of an einsum."""
    arrays = [normal(*shape) for shape in shapes]
    return Case(
        lambda: linalg.Einsum(list(labels), output),
        dict(arrays=arrays),
        f"{','.join(labels)}->{output}",
    )


PRODUCTS = [
    Case(linalg.MatMul, dict(a=normal(3, 4), b=normal(4, 2))),
    Case(linalg.MatMul, dict(a=normal(2, 3, 4), b=normal(2, 4, 2)), "stack"),
    Case(linalg.Linear, dict(x=normal(3, 4), weight=normal(2, 4), bias=normal(2))),
    Case(linalg.Linear, dict(x=normal(3, 4), weight=normal(2, 4)), "bare"),
    einsum(("ni", "oij", "nj"), "no", (2, 3), (2, 3, 4), (2, 4)),
    einsum(("ij", "kj"), "i", (2, 3), (4, 3)),
]

# -- sampling --------------------------------------------------------------------------


def taps(size, output_size):
    return linear_taps(size, output_size, size / output_size, False, np.dtype(np.float64))


READ = rng.integers(-1, 6, (4, 2, 5))  # taps k, pictures n, samples p; -1 is outside
SAMPLING = [
    Case(
        lambda: interpolate.Interpolate((taps(3, 5), taps(4, 3))),
        dict(x=normal(1, 2, 3, 4)),
    ),
    Case(lambda: interpolate.Interpolate((taps(3, 5),)), dict(x=normal(1, 2, 3)), "signal"),
    Case(lambda: grid_sample.Sample(READ), dict(x=normal(2, 3, 6), weight=normal(4, 2, 5))),
    Case(
        lambda: grid_sample.SampleInputGrad(READ, 6),
        dict(x=normal(2, 3, 5), weight=normal(4, 2, 5)),
    ),
    Case(
        lambda: grid_sample.SampleWeightGrad(READ),
        dict(y=normal(2, 3, 5), x=normal(2, 3, 6)),
    ),
]
