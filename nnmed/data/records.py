"""What a data set knows of one image before it is read, and how it is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnmed.data.limits import data_error
from nnmed.data.readers import read_frame, read_header
from nnmed.data.readers.arrays import image_values
from nnmed.data.sample import Sample

LOSSY_SUFFIXES = frozenset((".jpg", ".jpeg", ".jpe"))


@dataclass(frozen=True)
class Record:
    """One image of a data set: where it is and what is known about it.

    Attributes
    ----------
    path : Path
        The file.
    name : str
        The path below the data folder; a frame of a multi-frame file ends in ``#frame``.
    labels : tuple of str
        The class as the table or the folder names it; several where rows of a table
        describe several lesions.
    frame, frames : int
        Number of the frame in its file, from 0, and how many the file has.
    patient : str or None
        From the table, or a keyed hash from a DICOM header.
    group : str
        What must stay on one side of a split.
    split : str or None
        ``"train"``, ``"val"``, ``"test"``, or None where the data bring no split.
    masks : tuple of Path
        Their union is the sample's mask.
    boxes : tuple of (x0, y0, x1, y1), or None
        Lesions in pixels; they may reach beyond the image.
    row : int or None
        The row of the table, for messages.
    pixels : array of shape (C, H, W), or None
        The image itself where it has been read with its file (``.npz``).
    """

    path: Path
    name: str
    labels: tuple[str, ...] = ()
    frame: int = 0
    frames: int = 1
    patient: str | None = None
    group: str = ""
    split: str | None = None
    masks: tuple[Path, ...] = ()
    boxes: tuple[tuple[float, float, float, float], ...] | None = None
    row: int | None = None
    pixels: np.ndarray | None = None


def display_path(record: Record) -> str:
    """Return the path as it was opened; ``#frame`` follows where the file has several."""
    return f"{record.path}#{record.frame}" if record.frames > 1 else str(record.path)


def load(record: Record, label: int, channels: int) -> Sample:
    """Read the record's image, mask and boxes.

    `channels` is what every image of the data set has: a grey image among colour ones is
    repeated.

    Raises
    ------
    DataError
        If a file cannot be read, or mask or boxes do not fit the image.
    """
    if record.pixels is not None:
        sample = Sample(image_values(record.path, record.pixels))
    else:
        sample = read_frame(record.path, record.frame)
    if sample.image.shape[0] == 1 < channels:
        sample.image = np.repeat(sample.image, channels, axis=0)
    if sample.image.shape[0] != channels:
        raise data_error(
            record.name,
            f"the image has {sample.image.shape[0]} channels, the data set {channels}",
            "make its pages alike",
        )
    sample.path, sample.label, sample.patient = record.name, label, record.patient
    if record.masks:
        sample.mask = _read_masks(record, sample.image.shape[1:])
    if record.boxes is not None:
        sample.boxes = _clip_boxes(record, sample.image.shape[1:])
    return sample


def _read_masks(record: Record, size: tuple[int, int]) -> np.ndarray:
    result = np.zeros(size, np.uint8)
    for path in record.masks:
        # One mask for all frames, or one a frame.
        each = record.frames > 1 and read_header(path).frames == record.frames
        image = read_frame(path, record.frame if each else 0).image
        if image.shape[1:] != size:
            raise data_error(
                path,
                f"the mask has {image.shape[2]} x {image.shape[1]} pixels, its image "
                f"{record.name} has {size[1]} x {size[0]}",
                "make mask and image the same size",
            )
        # JPEG blurs the edge of a mask; everywhere else whatever is not zero is lesion.
        limit = 0.5 if path.suffix.lower() in LOSSY_SUFFIXES else 0.0
        result |= (image.max(axis=0) > limit).astype(np.uint8)
    return result


def _clip_boxes(record: Record, size: tuple[int, int]) -> np.ndarray:
    height, width = size
    boxes = np.array(record.boxes, np.float32).reshape(-1, 4)
    clipped = np.clip(boxes, 0, np.array([width, height, width, height], np.float32))
    outside = (clipped[:, 2] <= clipped[:, 0]) | (clipped[:, 3] <= clipped[:, 1])
    if outside.any():
        raise data_error(
            record.name,
            f"the box {boxes[outside][0].tolist()} lies outside of the image of "
            f"{width} x {height} pixels",
            "correct it in the table; y counts from the top",
        )
    return clipped
