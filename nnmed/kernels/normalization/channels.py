"""Walk over the channels of a batch: sums and affine maps on channels-last memory.

An array is read as ``(images, rows, length)``, where a long row holds several pixels with
all their channels. A sum over rows is then a product with a row of ones, and a number per
channel is a vector repeated to the length of a row. Batch normalisation, whose statistics
belong to the whole batch, takes the batch for one image.

Pieces are large: the second level of cache gains less here than a call costs that two
threads make at a time (measured: 10 microseconds). Sums of pieces are added in float64 in a
fixed order.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from math import ceil

import numpy as np

from nnmed.backend.arrays import as_channels_last, nhwc
from nnmed.backend.threads import parallel_for
from nnmed.kernels.elementwise import quietly, temporaries

# Numbers in a long row. What NumPy's ufuncs broadcast they first copy into a buffer of 8192
# numbers, unless rows are as long as that: it would cost half as much again.
_ROW = 8192
_SUM_ROW = 1024  # numbers in a row of sums, which should stay in the first level of cache
_PIECE = 1 << 19  # numbers in a piece


class Channels:
    """How pixels make rows, and rows make pieces.

    Parameters
    ----------
    images, pixels, channels : int
        Images, pixels in each, channels of each pixel.
    """

    def __init__(self, images: int, pixels: int, channels: int):
        self.images, self.channels = images, channels
        self._repeats = _pixels_in_a_row(pixels, max(1, channels))
        self._shape = images, pixels // self._repeats, self._repeats * channels
        self._pieces, self._parts = _cut(*self._shape)
        self._sum_row = max(1, min(pixels, _SUM_ROW // max(1, channels))) * channels

    def view(self, x):
        """Return `x` (N, C, H, W) as rows: a view of channels-last memory, else a copy."""
        return nhwc(as_channels_last(x)).reshape(self._shape)

    def spread(self, numbers, dtype):
        """Return a number for each image (or for all) and channel as one row for each image.

        Several such arrays in a list come back as one array, since small calls add up.
        """
        numbers = np.asarray(numbers, dtype)
        *rest, channels = numbers.shape
        rows = np.empty((*rest, self._repeats, channels), dtype)
        rows[...] = numbers[..., None, :]
        return rows.reshape(*rest, 1, self._repeats * channels)

    def for_pieces(self, task, *arrays):
        """Call ``task(*pieces)`` on the worker threads, for all pieces of `arrays`.

        An array comes from :meth:`view` or :meth:`spread`; None stays None. The last pieces
        come first: the sums taken before have left them in the cache.
        """
        last = len(self._pieces) - 1

        def run(index):
            quietly(task, *(self._take(array, last - index) for array in arrays))

        parallel_for(run, len(self._pieces))

    def totals(self, a, b, centre=None):
        """Return the sums of ``a`` and of ``a * (b - centre)`` for each image and channel.

        `a` and `b` come from :meth:`view`, `centre` from :meth:`spread`. Where `a` is `b`,
        the centre is subtracted from both. Both are float64, together ``(2, images, C)``.
        """
        totals = np.empty((2, self.images, self._parts, self._sum_row), a.dtype)
        sums, products = totals

        def run(index):
            first, second, middle = (self._take(array, index) for array in (a, b, centre))
            if middle is not None:
                second = np.subtract(second, middle, out=scratch_like(second))
                first = second if a is b else first
            images, part = slice(*self._pieces[index][:2]), index % self._parts
            first, second = (t.reshape(len(t), -1) for t in (first, second))
            rest = first.shape[1] % self._sum_row  # numbers of pixels that make no row
            whole = first.shape[1] - rest
            rows, others = (
                t[:, :whole].reshape(len(t), -1, self._sum_row) for t in (first, second)
            )
            # First einsum: it reads memory in order, the product with ones does not.
            np.einsum("nrc,nrc->nc", rows, others, out=products[images, part])
            ones = np.ones((1, rows.shape[1]), a.dtype)
            np.matmul(ones, rows, out=sums[images, part, None])
            if rest:
                sums[images, part, :rest] += first[:, whole:]
                products[images, part, :rest] += first[:, whole:] * second[:, whole:]

        parallel_for(lambda index: quietly(run, index), len(self._pieces))
        # Add up what the parts of an image, and the pixels of a row, have for a channel.
        each = self._parts * (self._sum_row // max(1, self.channels))
        totals = totals.reshape(2, self.images, each, self.channels)
        return np.add.reduce(totals, axis=2, dtype=np.float64)

    def _take(self, array, index):
        if array is None:
            return None
        start, stop, top, bottom = self._pieces[index]
        if array.shape[1] == 1 < self._shape[1]:  # one row for all rows
            top, bottom = 0, 1
        return array[start:stop, top:bottom] if len(array) == self.images else array


@lru_cache(maxsize=256)
def channels_of(images: int, pixels: int, channels: int) -> Channels:
    """Return the walk over a batch; a network has some tens of sizes, each seen every step."""
    return Channels(images, pixels, channels)


def scratch_like(piece):
    """Return uninitialised scratch of the shape of `piece`, this thread's until the next call."""
    return temporaries(1, piece.size, piece.dtype)[0].reshape(piece.shape)


def _pixels_in_a_row(pixels: int, channels: int) -> int:
    """Return a divisor of `pixels` that makes rows long, if possible at least 8 of them."""
    low = max(1, min(ceil(_ROW / channels), pixels // 8))
    divisors = (k for k in range(low, 4 * low) if pixels % k == 0)
    return next(divisors, 0) or _largest_divisor(pixels, low)


def _largest_divisor(number: int, limit: int) -> int:
    return next(k for k in range(limit, 0, -1) if number % k == 0)


def _cut(images: int, height: int, length: int):
    """Return pieces (image, stop, row, stop) of about one size, and how many an image has.

    Where there are several, they are an even number, so that two threads share them evenly.
    """
    if not images * height * length:
        return [], 0
    wanted = ceil(images * height * length / _PIECE)
    wanted += wanted % 2 if wanted > 1 else 0
    parts = min(height, ceil(wanted / images))
    if parts > 1:
        rows = _bounds(height, parts)
        return [(n, n + 1, a, b) for n in range(images) for a, b in rows], parts
    return [(m, n, 0, height) for m, n in _bounds(images, min(images, wanted))], 1


def _bounds(total: int, parts: int):
    """Split ``range(total)`` evenly into (start, stop)."""
    stops = [total * k // parts for k in range(parts + 1)]
    return list(pairwise(stops))
