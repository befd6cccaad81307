"""Removing what the camera added: noise, extreme values, dead pixels. Per channel."""

from __future__ import annotations

import dataclasses

import numpy as np

from nnmed.errors import DataError, UsageError
from nnmed.preprocessing.transform import Transform, check_range, with_image


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
        from scipy.ndimage import median_filter

        return with_image(sample, median_filter(sample.image, size=(1, self.size, self.size)))


@dataclasses.dataclass
class Winsorize(Transform):
    """Clip each channel to its own percentiles `lower` and `upper` (0 to 100).

    The percentiles are those of the finite pixels; infinities are clipped too, NaN stays.
    """

    lower: float = 0.5
    upper: float = 99.5

    def __post_init__(self):
        check_range(self, "percentiles", self.lower, self.upper, 0.0)
        check_range(self, "upper percentile", self.upper, 100.0, 0.0)

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
    by more than `threshold` times the image's noise. The noise is the robust standard
    deviation (1.4826 times the median absolute deviation; Rousseeuw & Croux, JASA 1993)
    of what a 3 x 3 median takes away, and at least 0.1% of the channel's 1st-to-99th
    percentile range. A line, a corner or a calcification of two pixels has a neighbour
    like itself and stays.

    Raises
    ------
    DataError
        If no pixel of a channel is finite.
    """

    threshold: float = 8.0

    def __post_init__(self):
        check_range(self, "threshold", self.threshold, self.threshold, 0.0)

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
            dead |= _isolated(channel, median, self.threshold)
            channel[dead] = median[dead]
        return with_image(sample, image)


def _nearest_alive(channel, dead):
    from scipy.ndimage import distance_transform_edt

    rows, columns = distance_transform_edt(dead, return_distances=False, return_indices=True)
    return channel[rows, columns]


def _isolated(channel, median, threshold):
    from scipy.ndimage import maximum_filter, minimum_filter

    ring = np.ones((3, 3), bool)
    ring[1, 1] = False
    residual = np.abs(channel - median)
    low, high = np.percentile(channel, [1, 99])
    margin = threshold * max(1.4826 * float(np.median(residual)), 1e-3 * float(high - low))
    highest = maximum_filter(channel, footprint=ring, mode="mirror")
    lowest = minimum_filter(channel, footprint=ring, mode="mirror")
    return (channel > highest + margin) | (channel < lowest - margin)


def _median(channel):
    from scipy.ndimage import median_filter

    return median_filter(channel, size=3, mode="mirror")
