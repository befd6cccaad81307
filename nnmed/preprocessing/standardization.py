"""Bringing pixel values to a common scale: y = (x - offset) / scale, channel by channel.

Offset and scale come from the training samples through :meth:`fit` (never from
validation or test images), or from each image itself with ``per_image=True``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np

from nnmed.data.sample import Sample
from nnmed.errors import DataError, UsageError
from nnmed.preprocessing.transform import Transform, check_pair, with_image

PIXELS_PER_IMAGE = 4096
"""PercentileScale.fit looks at no more than this many pixels of an image, evenly spread."""


@dataclasses.dataclass
class _Standardize(Transform):
    """The common part: fitting, scaling. Fields `offset` and `scale` are the fitted values."""

    per_image: bool = False
    offset: list[float] | None = None
    scale: list[float] | None = None

    def fit(self, samples: Iterable[Sample]):
        """Learn offset and scale of each channel from `samples`; return self.

        Raises
        ------
        DataError
            If there is no sample, channel counts differ, or a pixel is not finite.
        """
        if self.per_image:
            raise UsageError(f"{self.name}(per_image=True) is not fitted: use it as it is")
        offset, scale = self._measure(_checked(samples))
        self.offset, self.scale = offset.tolist(), _usable(scale, offset).tolist()
        return self

    def draw(self, sample, rng):
        if self.per_image:
            offset, scale = self._measure(_checked([sample]))
            return {"offset": offset.tolist(), "scale": _usable(scale, offset).tolist()}
        if self.offset is None:
            raise UsageError(f"{self.name} was not fitted: call fit(training samples) first")
        if len(self.offset) != len(sample.image):
            raise DataError(
                f"{sample.path or 'sample'}: the image has {len(sample.image)} channels, "
                f"the training images had {len(self.offset)}; convert it to match"
            )
        return {"offset": self.offset, "scale": self.scale}

    def apply(self, sample, offset, scale):
        image = sample.image - np.array(offset, np.float32)[:, None, None]
        image *= (1 / np.array(scale)).astype(np.float32)[:, None, None]
        return with_image(sample, image)

    def _measure(self, images):
        raise TypeError(f"{self.name} does not say what it measures: override _measure()")


@dataclasses.dataclass
class ZScore(_Standardize):
    """Mean 0 and standard deviation 1; a constant channel becomes 0.

    Means and variances of the images are merged pairwise in float64 (Chan, Golub &
    LeVeque, "Updating formulae and a pairwise algorithm", 1979).
    """

    def _measure(self, images):
        count, mean, squares = 0, 0.0, 0.0
        for image in images:
            pixels = image.reshape(len(image), -1)
            size = pixels.shape[1]
            new = pixels.mean(1, dtype=np.float64)
            delta = new - mean
            squares = squares + pixels.var(1, dtype=np.float64) * size
            squares = squares + delta**2 * (count * size / (count + size))
            count += size
            mean = mean + delta * (size / count)
        return mean, np.sqrt(squares / count)


@dataclasses.dataclass
class MinMax(_Standardize):
    """The smallest value becomes 0, the largest 1; later images may lie outside."""

    def _measure(self, images):
        low, high = np.inf, -np.inf
        for image in images:
            low = np.minimum(low, image.min((1, 2)))
            high = np.maximum(high, image.max((1, 2)))
        return low.astype(np.float64), high.astype(np.float64) - low


@dataclasses.dataclass
class PercentileScale(_Standardize):
    """The percentile `lower` becomes 0, `upper` 1, and what lies outside is clipped.

    Robust against a few extreme pixels, where :class:`MinMax` is not.
    """

    lower: float = 1.0
    upper: float = 99.0

    def __post_init__(self):
        check_pair(self, "lower and upper", (self.lower, self.upper), 0, 100)

    def apply(self, sample, offset, scale):
        result = super().apply(sample, offset, scale)
        np.clip(result.image, 0, 1, out=result.image)
        return result

    def _measure(self, images):
        pixels = np.concatenate([_spread(image) for image in images], axis=1)
        low, high = np.percentile(pixels, [self.lower, self.upper], axis=1)
        return low, high - low


def _spread(image):
    pixels = image.reshape(len(image), -1)
    # An odd step does not fall into step with rows of even length.
    step = max(1, -(-pixels.shape[1] // PIXELS_PER_IMAGE)) | 1
    return pixels[:, ::step]


def _checked(samples):
    """Yield the images; raise DataError at the first bad one, or where there is none."""
    channels = None
    for sample in samples:
        name, image = sample.path or "sample", sample.image
        if not np.isfinite(image).all():
            raise DataError(f"{name}: pixels are not finite; use RepairDeadPixels first")
        if channels not in (None, len(image)):
            raise DataError(f"{name}: the image has {len(image)} channels, those before {channels}")
        channels = len(image)
        yield image
    if channels is None:
        raise DataError("cannot fit on no samples: give the training samples")


def _usable(scale, offset):
    # A channel that is constant up to float32 rounding keeps its unit: it becomes about 0.
    return np.where(scale > np.finfo(np.float32).eps * np.abs(offset), scale, 1.0)
