"""The numbers that an op has beside its tensors, by the symbols of its formulas."""

from __future__ import annotations

import math

from nnmed.backend.arrays import to_device
from nnmed.ops.activation import LeakyRelu
from nnmed.ops.activation_piecewise import Hardshrink, Hardtanh, Softshrink, Threshold
from nnmed.ops.activation_smooth import Celu, Elu, Selu, Softplus
from nnmed.ops.binary_cross_entropy import BCE, BCEWithLogits
from nnmed.ops.elementwise import PowScalar
from nnmed.ops.loss import PairLoss, SmoothL1Loss
from nnmed.ops.reduction import Mean
from nnmed.ops.selection import Clip

# Of activations, in the order of their parameters.
_ACTIVATIONS = {
    LeakyRelu: ("a",),
    Threshold: ("t", "v"),
    Hardtanh: ("l", "h"),
    Hardshrink: ("lambda",),
    Softshrink: ("lambda",),
    Elu: ("alpha",),
    Selu: ("alpha", "s"),
    Celu: ("alpha",),
    Softplus: ("beta", "t"),
}
# Of others, the names of attributes.
_ATTRIBUTES = {
    PowScalar: {"p": "exponent"},
    Clip: {"l": "low", "h": "high"},
    Mean: {"n": "count"},
    SmoothL1Loss: {"beta": "beta"},
}
_NO_LIMIT = {"l": -math.inf, "h": math.inf}
# Of losses; a weight that is None is 1.
_WEIGHTS = {BCE: {"w": "weight"}, BCEWithLogits: {"w": "weight", "v": "pos_weight"}}
# Losses whose formulas have one index, that of an entry of input and target.
PAIR_LOSSES = (PairLoss, BCE, BCEWithLogits)


def parameters(op) -> dict:
    """Return what the symbols of an op's formulas stand for, as far as these are parameters."""
    kind = type(op)
    found = dict(zip(_ACTIVATIONS[kind], op.parameters)) if kind in _ACTIVATIONS else {}
    for symbol, attribute in _ATTRIBUTES.get(kind, {}).items():
        value = getattr(op, attribute)
        found[symbol] = _NO_LIMIT[symbol] if value is None else value
    for symbol, attribute in _WEIGHTS.get(kind, {}).items():
        weight = getattr(op, attribute)
        found[symbol] = 1 if weight is None else to_device(weight, "cpu")
    if isinstance(op, PAIR_LOSSES):  # n is the divisor of the mean
        found["n"] = math.prod(op.input_shapes[0]) if op.reduction == "mean" else 1
    return found
