"""Numbers as they stand in a formula, alone and in nested lists."""

from __future__ import annotations

from itertools import product

import numpy as np


def number_text(array) -> str:
    """Return a number, or nested lists of numbers."""
    if np.ndim(array):
        return f"[{', '.join(map(number_text, array))}]"
    kind = np.asarray(array).dtype.kind
    return f"{array + 0.0:.7g}" if kind == "f" else str(int(array))  # of -0 it is 0


def number(value) -> str:
    """Return a number, in brackets if it is negative."""
    text = number_text(value)
    return f"({text})" if text.startswith("-") else text


def fraction(value: float) -> str:
    """Return a number, as ``1/n`` where it is that."""
    n = np.rint(1 / value)
    if abs(n) > 1 and abs(n * value - 1) < 1e-12:
        return f"1/{n:.0f}" if n > 0 else f"(-1/{-n:.0f})"
    return number(value)


def each(shape, spell) -> str:
    """Return ``spell(place)`` for each place in an array of a shape, in lists as it is nested."""
    return nested(map(spell, product(*map(range, shape))), shape)


def nested(entries, shape) -> str:
    """Return texts in lists, as an array of a shape is nested."""
    entries = iter(entries)
    if not shape:
        return next(entries)
    return f"[{', '.join(nested(entries, shape[1:]) for _ in range(shape[0]))}]"


def total(terms) -> str:
    """Return a sum, of nothing 0."""
    return " + ".join(terms).replace("+ -", "- ") or "0"
