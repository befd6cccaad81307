"""One image with what is known about it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass
class Sample:
    """One image (one frame of a multi-frame file) with what is known about it.

    Attributes
    ----------
    image : float32 array of shape (C, H, W)
        Pixel values. :mod:`nnmed.data.readers` says in which range.
    label : int or None
        Index into the data set's classes.
    mask : uint8 array of shape (H, W) or None
        1 inside a lesion, 0 outside.
    boxes : float32 array of shape (K, 4) or None
        x0, y0, x1, y1 in pixels, half open: a box covers x0 <= x < x1. No lesion is an
        array of shape (0, 4); None means that nobody looked.
    patient : str or None
        The name that the user's own table gives, or a keyed hash; never what stands in a
        DICOM header (see :mod:`nnmed.data.identity`).
    spacing : (float, float) or None
        Distance of neighbouring pixels in mm, as (row, column).
    path : str
        Where the image came from; a frame of a multi-frame file ends in ``#frame``,
        counted from 0.
    history : tuple
        Steps applied so far: ``(name, {drawn parameters})`` pairs.
    """

    image: np.ndarray
    label: int | None = None
    mask: np.ndarray | None = None
    boxes: np.ndarray | None = None
    patient: str | None = None
    spacing: tuple[float, float] | None = None
    path: str = ""
    history: tuple = ()
