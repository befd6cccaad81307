"""Augmentation of pixel values. Mask and boxes stay as they are.

Strengths are relative to the image's own spread, so the same settings serve images in
[0, 1], in Hounsfield units and after standardisation.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from nnmed.backend.arrays import device_of, to_device
from nnmed.backend.threads import parallel_for
from nnmed.preprocessing.transform import (
    Transform,
    check_number,
    check_pair,
    for_each_image,
    require_rng,
    with_image,
)

_AXES = (1, 2, 3)  # of an image in a batch


@dataclasses.dataclass
class BrightnessContrast(Transform):
    """y = mean + contrast (x - mean) + brightness std, mean and std over the whole image.

    Parameters
    ----------
    brightness : float
        Drawn uniformly in [-brightness, brightness]; 1 is one standard deviation.
    contrast : float
        The factor is uniform in [1 - contrast, 1 + contrast].
    """

    brightness: float = 0.2
    contrast: float = 0.2

    def __post_init__(self):
        check_number(self, "brightness", self.brightness, 0, 100)
        check_number(self, "contrast", self.contrast, 0, 1)

    def draw(self, sample, rng):
        first, second = require_rng(rng, self).random(2).tolist()
        return {
            "brightness": self.brightness * (2 * first - 1),
            "contrast": 1 + self.contrast * (2 * second - 1),
        }

    def apply(self, sample, brightness, contrast):
        mean, std = _mean_std(sample.image)
        image = sample.image * contrast
        image += mean * (1 - contrast) + brightness * std
        return with_image(sample, image)

    def apply_batch(self, images, samples, parameters):
        brightness = for_each_image(images, parameters, "brightness")
        contrast = for_each_image(images, parameters, "contrast")
        mean, std = images.mean(_AXES, keepdims=True), images.std(_AXES, keepdims=True)
        return images * contrast + (mean * (1 - contrast) + brightness * std)


@dataclasses.dataclass
class RandomGamma(Transform):
    """y = low + (high - low) ((x - low) / (high - low)) ** gamma, between the image's extremes.

    Parameters
    ----------
    gamma : (float, float)
        The exponent is uniform in its logarithm between the two. Below 1 brightens.
    """

    gamma: tuple[float, float] = (0.8, 1.25)

    def __post_init__(self):
        self.gamma = check_pair(self, "gamma", self.gamma, 0.01, 100)

    def draw(self, sample, rng):
        low, high = (math.log(limit) for limit in self.gamma)
        return {"gamma": math.exp(low + (high - low) * require_rng(rng, self).random())}

    def apply(self, sample, gamma):
        low, high = float(sample.image.min()), float(sample.image.max())
        if low == high:
            return sample
        image = sample.image - low
        image *= 1 / (high - low)
        image **= gamma
        image *= high - low
        image += low
        return with_image(sample, image)

    def apply_batch(self, images, samples, parameters):
        low, high = images.min(_AXES, keepdims=True), images.max(_AXES, keepdims=True)
        size = high - low + (low == high)  # of a constant image 1: it stays as it is
        return low + size * ((images - low) / size) ** for_each_image(images, parameters, "gamma")


@dataclasses.dataclass
class GaussianNoise(Transform):
    """Add white Gaussian noise.

    Parameters
    ----------
    std : float
        The noise's standard deviation is uniform in [0, std]; 1 is that of the image.
    """

    std: float = 0.1

    def __post_init__(self):
        check_number(self, "std", self.std, 0, 100)

    def draw(self, sample, rng):
        rng = require_rng(rng, self)
        return {"std": self.std * float(rng.random()), "seed": int(rng.integers(2**63))}

    def apply(self, sample, std, seed):
        image = _white_noise(seed, sample.image.shape)
        image *= std * _mean_std(sample.image)[1]
        image += sample.image
        return with_image(sample, image)

    def apply_batch(self, images, samples, parameters):
        noise = np.empty(images.shape, np.float32)

        def draw(index):
            noise[index] = _white_noise(parameters[index]["seed"], images.shape[1:])

        parallel_for(draw, len(images))  # the draws of the CPU: a GPU has other generators
        std = for_each_image(images, parameters, "std") * images.std(_AXES, keepdims=True)
        return images + to_device(noise, device_of(images)) * std


def _white_noise(seed, shape):
    # The seed stands in the history instead of the noise itself. SFC64 is NumPy's fastest.
    return np.random.Generator(np.random.SFC64(seed)).standard_normal(shape, np.float32)


def _mean_std(image):
    mean = float(image.mean())
    centred = (image - mean).ravel()
    # einsum instead of dot: its sum does not depend on BLAS's number of threads.
    return mean, math.sqrt(float(np.einsum("i,i->", centred, centred)) / centred.size)
