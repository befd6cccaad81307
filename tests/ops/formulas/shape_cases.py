"""Cases of ops that move, repeat, pick or add up elements."""

from __future__ import annotations

import numpy as np

from nnmed.ops import indexing, pad, reduction, shape
from tests.ops.formulas.case import Case

rng = np.random.default_rng(10)


def normal(*shape):
    return rng.standard_normal(shape)


NUMBERS = normal(2, 3, 4)
TIED = np.round(NUMBERS)

# -- reductions -----------------------------------------------------------------------------


def reductions(op, x=NUMBERS, label=""):
    """Return the cases of a reduction over dimensions 0 and 2, kept or not, and over all."""
    return [
        Case(lambda: op((0, 2), True), dict(x=x), f"{label}kept"),
        Case(lambda: op((0, 2), False), dict(x=x), f"{label}over02"),
        Case(lambda: op((1, 2), False), dict(x=x), f"{label}rows"),
        Case(lambda: op((2, 1), True), dict(x=x), f"{label}rows-kept"),
        Case(lambda: op((0, 1, 2), False), dict(x=x), f"{label}all"),
        Case(lambda: op((0, 1, 2), True), dict(x=x), f"{label}all-kept"),
    ]


REDUCTIONS = [
    *reductions(reduction.Sum),
    *reductions(reduction.Mean),
    *reductions(lambda *dims: reduction.Extremum(True, *dims), TIED, "max-"),
    *reductions(lambda *dims: reduction.Extremum(False, *dims), TIED, "min-"),
    Case(lambda: shape.SumTo((3, 1)), dict(x=NUMBERS)),
    Case(lambda: shape.SumTo((2, 3, 1)), dict(x=NUMBERS), "rows"),
    Case(lambda: shape.BroadcastTo((2, 3, 4)), dict(x=NUMBERS[:, :1, :1]), "rows"),
    Case(lambda: shape.SumTo((1,)), dict(x=NUMBERS), "one"),
    Case(lambda: shape.BroadcastTo((2, 3, 4)), dict(x=NUMBERS[0, :, :1])),
    Case(lambda: shape.BroadcastTo((2, 3)), dict(x=np.array(2.0)), "one"),
]

# -- the same elements elsewhere ---------------------------------------------------------------

MOVES = [
    Case(lambda: shape.Reshape((4, 6)), dict(x=NUMBERS)),
    Case(lambda: shape.Permute((2, 0, 1)), dict(x=NUMBERS)),
    Case(lambda: shape.Concatenate(1), dict(arrays=[normal(2, n) for n in (3, 1, 4)])),
    Case(lambda: shape.Concatenate(0), dict(arrays=[normal(n, 2, 1) for n in (1, 2)]), "first"),
]

INDEX = (slice(None), np.array([2, 0, 2]), slice(1, 3))
PICKS = [
    Case(lambda: indexing.GetItem(INDEX), dict(x=NUMBERS)),
    Case(lambda: indexing.AddAt(INDEX, (2, 3, 4)), dict(x=normal(2, 3, 2))),
]

LENGTHS = (1, 2, 4, 4)
WIDTHS = {  # negative ones crop: before the end of a line, or after its beginning
    "after": ((0, 0), (0, 0), (2, -1), (1, 2)),
    "before": ((0, 0), (0, 0), (-1, 2), (0, 1)),
}


def padding(mode, cropped):
    """Yield the case of padding by one mode, and that of its gradient."""
    widths = WIDTHS[cropped]
    padded = [n + sum(pair) for n, pair in zip(LENGTHS, widths)]
    value = 0.7 if mode == "constant" else None
    label = f"{mode}-{cropped}"
    yield Case(lambda: pad.Pad(widths, mode, value), dict(x=normal(*LENGTHS)), label)
    yield Case(lambda: pad.PadInputGrad(widths, mode), dict(x=normal(*padded)), label)


MODES = ("constant", "reflect", "replicate", "circular")
PADDING = [case for mode in MODES for cropped in WIDTHS for case in padding(mode, cropped)]
