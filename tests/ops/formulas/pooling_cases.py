"""Cases of pooling ops and of those that move values between positions of a picture."""

from __future__ import annotations

import numpy as np

from nnmed import kernels
from nnmed.ops import adaptive_pooling, pooling_ops
from tests.ops.formulas.case import Case

rng = np.random.default_rng(6)
# Tied values too: the first maximum counts.
PICTURE = np.round(rng.standard_normal((2, 2, 5, 4)), 1)
PICTURE[0, 0, :2] = 0.5

# -- max pooling -------------------------------------------------------------------------

MAX = dict(kernel=(2, 2), stride=(2, 2), padding=(1, 1), dilation=(2, 2))
MAX_SIZE = (3, 2)
LAID = dict(s=2, d=2, p=1)
CODES = kernels.select("pooling", PICTURE).max_pool2d(PICTURE, *MAX.values(), MAX_SIZE, True)[1]


def position_of_maximum(n, c, i, j):
    """Return where window (i, j) has its first maximum."""
    cells = [(2 * i + 2 * u - 1, 2 * j + 2 * v - 1) for u in range(2) for v in range(2)]
    inside = [(a, b) for a, b in cells if 0 <= a < 5 and 0 <= b < 4]
    return np.array(max(inside, key=lambda cell: PICTURE[(n, c, *cell)]))


MAX_POOLING = [
    Case(
        lambda: pooling_ops.MaxPool2d(*MAX.values(), MAX_SIZE),
        dict(x=PICTURE),
        LAID,
        ranges=dict(u=2, v=2),
        outside=-np.inf,
    ),
    Case(
        lambda: pooling_ops.MaxPool2dInputGrad(CODES, (5, 4), *MAX.values()),
        dict(x=rng.standard_normal((2, 2, *MAX_SIZE))),
        dict(m=position_of_maximum),
    ),
]

# -- average pooling ---------------------------------------------------------------------

AVERAGE = dict(kernel=(3, 2), stride=(2, 2), padding=(1, 1))
AVERAGE_SIZE = (3, 3)


def average(op, x, count_include_pad):
    """Return the case of a pooling op with a divisor q that counts the padding or does not."""

    def cells(start, size, length):
        low, high = (0, length) if not count_include_pad else (-1, length + 1)
        return min(start + size, high) - max(start, low)

    return Case(
        lambda: op(count_include_pad, None),
        dict(x=x),
        dict(s=2, p=1, q=lambda i, j: cells(2 * i - 1, 3, 5) * cells(2 * j - 1, 2, 4)),
        ranges=dict(u=3, v=2),
        label=f"pad{count_include_pad}",
    )


AVERAGE_POOLING = [
    case
    for padded in (True, False)
    for case in (
        average(
            lambda *q: pooling_ops.AvgPool2d(*AVERAGE.values(), AVERAGE_SIZE, *q), PICTURE, padded
        ),
        average(
            lambda *q: pooling_ops.AvgPool2dInputGrad((5, 4), *AVERAGE.values(), *q),
            rng.standard_normal((2, 2, *AVERAGE_SIZE)),
            padded,
        ),
    )
]

# -- adaptive pooling --------------------------------------------------------------------


def adaptive(op, x):
    """Return the case of an op that pools (5, 4) to (3, 3)."""
    return Case(op, dict(x=x), dict(H=5, W=4, O=3, P=3))


ADAPTIVE_POOLING = [
    adaptive(lambda: adaptive_pooling.AdaptiveMaxPool2d((3, 3)), PICTURE),
    adaptive(lambda: adaptive_pooling.AdaptiveAvgPool2d((3, 3)), PICTURE),
    adaptive(
        lambda: adaptive_pooling.AdaptiveAvgPool2dInputGrad((5, 4)),
        rng.standard_normal((2, 2, 3, 3)),
    ),
]

# -- positions: the number row * W + column ------------------------------------------------

PLACES = rng.integers(0, 12, (2, 2, 2, 3))  # in a picture of (3, 4); some repeat
SMALL = rng.standard_normal((2, 2, 2, 3))


def flat(symbol):
    """View a picture of (3, 4) as its numbers in a row."""
    return {symbol: lambda x: x.reshape(2, 2, 12)}


POSITIONS = [
    Case(
        lambda: pooling_ops.ScatterPlane(PLACES, (3, 4)),
        dict(x=SMALL),
        dict(m=PLACES),
        views=flat("y"),
    ),
    Case(
        lambda: pooling_ops.GatherPlane(PLACES),
        dict(x=rng.standard_normal((2, 2, 3, 4))),
        dict(m=PLACES),
        views=flat("x"),
    ),
    Case(
        lambda: pooling_ops.PlacePlane(PLACES, (3, 4)),
        dict(x=SMALL),
        dict(m=PLACES),
        views=flat("y"),
    ),
]
