"""What the readers share: the header, the choice of frames, the finished image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnmed.data.limits import MAX_FRAMES, data_error


@dataclass(frozen=True)
class Header:
    """What a file says about its images before they are decoded.

    Attributes
    ----------
    format : str
        ``"dicom"``, ``"raster"``, ``"npy"`` or ``"npz"``.
    frames : int
        Number of images in the file.
    channels : int
        As the readers return them: 1 for grey, 3 for colour.
    rows, columns : int
        Size of a frame in pixels, before a rotation that EXIF asks for.
    patient : str or None
        Keyed hash of the patient, where the file names one.
    spacing : (float, float) or None
        mm per pixel as (row, column).
    """

    format: str
    frames: int
    channels: int
    rows: int
    columns: int
    patient: str | None = None
    spacing: tuple[float, float] | None = None


def choose_frames(path, frame: int | None, count: int) -> range:
    """Return the frames to read of `count`: all where `frame` is None.

    Raises
    ------
    DataError
        If there are too many frames, none, or no such frame.
    """
    if not 1 <= count <= MAX_FRAMES:
        raise data_error(
            path,
            f"claims {count} frames, which is not between 1 and {MAX_FRAMES} (MAX_FRAMES)",
            "copy it again from its source",
        )
    if frame is None:
        return range(count)
    if not 0 <= frame < count:
        raise data_error(path, f"has {count} frames, not a frame {frame}", "count frames from 0")
    return range(frame, frame + 1)


def frame_name(path, frame: int, count: int) -> str:
    """Return the name of a frame: the path, and ``#frame`` where there are several."""
    return str(path) if count == 1 else f"{path}#{frame}"


def finished_image(path, array: np.ndarray) -> np.ndarray:
    """Return a finite, contiguous float32 (C, H, W) image.

    Raises
    ------
    DataError
        If a value is NaN or infinite, or does not fit into float32.
    """
    with np.errstate(over="ignore"):
        image = np.ascontiguousarray(array, np.float32)
    # One cheap pass: a finite sum has finite terms. Large values may overflow all the same.
    with np.errstate(invalid="ignore", over="ignore"):
        if np.isfinite(image.sum()):
            return image
    bad = np.argwhere(~np.isfinite(image))
    if not len(bad):
        return image
    channel, row, column = (int(i) for i in bad[0])
    raise data_error(
        path,
        f"{len(bad)} of {image.size} pixels are NaN, infinite or too large for float32, the "
        f"first at channel {channel}, row {row}, column {column} (counted from 0)",
        "repair or remove the image",
    )
