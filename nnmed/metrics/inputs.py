"""Checks of what a score is given: labels, predicted classes, scores, weights."""

from __future__ import annotations

import numpy as np

from nnmed.errors import DataError, ShapeError


def vector(values, name: str, length: int | None = None) -> np.ndarray:
    """Return `values` as a 1-d NumPy array, of `length` entries where that is given.

    Raises
    ------
    ShapeError
        If `values` is not 1-d or has another length.
    """
    array = np.asarray(values)
    if array.ndim != 1:
        raise ShapeError(f"{name} must be 1-d, one entry a case, got shape {array.shape}")
    if length is not None and len(array) != length:
        raise ShapeError(f"{name} has {len(array)} entries for {length} cases")
    return array


def classes(values, name: str, length: int | None = None) -> np.ndarray:
    """Return class indices 0, 1, 2, ... as int64.

    Raises
    ------
    DataError
        If an entry is no whole number or is negative.
    """
    array = vector(values, name, length)
    if array.size == 0:
        return array.astype(np.int64)
    if array.dtype.kind not in "biuf":
        raise DataError(f"{name} must hold class indices, got {array.dtype} such as {array[0]!r}")
    bad = ~(np.isfinite(array) & (array == np.floor(array)) & (array >= 0))
    _refuse(array, bad, name, "class indices 0, 1, ... (apply a threshold to probabilities first)")
    return array.astype(np.int64)


def binary(values, name: str, length: int | None = None) -> np.ndarray:
    """Return labels 0 (negative) and 1 (positive) as int64; other classes are a DataError."""
    array = classes(values, name, length)
    _refuse(array, array > 1, name, "only 0 (negative) and 1 (positive)")
    return array


def scores(values, name: str, length: int | None = None) -> np.ndarray:
    """Return finite scores as float64; NaN and infinities are a DataError."""
    array = vector(values, name, length)
    if array.size and array.dtype.kind not in "biuf":
        raise DataError(f"{name} must hold numbers, got {array.dtype} such as {array[0]!r}")
    array = array.astype(np.float64)
    _refuse(array, ~np.isfinite(array), name, "finite numbers (has the training diverged?)")
    return array


def probabilities(values, name: str, length: int | None = None) -> np.ndarray:
    """Return probabilities in [0, 1] as float64; anything else is a DataError."""
    array = scores(values, name, length)
    _refuse(array, (array < 0) | (array > 1), name, "probabilities in [0, 1]")
    return array


def weights(sample_weight, length: int) -> np.ndarray:
    """Return one non-negative float64 weight a case, all 1 where `sample_weight` is None."""
    if sample_weight is None:
        return np.ones(length)
    array = scores(sample_weight, "sample_weight", length)
    _refuse(array, array < 0, "sample_weight", "weights of 0 or more")
    return array


def _refuse(array, bad, name: str, wanted: str) -> None:
    if bad.any():
        first = int(np.argmax(bad))
        raise DataError(
            f"{name} must hold {wanted}; {int(bad.sum())} of {len(array)} entries do not, "
            f"first entry {first}: {array[first]}"
        )
