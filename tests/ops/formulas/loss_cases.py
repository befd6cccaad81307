"""Cases of losses."""

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


def losses(op, inputs):
    """Return the cases of a loss for each reduction; `op` makes it of that."""
    return [
        Case(lambda reduction=reduction: op(reduction), inputs, reduction)
        for reduction in ("mean", "sum", "none")
    ]


# -- of pairs --------------------------------------------------------------------------

PAIR = dict(
    input=np.array([0.3, -1.2, 0.8, 2.0, -0.4]), target=np.array([0.3, 0.1, -0.9, 1.6, 0.7])
)
PROBABILITIES = dict(input=rng.uniform(0.1, 0.9, 5), target=rng.uniform(0.1, 0.9, 5))
WEIGHT, POSITIVE = rng.uniform(0.5, 2, (2, 5))


def weighted(op, inputs, weights):
    """Return the cases of a loss with weights, and without for all reductions."""
    nothing = [None] * len(weights)
    return [
        *losses(lambda reduction: op(*nothing, reduction), inputs),
        Case(lambda: op(*weights, "mean"), inputs, "weights"),
        Case(lambda: op(*weights, "none"), inputs, "weights-none"),
    ]


PAIRS = [
    *losses(loss.MSELoss, PAIR),
    *losses(loss.L1Loss, PAIR),
    *losses(lambda reduction: loss.SmoothL1Loss(reduction, 0.8), PAIR),
    *weighted(
        binary_cross_entropy.BCEWithLogits,
        dict(PAIR, target=PROBABILITIES["target"]),
        [WEIGHT, POSITIVE],
    ),
    *weighted(binary_cross_entropy.BCE, PROBABILITIES, [WEIGHT]),
]

# -- of classes ------------------------------------------------------------------------

LABELS = np.array([2, 0, 2, 1])
CLASS_WEIGHT = np.array([0.5, 2.0, 1.5])
ROWS = dict(input=rng.standard_normal((4, 3)), target=LABELS)
SOFT = dict(input=ROWS["input"], target=rng.dirichlet(np.ones(3), 4))
IGNORED = dict(ROWS, target=np.array([2, -1, -1, 1]))
PIXELS = dict(input=rng.standard_normal((2, 3, 1, 2)), target=LABELS.reshape(2, 1, 2))

CLASSES = [
    *losses(lambda r: cross_entropy.CrossEntropy(CLASS_WEIGHT, -100, 0.2, r), ROWS),
    *losses(lambda r: cross_entropy.SoftCrossEntropy(CLASS_WEIGHT, 0.2, r), SOFT),
    *losses(lambda r: focal_loss.Focal(CLASS_WEIGHT, 1.7, r), ROWS),
    *losses(lambda r: nll_loss.NLL(CLASS_WEIGHT, -100, r), ROWS),
    Case(lambda: cross_entropy.CrossEntropy(None, -1, 0.2, "mean"), IGNORED, "ignored"),
    Case(lambda: cross_entropy.CrossEntropy(None, -1, 0.2, "none"), IGNORED, "ignored-none"),
    Case(lambda: focal_loss.Focal(None, 2.0, "mean"), IGNORED, "ignored"),
    Case(lambda: nll_loss.NLL(CLASS_WEIGHT, -1, "mean"), IGNORED, "ignored"),
    Case(lambda: cross_entropy.CrossEntropy(CLASS_WEIGHT, -1, 0.0, "none"), PIXELS, "pixels"),
]

# -- of overlap ------------------------------------------------------------------------

MAP = rng.integers(0, 3, (2, 2, 2)).astype(np.uint8)
COUNTED = np.array([[[1, 1], [0, 1]], [[1, 0], [1, 1]]], bool)


def overlap(squared):
    """Return the case of the sums of which Dice and its kin are made."""
    return Case(
        lambda: segmentation_loss.Overlap(
            np.where(COUNTED, MAP, 0).astype(np.uint8), COUNTED, squared
        ),
        dict(p=rng.random((2, 3, 2, 2))),
        "squared" if squared else "",
    )


OVERLAP = [overlap(False), overlap(True)]
