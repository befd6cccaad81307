"""Arrays for the page: a few pictures of each, packed into text.

A number becomes one of 65,535 steps between the smallest and the largest of its array, so that it
is shown to 1 part in 10,000 of the range; of large maps every k-th row and column is kept.
"""

from __future__ import annotations

import base64
import itertools
import math

import numpy as np

from nnmed.explain.step import Statistics

SIDE = 64
"""Rows and columns of a picture, at most."""
NUMBERS = 8192
"""Numbers of an array on the page, at most, but for one picture."""
PICTURES = 64
NAN, STEPS = 65535, 65534


def pack(array: np.ndarray) -> dict:
    """Return what the page's arrays.js reads: pictures of an array, and its statistics.

    The last two axes make a picture, the others tell which; of a batch the first sample is shown.
    Before the pictures of several channels stands one of their norm.
    """
    rows, columns = (1, 1, *array.shape)[-2:]
    stride = max(1, math.ceil(rows / SIDE)), max(1, math.ceil(columns / SIDE))
    leading = array.shape[:-2]
    size = math.ceil(rows / stride[0]) * math.ceil(columns / stride[1])
    count = min(PICTURES, max(1, NUMBERS // max(size, 1)))
    places = [list(place) for place in itertools.islice(_places(leading), count)]
    pictures = [
        array[(*place, ...)].reshape(rows, columns)[:: stride[0], :: stride[1]] for place in places
    ]
    has_norm = len(leading) == 2 and leading[1] > 1 and bool(pictures)
    if has_norm:
        whole = np.square(array[0, :, :: stride[0], :: stride[1]], dtype=np.float64)
        pictures.insert(0, np.sqrt(whole.sum(axis=0)))
        places.insert(0, places[0])
    smallest, largest, packed = _quantize(np.array(pictures, np.float64))
    return {
        "shape": list(array.shape),
        "axes": list(range(array.ndim))[-2:],
        "rows": math.ceil(rows / stride[0]),
        "columns": math.ceil(columns / stride[1]),
        "stride": list(stride),
        "places": places,
        "labels": (["norm"] if has_norm else []) + [str(p) for p in places[has_norm:]],
        "norm": has_norm,
        "smallest": smallest,
        "largest": largest,
        "numbers": packed,
        "statistics": _plain(Statistics.of(array)),
    }


def _places(leading):
    """Yield the indices before a picture's: all channels of the first sample of a batch."""
    first = [range(1)] if len(leading) >= 2 else []
    return itertools.product(*first, *map(range, leading[len(first) :]))


def _quantize(numbers):
    """Return the range of the finite numbers, and all as 16-bit steps of it in base64."""
    finite = numbers[np.isfinite(numbers)]
    smallest, largest = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    span = (largest - smallest) or 1.0
    with np.errstate(invalid="ignore"):
        steps = np.rint((np.clip(numbers, smallest, largest) - smallest) / span * STEPS)
    steps = np.where(np.isnan(numbers), NAN, steps).astype("<u2")
    return smallest, largest, base64.b64encode(steps.tobytes()).decode("ascii")


def _plain(statistics: Statistics) -> dict:
    """Return the statistics for JSON, which has no NaN and no infinity."""
    return {
        name: value if math.isfinite(value) else None for name, value in vars(statistics).items()
    }
