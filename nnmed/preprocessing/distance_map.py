"""Signed distance to the boundary of a mask, which the boundary loss takes."""

from __future__ import annotations

import numpy as np

from nnmed.errors import DataError, UsageError


def signed_distance_map(mask, spacing=1.0) -> np.ndarray:
    """Return how far each pixel lies outside (positive) or inside (negative) a mask.

    A pixel outside has the Euclidean distance to the nearest pixel inside, a pixel inside
    minus that to the nearest one outside, between centres: the boundary runs half way. A
    mask that is empty, or full, has no boundary and gives 0 everywhere. (Kervadec's code
    shrinks the distances inside by 1; here both sides are alike, in any spacing.)

    For several classes, stack the maps: ``np.stack([signed_distance_map(labels == c, spacing)
    for c in range(classes)])``.

    Parameters
    ----------
    mask : array
        (H, W) or (D, H, W), bool, or numbers where all but 0 are inside.
    spacing : float or sequence of float
        Distance of neighbouring pixels, one for all axes or one for each, such as in mm.

    Returns
    -------
    array
        float32, in units of `spacing`.

    Raises
    ------
    DataError
        If the mask has no axis or holds NaN.
    UsageError
        If the spacing does not fit or is not positive.
    """
    from scipy.ndimage import distance_transform_edt

    mask = np.asarray(mask)
    if mask.ndim == 0 or (mask.dtype.kind == "f" and np.isnan(mask).any()):
        raise DataError(
            f"signed_distance_map: expected a mask (H, W) or (D, H, W) without NaN, got shape "
            f"{mask.shape} of {mask.dtype}"
        )
    fits = np.shape(spacing) in ((), (mask.ndim,))
    steps = np.broadcast_to(np.asarray(spacing, np.float64), mask.ndim) if fits else np.zeros(1)
    if not ((steps > 0) & np.isfinite(steps)).all():
        raise UsageError(
            f"signed_distance_map: spacing must be a positive number or one for each of the "
            f"{mask.ndim} axes, got {spacing!r}"
        )
    inside = mask != 0
    if inside.all() or not inside.any():
        return np.zeros(mask.shape, np.float32)
    outer = distance_transform_edt(~inside, sampling=steps)
    inner = distance_transform_edt(inside, sampling=steps)
    return (outer - inner).astype(np.float32)
