"""Small data sets on disk for the jobs, and the command on them."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from PIL import Image

COUNT = 24  # images a class
QUICK = ["--size", "16", "--epochs", "2", "--batch-size", "8", "--workers", "0"]


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


@pytest.fixture
def without_figures(monkeypatch):
    """Leave out the figures, which take most of the time of a small run."""
    from nnmed.jobs import detect_report

    monkeypatch.setattr(detect_report, "_draw", lambda *arguments: None)


@pytest.fixture(scope="session")
def command():
    """Return the function that writes the command line of a quick run."""
    return lambda data, out, *flags: [
        "detect", "--data", str(data), "--out", str(out), *QUICK, *flags
    ]  # fmt: skip


@pytest.fixture(scope="session")
def write_table():
    """Return the function that writes ``labels.csv`` into a folder."""

    def write(folder, rows):
        with (folder / "labels.csv").open("w", newline="") as file:
            csv.writer(file).writerows(rows)

    return write


@pytest.fixture(scope="session")
def epochs_done():
    """Return the function that counts the epochs in a run's history."""

    def count(folder):
        path = folder / "history.csv"
        return len(path.read_text().splitlines()) - 1 if path.exists() else 0

    return count
