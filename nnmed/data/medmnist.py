"""MedMNIST's ``.npz``: ``train_images``, ``train_labels``, and so on for val and test.

Yang et al., "MedMNIST v2", Scientific Data 10:41, 2023.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from nnmed.data.limits import data_error
from nnmed.data.readers.arrays import as_images, read_npz
from nnmed.data.records import Record

SIDES = ("train", "val", "test")

# Sets of two classes have a meaning that their numbers do not show: BreastMNIST's 1 is
# normal or benign. From MedMNIST's info.py.
_NAMES = {
    "breastmnist": {"0": "malignant", "1": "normal or benign"},
    "pneumoniamnist": {"0": "normal", "1": "pneumonia"},
}


def npz_records(path: Path) -> list[Record]:
    """Return a record an image; images without an array of labels are an error.

    Raises
    ------
    DataError
        If arrays are missing or do not fit together.
    """
    arrays = read_npz(path)
    sides = [side for side in SIDES if f"{side}_images" in arrays]
    if not sides:
        raise data_error(
            path,
            f"holds no train_images (it holds {', '.join(sorted(arrays))})",
            "use MedMNIST's names: train_images, train_labels, val_images, ...",
        )
    names = _NAMES.get(re.split(r"[_.\-]", path.name.casefold())[0], {})
    records = []
    for side in sides:
        images = as_images(path, arrays[f"{side}_images"], stack=True)
        labels = _labels(path, arrays, side, len(images))
        records += [
            Record(
                path,
                f"{path.name}#{side}/{number}",
                (names.get(label, label),),
                split=side,
                pixels=image,
            )
            for number, (image, label) in enumerate(zip(images, labels))
        ]
    return records


def _labels(path: Path, arrays: dict[str, np.ndarray], side: str, count: int) -> list[str]:
    labels = arrays.get(f"{side}_labels")
    if labels is None:
        raise data_error(path, f"has {side}_images but no {side}_labels", "add the labels")
    if labels.shape not in ((count,), (count, 1)):
        raise data_error(
            path,
            f"{side}_labels has shape {labels.shape}, {count} images need ({count},) or "
            f"({count}, 1)",
            "give each image one class",
        )
    if labels.dtype.kind not in "biu":
        raise data_error(path, f"{side}_labels holds {labels.dtype}", "use integers")
    return [str(int(label)) for label in labels.ravel()]
