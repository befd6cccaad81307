"""Transforms of samples: cleaning, standardisation, resizing, augmentation.

Every transform takes a :class:`~nnmed.data.sample.Sample` and returns a new one, with
image, mask and boxes in step::

    prepare = Compose([RepairDeadPixels(), Resize((96, 96)), ZScore().fit(training_samples)])
    augment = Compose([RandomFlip(), RandomAffine(), BrightnessContrast(), GaussianNoise()])
    sample = augment(prepare(sample), rng)
    again = augment.replay(prepare(original), sample.history[-4:])    # the same bytes

``prepare.state()`` is ready for JSON; :func:`from_state` makes the transform from it.
"""

from __future__ import annotations

from nnmed.preprocessing.cleaning import MedianFilter, RepairDeadPixels, Winsorize
from nnmed.preprocessing.compose import Compose, OnDevice
from nnmed.preprocessing.geometry import RandomAffine, RandomFlip, Resize
from nnmed.preprocessing.intensity import BrightnessContrast, GaussianNoise, RandomGamma
from nnmed.preprocessing.standardization import MinMax, PercentileScale, ZScore
from nnmed.preprocessing.transform import Transform, from_state

__all__ = [
    "BrightnessContrast",
    "Compose",
    "GaussianNoise",
    "MedianFilter",
    "MinMax",
    "OnDevice",
    "PercentileScale",
    "RandomAffine",
    "RandomFlip",
    "RandomGamma",
    "RepairDeadPixels",
    "Resize",
    "Transform",
    "Winsorize",
    "ZScore",
    "from_state",
]
