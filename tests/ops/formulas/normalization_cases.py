"""Cases of normalisation and of softmax."""

from __future__ import annotations

import numpy as np

from nnmed.ops import group_normalization, layer_normalization, normalization, softmax
from tests.ops.formulas.case import Case

rng = np.random.default_rng(8)
EPS = 0.1  # large enough to matter


def normalization_of(op, shape, *affine, label=""):
    """Return the case of a normalisation of an array, with its weight and bias."""
    inputs = {name: rng.standard_normal(shape[1]) for name in affine}
    return Case(op, dict(x=rng.standard_normal(shape) + 1, **inputs), label)


MEAN, VARIANCE = rng.standard_normal(2), rng.random(2) + 0.5
BOTH = "weight", "bias"
NORMALIZATION = [
    *(
        normalization_of(lambda kind=kind: kind(EPS), (2, 2, 2, 3), *BOTH)
        for kind in (normalization.BatchNorm, normalization.BatchNormRelu)
    ),
    *(
        normalization_of(lambda kind=kind: kind(MEAN, VARIANCE, EPS), (2, 2, 2, 2), *BOTH)
        for kind in (normalization.BatchNormInference, normalization.BatchNormReluInference)
    ),
    normalization_of(lambda: normalization.BatchNorm(EPS), (2, 2, 1, 3), label="bare"),
    normalization_of(lambda: group_normalization.GroupNorm(2, EPS), (2, 4, 1, 3), *BOTH),
    normalization_of(lambda: layer_normalization.LayerNorm(EPS), (3, 4), *BOTH),
    normalization_of(lambda: layer_normalization.LayerNorm(EPS), (3, 4), label="bare"),
    normalization_of(lambda: layer_normalization.RMSNorm(EPS), (3, 4), "weight"),
]
ROWS = rng.standard_normal((2, 3, 2))
SOFTMAX = [Case(lambda op=op: op(1), dict(x=ROWS)) for op in (softmax.Softmax, softmax.LogSoftmax)]
