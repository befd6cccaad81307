"""Removing what the camera added: noise, extreme values, dead pixels. Per channel."""

from __future__ import annotations

import dataclasses
from functools import reduce

import numpy as np

from nnmed.errors import DataError, UsageError
from nnmed.preprocessing.transform import Transform, check_number, check_pair, with_image


@dataclasses.dataclass
class MedianFilter(Transform):
    """Replace each pixel by the median of the `size` x `size` pixels around it.

    Borders are mirrored. NaN has no rank: use :class:`RepairDeadPixels` first.
    """

    size: int = 3

    def __post_init__(self):
        if self.size < 1 or self.size % 2 == 0:
            raise UsageError(f"MedianFilter: size must be odd and positive, got {self.size}")

    def apply(self, sample):
        if self.size == 3:
            return with_image(sample, np.stack([_median(channel) for channel in sample.image]))
        from scipy.ndimage import median_filter

        window = (1, self.size, self.size)
        return with_image(sample, median_filter(sample.image, window, mode="mirror"))


@dataclasses.dataclass
class Winsorize(Transform):
    """Clip each channel to its own percentiles `lower` and `upper` (0 to 100).

    The percentiles are those of the finite pixels; infinities are clipped too, NaN stays.
    """

    lower: float = 0.5
    upper: float = 99.5

    def __post_init__(self):
        check_pair(self, "lower and upper", (self.lower, self.upper), 0, 100)

    def apply(self, sample):
        image = sample.image.copy()
        for channel in image:
            finite = channel[np.isfinite(channel)]
            if finite.size:
                low, high = np.percentile(finite, [self.lower, self.upper])
                np.clip(channel, np.float32(low), np.float32(high), out=channel)
        return with_image(sample, image)


@dataclasses.dataclass
class RepairDeadPixels(Transform):
    """Replace isolated outliers and pixels that are not finite by the local median.

    A pixel is dead if it lies beyond the largest or the smallest of its eight neighbours
    by more than `threshold` times the channel's noise. The noise is estimated from second
    differences, which ignore slopes (J. Immerkaer, "Fast noise variance estimation",
    Computer Vision and Image Understanding 64, 1996), with the median instead of the mean,
    over the pixels where they are not 0; it counts as at least 0.1% of the range from the
    1st to the 99th percentile. A line, a corner or a calcification of two pixels has a
    neighbour like itself and stays.

    Raises
    ------
    DataError
        If no pixel of a channel is finite.
    """

    threshold: float = 8.0

    def __post_init__(self):
        check_number(self, "threshold", self.threshold, 0, 1e6)

    def apply(self, sample):
        image = sample.image.copy()
        for number, channel in enumerate(image):
            dead = ~np.isfinite(channel)
            if dead.all():
                raise DataError(
                    f"{sample.path or 'sample'}: no pixel of channel {number} is finite; "
                    "leave this image out"
                )
            if dead.any():
                channel[dead] = _nearest_alive(channel, dead)[dead]
            median = _median(channel)
            dead |= _isolated(channel, self.threshold)
            channel[dead] = median[dead]
        return with_image(sample, image)


def _nearest_alive(channel, dead):
    from scipy.ndimage import distance_transform_edt

    rows, columns = distance_transform_edt(dead, return_distances=False, return_indices=True)
    return channel[rows, columns]


def _isolated(channel, threshold):
    around = _window(channel)
    ring = [around[i][j] for i in range(3) for j in range(3) if (i, j) != (1, 1)]
    low, high = np.percentile(channel, [1, 99])
    margin = threshold * max(_noise(channel), 1e-3 * float(high - low))
    highest, lowest = reduce(np.maximum, ring), reduce(np.minimum, ring)
    return (channel > highest + margin) | (channel < lowest - margin)


def _noise(channel):
    """Return the standard deviation of white noise on top of a smooth image."""
    if min(channel.shape) < 3:
        return 0.0
    # [1, -2, 1] along both axes multiplies the standard deviation by 6; the median of a
    # normal variable's absolute value is 1 / 1.4826 of it.
    second = np.abs(np.diff(np.diff(channel, 2, axis=0), 2, axis=1))
    second = second[second > 0]
    return 1.4826 / 6 * float(np.median(second)) if second.size else 0.0


def _window(channel):
    """Return the 3 x 3 shifted views of `channel`, [row][column], mirrored at the borders."""
    height, width = channel.shape
    padded = np.pad(channel, 1, "reflect")
    return [[padded[i : i + height, j : j + width] for j in range(3)] for i in range(3)]


def _median(channel):
    """Return the median of 3 x 3 pixels, ten times faster than by sorting each window.

    After sorting the three columns of a window, its median is the median of the largest
    minimum, the median middle and the smallest maximum (J. L. Smith, "Implementing median
    filters in XC4000E FPGAs", Xcell 23, 1996).
    """
    around = _window(channel)
    columns = [_sort3(*(around[i][j] for i in range(3))) for j in range(3)]
    lows, middles, highs = zip(*columns)
    largest, smallest = reduce(np.maximum, lows), reduce(np.minimum, highs)
    return _sort3(largest, _sort3(*middles)[1], smallest)[1]


def _sort3(a, b, c):
    a, b = np.minimum(a, b), np.maximum(a, b)
    b, c = np.minimum(b, c), np.maximum(b, c)
    return np.minimum(a, b), np.maximum(a, b), c
