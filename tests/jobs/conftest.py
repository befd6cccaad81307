"""Small data sets on disk for the jobs."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

COUNT = 24  # images a class


def write_images(folder, count=COUNT, size=24):
    """Write a folder per class; a positive image has a bright spot."""
    rng = np.random.default_rng(0)
    for name in ("benign", "malignant"):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            image = rng.uniform(40, 120, (size, size))
            if name == "malignant":
                row, column = rng.integers(4, size - 8, 2)
                image[row : row + 6, column : column + 6] += 120
            Image.fromarray(image.astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("data") / "images")


@pytest.fixture
def own_images(tmp_path):
    """A data set that the test may spoil."""
    return write_images(tmp_path / "images")
