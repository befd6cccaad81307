"""The cases of all ops."""

from tests.ops.formulas import elementwise_cases as elementwise
from tests.ops.formulas import linear_cases as linear
from tests.ops.formulas import loss_cases as loss
from tests.ops.formulas import normalization_cases as normalization
from tests.ops.formulas import pooling_cases as pooling
from tests.ops.formulas import shape_cases as shape

CASES = [
    *elementwise.ARITHMETIC,
    *elementwise.CHOICES,
    *elementwise.ACTIVATIONS,
    *elementwise.DROPOUT,
    *linear.CONVOLUTIONS,
    *linear.WINDOW_OPS,
    *linear.PRODUCTS,
    *linear.SAMPLING,
    *loss.PAIRS,
    *loss.CLASSES,
    *loss.OVERLAP,
    *normalization.NORMALIZATION,
    *normalization.SOFTMAX,
    *pooling.MAX_POOLING,
    *pooling.AVERAGE_POOLING,
    *pooling.ADAPTIVE_POOLING,
    *pooling.POSITIONS,
    *shape.REDUCTIONS,
    *shape.MOVES,
    *shape.PICKS,
    *shape.PADDING,
]
