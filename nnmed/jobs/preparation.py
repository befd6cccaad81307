"""From a data set to the samples that a network trains on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from nnmed.data.datasets import Dataset
from nnmed.data.sample import Sample
from nnmed.data.splits import SIDES
from nnmed.data.tables import Problems
from nnmed.errors import DataError
from nnmed.preprocessing import (
    BrightnessContrast,
    Compose,
    GaussianNoise,
    RandomAffine,
    RandomFlip,
    Resize,
    ZScore,
)


@dataclass
class Prepared:
    """Samples of one size, standardised, and where they come from.

    Attributes
    ----------
    samples : dict from side ("train", "val", "test") to list of Sample
    indices : dict from side to list of int
        Their numbers in the data set.
    steps : dict
        The preprocessing, as JSON: new images need the same.
    """

    samples: dict[str, list[Sample]]
    indices: dict[str, list[int]]
    steps: dict


def prepare(dataset: Dataset, splits: list[str], size: int) -> Prepared:
    """Read every image, bring it to `size` and standardise it as the training images say.

    Raises
    ------
    DataError
        That lists all images which cannot be read.
    """
    resize = Resize(size)
    resized = _read_all(dataset, resize)
    indices = {side: [i for i, s in enumerate(splits) if s == side] for side in SIDES}
    standardise = ZScore()
    standardise.fit(resized[i] for i in indices["train"])
    samples = {side: [standardise(resized[i]) for i in indices[side]] for side in SIDES}
    return Prepared(samples, indices, Compose([resize, standardise]).state())


def _read_all(dataset: Dataset, transform) -> list[Sample]:
    from tqdm import tqdm

    problems, samples = Problems("reading the images"), []
    for index in tqdm(range(len(dataset)), "reading", leave=False, disable=None, unit="image"):
        try:
            samples.append(transform(dataset[index]))
        except DataError as error:
            problems.add(str(error), dataset.records[index].row)
    problems.raise_if_any()
    return samples


def augmentation() -> Compose:
    """Return the random changes that training makes to a standardised image."""
    return Compose(
        [
            RandomFlip(horizontal=0.5, vertical=0.0),
            RandomAffine(degrees=15, shift=0.1, scale=(0.83, 1.2), fill="edge"),
            BrightnessContrast(),
            GaussianNoise(),
        ]
    )


def fingerprint(dataset: Dataset, prepared: Prepared) -> str:
    """Return a short hash of the images: their sides, order, names, classes and pixels."""
    digest = hashlib.sha256()
    for side, samples in prepared.samples.items():
        for index, sample in zip(prepared.indices[side], samples):
            classes = int(dataset.labels[index]), dataset.kinds[index]
            row = (side, dataset.names[index], *classes, sample.image.shape)
            digest.update(repr(row).encode())
            digest.update(np.ascontiguousarray(sample.image))
    return digest.hexdigest()[:16]
