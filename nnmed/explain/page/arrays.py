"""Arrays for the page: a few pictures of each, packed into text.

Numbers are float16 times a power of two for the array, so three digits of each can be shown; of
large maps every k-th row and column is kept.
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
LARGEST = 14
"""Power of two to which the largest number of an array is brought: float16 ends at 2^16."""


def pack(array: np.ndarray, is_weight: bool = False, first=()) -> dict:
    """Return what the page's arrays.js reads: pictures of an array, and its statistics.

    The last two axes make a picture, the others tell which; of a batch the first sample is shown.
    Of (N, C, 1, 1) and the like, where each picture would be a single number, N and C make one.
    Before the pictures of several channels stands one of their norm; weights have none, and are
    no batch. Then come the pictures `first`, then others as far as there is room.
    """
    shape, ones = array.shape, 0
    while len(shape) - ones > 2 and shape[-2:] == (1, 1) and shape[-1 - ones] == 1:
        ones += 1
    array = array.reshape(shape[: len(shape) - ones])
    rows, columns = (1, 1, *array.shape)[-2:]
    stride = max(1, math.ceil(rows / SIDE)), max(1, math.ceil(columns / SIDE))
    leading = array.shape[:-2]
    size = math.ceil(rows / stride[0]) * math.ceil(columns / stride[1])
    count = min(PICTURES, max(1, NUMBERS // max(size, 1)))
    every = itertools.product(*map(range, leading)) if is_weight else _places(leading)
    first = [place for place in first if len(place) == len(leading)]
    every = dict.fromkeys(itertools.chain(first, itertools.islice(every, count)))
    places = [list(place) for place in itertools.islice(every, count)]
    pictures = [
        array[(*place, ...)].reshape(rows, columns)[:: stride[0], :: stride[1]] for place in places
    ]
    has_norm = not is_weight and len(leading) == 2 and leading[1] > 1 and bool(pictures)
    if has_norm:
        whole = np.square(array[0, :, :: stride[0], :: stride[1]], dtype=np.float64)
        pictures.insert(0, np.sqrt(whole.sum(axis=0)))
        places.insert(0, places[0])
    exponent, packed = _halves(np.array(pictures, np.float64))
    return {
        "shape": list(shape),
        "ones": ones,
        "axes": list(range(array.ndim))[-2:],
        "rows": math.ceil(rows / stride[0]),
        "columns": math.ceil(columns / stride[1]),
        "stride": list(stride),
        "places": places,
        "labels": (["norm"] if has_norm else []) + [str(p) for p in places[has_norm:]],
        "norm": has_norm,
        "exponent": exponent,
        "numbers": packed,
        "statistics": _plain(Statistics.of(array)),
    }


def _places(leading):
    """Yield the indices before a picture's: all channels of the first sample of a batch."""
    first = [range(min(1, leading[0]))] if len(leading) >= 2 else []
    return itertools.product(*first, *map(range, leading[len(first) :]))


def _halves(numbers) -> tuple[int, str]:
    """Return k, and the numbers times 2^k as float16 in base64."""
    finite = np.abs(numbers[np.isfinite(numbers)])
    largest = finite.max() if finite.size else 0.0
    exponent = LARGEST - math.frexp(largest)[1] if largest else 0
    with np.errstate(over="ignore", under="ignore"):
        halves = np.ldexp(numbers, exponent).astype("<f2")
    return exponent, base64.b64encode(halves.tobytes()).decode("ascii")


def _plain(statistics: Statistics) -> dict:
    """Return the statistics for JSON, which has no NaN and no infinity."""
    return {
        name: value if math.isfinite(value) else None for name, value in vars(statistics).items()
    }
