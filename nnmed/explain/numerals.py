"""Numbers as they stand in a formula, alone and in nested lists."""

from __future__ import annotations

import numpy as np


def number_text(array) -> str:
    """Return a number, or nested lists of numbers."""
    if np.ndim(array):
        return f"[{', '.join(map(number_text, array))}]"
    kind = np.asarray(array).dtype.kind
    return f"{array + 0.0:.7g}" if kind == "f" else str(int(array))  # of -0 it is 0


def nested(entries, shape) -> str:
    """Return texts in lists, as an array of a shape is nested."""
    entries = iter(entries)
    if not shape:
        return next(entries)
    return f"[{', '.join(nested(entries, shape[1:]) for _ in range(shape[0]))}]"
