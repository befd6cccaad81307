"""Check: the verdict on a step of backward."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Check:
    """The verdict on a step.

    Attributes
    ----------
    verdict : {"passed", "failed", "skipped"}
    error : float
        Largest difference between the gradients of the step and the formula in float64,
        relative to the terms that they are the sum of.
    input : str
        Name of the input for which it is largest, or which fails.
    entry : tuple of int or None
        Where in that input's gradient.
    value, expected : float
        What backward gives there, and what it should.
    message : str
        Why it failed or was skipped, in a sentence; empty if it passed.
    """

    verdict: str
    error: float = 0.0
    input: str = ""
    entry: tuple[int, ...] | None = None
    value: float = np.nan
    expected: float = np.nan
    message: str = ""
