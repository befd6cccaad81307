"""What a score is: a value with its interval and number of cases, or NaN with the reason."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np


class Undefined(float):
    """A NaN that knows why: what a score returns where it has no value.

    Examples
    --------
    >>> from nnmed.metrics import roc_auc
    >>> area = roc_auc([1, 1], [0.2, 0.7])
    >>> area.reason
    'no negative case'
    """

    reason: str

    def __new__(cls, reason: str):
        self = super().__new__(cls, math.nan)
        self.reason = reason
        return self

    def __repr__(self) -> str:
        return f"nan ({self.reason})"

    def __reduce__(self):
        return Undefined, (self.reason,)


@dataclasses.dataclass(frozen=True)
class Score:
    """A score of a set of cases with its 95% interval.

    Attributes
    ----------
    value : float
        The score of the cases themselves; NaN where it is undefined.
    low, high : float
        2.5th and 97.5th percentile over bootstrap resamples of patients; NaN where no
        interval could be had.
    n : int
        Number of cases (images), positive and negative together.
    reason : str or None
        Why value or interval is NaN, or why the interval is not to be trusted.
    n_undefined : int
        In how many resamples the score was undefined; those are left out of the interval.
    """

    value: float
    low: float
    high: float
    n: int
    reason: str | None = None
    n_undefined: int = 0

    def __str__(self) -> str:
        if math.isnan(self.value):
            return f"undefined: {self.reason}"
        if math.isnan(self.low):
            return f"{self.value:.3f} (no interval: {self.reason})"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def ratio(numerator, denominator) -> np.ndarray:
    """Divide element by element; NaN, and no warning, where `denominator` is 0."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    result = np.full(numerator.shape, np.nan)
    return np.divide(numerator, denominator, out=result, where=denominator != 0)


def to_plain(value):
    """Return `value` made of what strict JSON has: dict, list, str, int, float, bool, None.

    Dataclasses become dicts, arrays lists, NaN and the infinities None.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {field.name: to_plain(getattr(value, field.name)) for field in fields}
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return to_plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return value


def to_json(value, indent: int | None = 2) -> str:
    """Return `value` as strict JSON text (RFC 8259): NaN and the infinities are ``null``."""
    return json.dumps(to_plain(value), allow_nan=False, ensure_ascii=False, indent=indent)
