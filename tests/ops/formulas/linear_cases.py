"""Cases of ops that are linear in each input: products, convolutions, windows, sampling."""

from __future__ import annotations

import numpy as np

from nnmed.kernels.resample.taps import linear_taps
from nnmed.kernels.resample.windows import Windows
from nnmed.ops import conv, fold, grid_sample, interpolate, linalg
from tests.ops.formulas.case import Case

rng = np.random.default_rng(4)


def normal(*shape):
    return rng.standard_normal(shape)


# -- convolution: positions i, u, a are (row, column) ---------------------------------

STRIDE, DILATION, PADDING = (2, 1), (1, 2), ((1, 1), (2, 1))
# With this input and kernel, the outputs.
SIZES = dict(a=(4, 3), u=(2, 2), i=(3, 4))


def convolution(op, groups=1, **inputs):
    """Return the case of one of the three ops of convolution.

    The formula is that of one group: groups of channels do not see each other.
    """
    make = {
        "Conv": lambda: conv.Conv(STRIDE, PADDING, DILATION, groups),
        "ConvTranspose": lambda: conv.ConvTranspose((4, 3), STRIDE, PADDING, DILATION, groups),
        "ConvWeightGrad": lambda: conv.ConvWeightGrad((2, 2), STRIDE, PADDING, DILATION, groups),
    }[op]
    values = dict(s=np.array(STRIDE), d=np.array(DILATION), p=np.array([1, 2]))

    def channels(array):  # (N, C, ...) to (groups, N, C of a group, ...)
        return np.stack(np.split(array, groups, axis=1))

    def filters(array):  # (O, ...) to (groups, O of a group, ...)
        return np.stack(np.split(array, groups))

    return Case(
        make,
        inputs,
        values,
        views=dict(x=channels, y=channels, w=filters, b=filters),
        ranges=SIZES,
        rows=True,
        label=f"groups{groups}",
    )


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
]

# -- windows ---------------------------------------------------------------------------

WINDOWS = Windows((2, 3), (2, 2), (1, 1), (2, 2))  # kernel, dilation, padding, stride
COUNTS = WINDOWS.counts((4, 5))


def columns(array):
    """Bring (N, C * kh * kw, L) into the form (n, c, u, v, i, j)."""
    return array.reshape(len(array), -1, *WINDOWS.kernel, *COUNTS)


LAID = dict(s=2, d=2, p=1)
WINDOW_OPS = [
    Case(
        lambda: fold.Unfold(WINDOWS),
        dict(x=normal(1, 2, 4, 5)),
        LAID,
        views=dict(y=columns),
    ),
    Case(
        lambda: fold.Fold(WINDOWS, (4, 5)),
        dict(x=normal(1, 2 * 6, COUNTS[0] * COUNTS[1])),
        LAID,
        views=dict(x=columns),
    ),
]

# -- matrices --------------------------------------------------------------------------

MATRICES = dict(a="A", b="B", x="X", weight="W")


def einsum(labels, output, *shapes):
    """Return the case of an einsum. In its formulas i is a value for each of all labels."""
    known = sorted({label for own in labels for label in own})
    arrays = [normal(*shape) for shape in shapes]
    lengths = {c: n for own, shape in zip(labels, shapes) for c, n in zip(own, shape)}
    places = [np.array([known.index(c) for c in own], int) for own in (output, *labels)]

    def shape_of_j(indices):  # those of operand m, or else of the output
        own = labels[indices["m"]] if "m" in indices else output
        return tuple(lengths[c] for c in own)

    return Case(
        lambda: linalg.Einsum(list(labels), output),
        dict(arrays=arrays),
        dict(O=places[0], L=lambda k: places[1 + k]),
        ranges=dict(i=tuple(lengths[c] for c in known), j=shape_of_j, k=len(labels), m=len(labels)),
        label=f"{','.join(labels)}->{output}",
    )


PRODUCTS = [
    Case(linalg.MatMul, dict(a=normal(3, 4), b=normal(4, 2)), symbols=MATRICES),
    Case(
        linalg.MatMul, dict(a=normal(2, 3, 4), b=normal(2, 4, 2)), symbols=MATRICES, label="stack"
    ),
    Case(
        linalg.Linear, dict(x=normal(3, 4), weight=normal(2, 4), bias=normal(2)), symbols=MATRICES
    ),
    einsum(("ni", "oij", "nj"), "no", (2, 3), (2, 3, 4), (2, 4)),
    einsum(("ij", "kj"), "i", (2, 3), (4, 3)),
]

# -- sampling --------------------------------------------------------------------------


def matrix(size, output_size):
    """Return what linear interpolation is: two neighbours, weighted by how near they are."""
    position = (np.arange(output_size) + 0.5) * size / output_size - 0.5
    distance = np.clip(position, 0, size - 1)[:, None] - np.arange(size)
    return np.maximum(1 - np.abs(distance), 0)


def taps(size, output_size):
    return linear_taps(size, output_size, size / output_size, False, np.dtype(np.float64))


READ = rng.integers(-1, 6, (4, 2, 5))  # taps k, pictures n, samples p; -1 is outside
SAMPLING = [
    Case(
        lambda: interpolate.Interpolate((taps(3, 5), taps(4, 3))),
        dict(x=normal(1, 2, 3, 4)),
        dict(A=matrix(3, 5), B=matrix(4, 3)),
    ),
    Case(
        lambda: grid_sample.Sample(READ),
        dict(x=normal(2, 3, 6), weight=normal(4, 2, 5)),
        dict(r=READ),
    ),
    Case(
        lambda: grid_sample.SampleInputGrad(READ, 6),
        dict(x=normal(2, 3, 5), weight=normal(4, 2, 5)),
        dict(r=READ),
    ),
    Case(
        lambda: grid_sample.SampleWeightGrad(READ),
        dict(y=normal(2, 3, 5), x=normal(2, 3, 6)),
        dict(r=READ),
    ),
]
