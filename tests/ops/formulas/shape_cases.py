"""Cases of ops that move, repeat, pick or add up elements."""

from __future__ import annotations

import itertools
import math

import numpy as np

from nnmed.ops import indexing, pad, reduction, shape
from tests.ops.formulas.case import Case

rng = np.random.default_rng(10)


def normal(*shape):
    return rng.standard_normal(shape)


NUMBERS = normal(2, 3, 4)
TIED = np.round(NUMBERS)

# -- reductions over the dimensions 0 and 2 ------------------------------------------------

OVER = (0, 2)


def summed_first(array):
    """View (2, 3, 4) as (elements to be summed i, kept j)."""
    return array.transpose(0, 2, 1).reshape(8, 3)


def reduction_case(op, x=NUMBERS, values=None, label=""):
    """Return the case of a reduction that keeps dimensions."""
    views = dict(x=summed_first, y=np.ravel)
    return Case(op, dict(x=x), values or {}, views=views, label=label)


REDUCTIONS = [
    reduction_case(lambda: reduction.Sum(OVER, True)),
    reduction_case(lambda: reduction.Mean(OVER, True), values=dict(n=8)),
    reduction_case(lambda: reduction.Extremum(True, OVER, True), TIED, {r"\ext": r"\max"}, "max"),
    reduction_case(lambda: reduction.Extremum(False, OVER, True), TIED, {r"\ext": r"\min"}, "min"),
    reduction_case(lambda: shape.SumTo((3, 1))),
    Case(
        lambda: shape.BroadcastTo((2, 3, 4)),
        dict(x=NUMBERS[0, :, :1]),
        views=dict(x=np.ravel, y=summed_first),
    ),
]

# -- the same elements elsewhere ---------------------------------------------------------------

PARTS = [normal(2, n) for n in (3, 1, 4)]
MOVES = [
    Case(lambda: shape.Reshape((4, 6)), dict(x=NUMBERS), views=dict(x=np.ravel, y=np.ravel)),
    Case(
        lambda: shape.Permute((2, 0, 1)),
        dict(x=NUMBERS),
        {r"\pi": np.array([2, 0, 1])},
        ranges=dict(i=(2, 3, 4)),
    ),
    Case(  # the formula speaks of the joined dimension alone
        lambda: shape.Concatenate(1),
        dict(arrays=PARTS),
        dict(o=np.array([0, 3, 4])),
        ranges=dict(k=3, i=lambda indices: PARTS[indices["k"]].shape[1]),
        rows=True,
    ),
]

# -- positions: numbers of elements in row-major order -----------------------------------------

INDEX = (slice(None), np.array([2, 0, 2]), slice(1, 3))
PICKED = np.arange(24).reshape(2, 3, 4)[INDEX]


def picked(op, x, **values):
    """Return the case of an op whose formula numbers the elements of x and y."""
    label = values.pop("label", "")
    return Case(op, dict(x=x), values, views=dict(x=np.ravel, y=np.ravel), label=label)


PICKS = [
    picked(lambda: indexing.GetItem(INDEX), NUMBERS, i=PICKED.ravel()),
    picked(lambda: indexing.AddAt(INDEX, (2, 3, 4)), normal(*PICKED.shape), i=PICKED.ravel()),
]

LENGTHS = (1, 2, 4, 4)
WIDTHS = {  # negative ones crop: before the end of a line, or after its beginning
    "after": ((0, 0), (0, 0), (2, -1), (1, 2)),
    "before": ((0, 0), (0, 0), (-1, 2), (0, 1)),
}


def go_round(i, n, b, a):
    """Return what circular padding reads: the m entries from s on are left of the line."""
    s, m = max(-b, 0), n + min(b, 0) + min(a, 0)
    return s + (i - b - s) % m


READ = {  # at place i of a line of n, with b entries before it and a after it
    "constant": lambda i, n, b, a: i - b,
    "reflect": lambda i, n, b, a: n - 1 - abs(n - 1 - abs(i - b)),
    "replicate": lambda i, n, b, a: min(max(i - b, 0), n - 1),
    "circular": go_round,
}


def padding(mode, cropped):
    """Yield the case of padding by one mode, and that of its gradient."""
    widths = WIDTHS[cropped]
    padded = [n + sum(pair) for n, pair in zip(LENGTHS, widths)]
    read = [
        [READ[mode](i, n, *pair) for i in range(m)] for n, m, pair in zip(LENGTHS, padded, widths)
    ]
    places = [number(place) for place in itertools.product(*read)]
    value = 0.7 if mode == "constant" else None
    values = dict(r=np.array(places), n=math.prod(LENGTHS), v=value, label=f"{mode}-{cropped}")
    yield picked(lambda: pad.Pad(widths, mode, value), normal(*LENGTHS), **values)
    yield picked(lambda: pad.PadInputGrad(widths, mode), normal(*padded), **values)


def number(place) -> int:
    """Return the number of an element, or -1 outside."""
    inside = all(0 <= i < n for i, n in zip(place, LENGTHS))
    return np.ravel_multi_index(place, LENGTHS) if inside else -1


PADDING = [case for mode in READ for cropped in WIDTHS for case in padding(mode, cropped)]
