"""From stored DICOM pixels to [0, 1]: the grey-scale chain of PS3.4 annex N, once.

stored pixels -> modality LUT or rescale -> VOI LUT or window -> inverted if MONOCHROME1

MONOCHROME1 means that the smallest value is white; it says nothing about the steps before,
so the inversion comes last. PresentationLUTShape INVERSE says the same and is not applied
a second time.
"""

from __future__ import annotations

import math

import numpy as np
from pydicom.dataset import Dataset

from nnmed.data.limits import data_error
from nnmed.data.readers.dicom_lut import apply_palette, apply_table, lookup_table

CT_RANGE = (-1024.0, 3071.0)
"""Hounsfield units that become [0, 1] in a CT image without a window: 12 bits of CT."""

FULL_RANGE_BITS = 8
"""Up to so many bits stored, an image without a window is taken to use all of them."""


def pixel_values(
    path, dataset: Dataset, frame: int, pixels: np.ndarray, photometric: str
) -> np.ndarray:
    """Return stored pixels of one frame as (C, H, W) values in [0, 1].

    Parameters
    ----------
    pixels : (H, W) or (H, W, 3)
        As :func:`nnmed.data.readers.dicom.stored_pixels` returns them.
    photometric : str
        What `pixels` mean.

    Raises
    ------
    DataError
        If the photometric interpretation is not supported or a table is damaged.
    """
    if photometric in ("MONOCHROME1", "MONOCHROME2"):
        if pixels.ndim != 2:
            raise data_error(path, "is grey, but has colour samples", "export it again")
        values = _window(dataset, frame, pixels)
        return (1 - values if photometric == "MONOCHROME1" else values)[None]
    if photometric == "PALETTE COLOR":
        return apply_palette(dataset, pixels).transpose(2, 0, 1)
    if photometric == "RGB" and pixels.ndim == 3:
        largest = 2.0 ** int(dataset.BitsStored) - 1
        return np.clip(pixels.transpose(2, 0, 1) / largest, 0, 1)
    raise data_error(
        path,
        f"has the photometric interpretation {photometric!r}",
        "convert it to MONOCHROME2 or RGB",
    )


def group_of(dataset: Dataset, frame: int, sequence: str) -> Dataset:
    """Return where an attribute of one frame stands.

    That is the item of `sequence` in the functional groups of the frame, or in those that
    all frames share (enhanced multi-frame objects, PS3.3 C.7.6.16), or the data set itself.
    """
    each = dataset.get("PerFrameFunctionalGroupsSequence") or []
    groups = [each[frame]] if frame < len(each) else []
    groups += list(dataset.get("SharedFunctionalGroupsSequence") or [])[:1]
    for group in groups:
        if group.get(sequence):
            return group.get(sequence)[0]
    return dataset


def _window(dataset: Dataset, frame: int, pixels: np.ndarray) -> np.ndarray:
    """Return grey pixels in [0, 1] after the modality and VOI steps."""
    values, rescaled = _modality(dataset, frame, pixels)
    voi = group_of(dataset, frame, "FrameVOILUTSequence")
    if voi.get("VOILUTSequence"):
        table = lookup_table(voi.VOILUTSequence[0], signed=bool((values < 0).any()))
        if table is not None:
            return apply_table(table, values) / table.largest
    center, width = _first(voi.get("WindowCenter")), _first(voi.get("WindowWidth"))
    if center is not None and width is not None and width > 0:
        function = str(voi.get("VOILUTFunction") or "LINEAR").strip().upper()
        return _apply_window(values, center, width, function)
    low, high = _range(dataset, values, pixels, rescaled)
    return np.clip((values - low) / (high - low), 0, 1) if high > low else np.zeros_like(values)


def _modality(dataset: Dataset, frame: int, pixels: np.ndarray) -> tuple[np.ndarray, bool]:
    """Apply the modality LUT, or slope and intercept; tell whether there were any (C.11.1)."""
    if dataset.get("ModalityLUTSequence"):
        table = lookup_table(dataset.ModalityLUTSequence[0], signed=pixels.dtype.kind == "i")
        if table is not None:
            return apply_table(table, pixels), True
    source = group_of(dataset, frame, "PixelValueTransformationSequence")
    slope, intercept = _first(source.get("RescaleSlope")), _first(source.get("RescaleIntercept"))
    values = pixels.astype(np.float64)
    if slope is None or intercept is None or slope == 0:  # slope 0 would erase the image
        return values, False
    return values * slope + intercept, True


def _apply_window(values, center: float, width: float, function: str) -> np.ndarray:
    """Map a window to [0, 1]: PS3.3 C.11.2.1.2 and C.11.2.1.3."""
    if function == "SIGMOID":
        with np.errstate(over="ignore"):
            return 1 / (1 + np.exp(-4 * (values - center) / width))
    if function == "LINEAR" and width > 1:
        center, width = center - 0.5, width - 1
    # LINEAR_EXACT; also LINEAR with a width up to 1, which the standard rules out and which
    # real files have after a rescale to small units.
    return np.clip((values - center) / width + 0.5, 0, 1)


def _range(dataset: Dataset, values, pixels, rescaled: bool) -> tuple[float, float]:
    """Return the values that become 0 and 1 where the file has no VOI."""
    if dataset.get("Modality") == "CT" and rescaled:
        return CT_RANGE
    bits = int(dataset.get("BitsStored", 0) or 0)
    if pixels.dtype.kind in "ui" and 0 < bits <= FULL_RANGE_BITS and not rescaled:
        low = -(2 ** (bits - 1)) if pixels.dtype.kind == "i" else 0
        return low, low + 2**bits - 1
    # More bits are seldom used in full: 16 may be declared where 11 are used.
    seen = values[~_padding(dataset, pixels)]
    finite = seen[np.isfinite(seen)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def _padding(dataset: Dataset, pixels: np.ndarray) -> np.ndarray:
    """Tell which pixels only fill the frame (PS3.3 C.7.5.1.1.2)."""
    value = _first(dataset.get("PixelPaddingValue"))
    if value is None:
        return np.zeros(pixels.shape, bool)
    limit = _first(dataset.get("PixelPaddingRangeLimit"))
    ends = sorted((value, value if limit is None else limit))
    return (pixels >= ends[0]) & (pixels <= ends[1])


def _first(value) -> float | None:
    """Return the first of one or several numbers, None where there is none."""
    if value is None or isinstance(value, str):
        return None
    number = float(value[0]) if hasattr(value, "__len__") and len(value) else value
    number = float(number) if not hasattr(number, "__len__") else math.nan
    return number if math.isfinite(number) else None
