"""Cases of losses. In their formulas n is the divisor: of the mean, and 1 of the sum.

Without a reduction the formula is that of a single element, or row: a batch of one.
"""

from __future__ import annotations

import numpy as np

from nnmed.ops import (
    binary_cross_entropy,
    cross_entropy,
    focal_loss,
    loss,
    nll_loss,
    segmentation_loss,
)
from tests.ops.formulas.case import Case

rng = np.random.default_rng(9)


def losses(op, divisor, inputs, values):
    """Yield the cases of a loss for each reduction; `op` makes it of that."""
    yield Case(lambda: op("mean"), inputs, dict(n=divisor, **values), label="mean")
    yield Case(lambda: op("sum"), inputs, dict(n=1, **values), label="sum")

    def one_each(array):
        return array[:, None]

    views = dict.fromkeys("xt", one_each)
    yield Case(
        lambda: op("none"), inputs, dict(n=1, **values), views=views, rows=True, label="none"
    )


# -- of pairs --------------------------------------------------------------------------

PAIR = dict(
    input=np.array([0.3, -1.2, 0.8, 2.0, -0.4]), target=np.array([0.3, 0.1, -0.9, 1.6, 0.7])
)
PROBABILITIES = dict(input=rng.uniform(0.1, 0.9, 5), target=rng.uniform(0.1, 0.9, 5))
WEIGHT, POSITIVE = rng.uniform(0.5, 2, (2, 5))


def weighted(op, inputs, values, weights):
    """Return the case of the mean of a loss with weights, and without for all reductions."""
    ones = {symbol: lambda i: 1.0 for symbol in weights}
    nothing = [None] * len(weights)
    plain = losses(lambda reduction: op(*nothing, reduction), 5, inputs, {**values, **ones})
    with_weights = Case(
        lambda: op(*weights.values(), "mean"),
        inputs,
        {**values, **weights, "n": 5},
        label="weights",
    )
    return [*plain, with_weights]


PAIRS = [
    *losses(loss.MSELoss, 5, PAIR, {}),
    *losses(loss.L1Loss, 5, PAIR, {}),
    *losses(lambda reduction: loss.SmoothL1Loss(reduction, 0.8), 5, PAIR, {r"\beta": 0.8}),
    *weighted(
        binary_cross_entropy.BCEWithLogits,
        dict(PAIR, target=PROBABILITIES["target"]),
        {},
        dict(w=WEIGHT, v=POSITIVE),
    ),
    *weighted(binary_cross_entropy.BCE, PROBABILITIES, {}, dict(w=WEIGHT)),
]

# -- of classes ------------------------------------------------------------------------

LABELS = np.array([2, 0, 2, 1])
CLASS_WEIGHT = np.array([0.5, 2.0, 1.5])
ROWS = dict(input=rng.standard_normal((4, 3)), target=LABELS)
SOFT = dict(input=ROWS["input"], target=rng.dirichlet(np.ones(3), 4))
SMOOTHED = {r"\varepsilon": 0.2, "C": 3, "w": CLASS_WEIGHT}
OF_WEIGHTS = CLASS_WEIGHT[LABELS].sum()

CLASSES = [
    *losses(
        lambda reduction: cross_entropy.CrossEntropy(CLASS_WEIGHT, -100, 0.2, reduction),
        OF_WEIGHTS,
        ROWS,
        SMOOTHED,
    ),
    *losses(
        lambda reduction: cross_entropy.SoftCrossEntropy(CLASS_WEIGHT, 0.2, reduction),
        4,
        SOFT,
        SMOOTHED,
    ),
    *losses(
        lambda reduction: focal_loss.Focal(CLASS_WEIGHT, 1.7, reduction),
        4,
        ROWS,
        {r"\gamma": 1.7, "w": CLASS_WEIGHT},
    ),
    *losses(
        lambda reduction: nll_loss.NLL(CLASS_WEIGHT, -100, reduction),
        OF_WEIGHTS,
        ROWS,
        dict(w=CLASS_WEIGHT),
    ),
]

# -- of overlap ------------------------------------------------------------------------

MAP = rng.integers(0, 3, (2, 2, 2)).astype(np.uint8)
COUNTED = np.array([[[1, 1], [0, 1]], [[1, 0], [1, 1]]], bool)


def overlap(squared):
    """Return the case of the sums of which Dice and its kin are made."""
    values = dict(t=MAP.reshape(2, -1), k=COUNTED.reshape(2, -1) * 1.0, q=2 if squared else 1)
    return Case(
        lambda: segmentation_loss.Overlap(
            np.where(COUNTED, MAP, 0).astype(np.uint8), COUNTED, squared
        ),
        dict(p=rng.random((2, 3, 2, 2))),
        values,
        views=dict(p=lambda p: p.reshape(2, 3, -1)),
        label="squared" if squared else "",
    )


OVERLAP = [overlap(False), overlap(True)]
