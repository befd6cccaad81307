"""Cases of normalisation and of softmax."""

from __future__ import annotations

import math

import numpy as np

from nnmed.ops import group_normalization, layer_normalization, normalization, softmax
from tests.ops.formulas.case import Case

rng = np.random.default_rng(8)
EPS = 0.1  # large enough to matter
AFFINE = dict(weight=r"\gamma", bias=r"\beta")


def normalization_of(op, shape, *affine, **values):
    """Return the case of a normalisation of an array, with its weight and bias."""
    length = shape[1]
    inputs = {name: rng.standard_normal(length) for name in affine}
    return Case(
        op,
        dict(x=rng.standard_normal(shape) + 1, **inputs),
        {r"\epsilon": EPS, **values},
        symbols=AFFINE,
        views=dict(x=_places, y=_places),
        ranges=dict(j=math.prod(shape[2:]) if len(shape) > 2 else length),
    )


def _places(array):
    """View (N, C, H, W) as (N, C, places)."""
    return array.reshape(*array.shape[:2], -1) if array.ndim == 4 else array


MEAN, VARIANCE = rng.standard_normal(2), rng.random(2) + 0.5
NORMALIZATION = [
    *(
        normalization_of(lambda kind=kind: kind(EPS), (2, 2, 2, 3), "weight", "bias", m=12)
        for kind in (normalization.BatchNorm, normalization.BatchNormRelu)
    ),
    *(
        normalization_of(
            lambda kind=kind: kind(MEAN, VARIANCE, EPS),
            (2, 2, 2, 2),
            "weight",
            "bias",
            **{r"\mu": MEAN, r"\sigma": np.sqrt(VARIANCE)},
        )
        for kind in (normalization.BatchNormInference, normalization.BatchNormReluInference)
    ),
    normalization_of(
        lambda: group_normalization.GroupNorm(2, EPS),
        (2, 4, 1, 3),
        "weight",
        "bias",
        m=6,
        G=np.array([0, 0, 1, 1]),
    ),
    normalization_of(lambda: layer_normalization.LayerNorm(EPS), (3, 4), "weight", "bias", D=4),
    normalization_of(lambda: layer_normalization.RMSNorm(EPS), (3, 4), "weight", D=4),
]


def softmax_of(op):
    """Return the case of a softmax along dimension 1; its formula is that of one row."""

    def rows(array):
        return np.moveaxis(array, 1, -1).reshape(math.prod((2, 2)), 3)

    x = rng.standard_normal((2, 3, 2))
    return Case(lambda: op(1), dict(x=x), views=dict(x=rows, y=rows), rows=True)


SOFTMAX = [softmax_of(softmax.Softmax), softmax_of(softmax.LogSoftmax)]
