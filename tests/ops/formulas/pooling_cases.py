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

# -- windows -----------------------------------------------------------------------------

MAX = dict(kernel=(2, 2), stride=(2, 1), padding=(1, 1), dilation=(2, 1))
MAX_SIZE = (3, 5)
CODES = kernels.select("pooling", PICTURE).max_pool2d(PICTURE, *MAX.values(), MAX_SIZE, True)[1]
MAX_POOLING = [
    Case(lambda: pooling_ops.MaxPool2d(*MAX.values(), MAX_SIZE), dict(x=PICTURE)),
    Case(
        lambda: pooling_ops.MaxPool2dInputGrad(CODES, (5, 4), *MAX.values()),
        dict(x=rng.standard_normal((2, 2, *MAX_SIZE))),
    ),
]

AVERAGE = dict(kernel=(3, 2), stride=(2, 3), padding=(1, 0))
AVERAGE_SIZE = (3, 1)
DIVISORS = {"padTrue": (True, None), "padFalse": (False, None), "given": (True, 5)}
AVERAGE_POOLING = [
    case
    for label, q in DIVISORS.items()
    for case in (
        Case(
            lambda q=q: pooling_ops.AvgPool2d(*AVERAGE.values(), AVERAGE_SIZE, *q),
            dict(x=PICTURE),
            label,
        ),
        Case(
            lambda q=q: pooling_ops.AvgPool2dInputGrad((5, 4), *AVERAGE.values(), *q),
            dict(x=rng.standard_normal((2, 2, *AVERAGE_SIZE))),
            label,
        ),
    )
]

ADAPTIVE_POOLING = [
    Case(lambda: adaptive_pooling.AdaptiveMaxPool2d((3, 2)), dict(x=PICTURE)),
    Case(lambda: adaptive_pooling.AdaptiveAvgPool2d((3, 2)), dict(x=PICTURE)),
    Case(
        lambda: adaptive_pooling.AdaptiveAvgPool2dInputGrad((5, 4)),
        dict(x=rng.standard_normal((2, 2, 3, 3))),
    ),
]

# -- positions: the number row * W + column ------------------------------------------------

PLACES = rng.integers(0, 12, (2, 2, 2, 3))  # in a picture of (3, 4); some repeat
SMALL = rng.standard_normal((2, 2, 2, 3))
POSITIONS = [
    Case(lambda: pooling_ops.ScatterPlane(PLACES, (3, 4)), dict(x=SMALL)),
    Case(lambda: pooling_ops.GatherPlane(PLACES), dict(x=rng.standard_normal((2, 2, 3, 4)))),
    Case(lambda: pooling_ops.PlacePlane(PLACES, (3, 4)), dict(x=SMALL)),
]
