"""Of which entries of its inputs each entry of an op's output is made, and how.

The op itself is asked: backward for a gradient that is 1 at one entry and 0 elsewhere gives the
derivatives of that entry, and a number larger than all others is the maximum of the windows that
it lies in.
"""

from __future__ import annotations

import numpy as np

from nnmed.autograd import Op, Tensor
from nnmed.backend.arrays import to_device
from nnmed.explain.clone import node_in_float64, recorded_gradients, run_in_float64


def derivatives(step) -> list:
    """Return dy/dx for each input, (entries of y, entries of x).

    None where no gradient goes, or backward cannot be recorded.
    """
    if type(step.op).backward is Op.backward:
        return [None] * len(step.inputs)
    node = node_in_float64(step.op)
    rows = [
        recorded_gradients(node, Tensor._wrap(to_device(unit, step.device)))
        for unit in _units(step.shape)
    ]
    return [
        None if item.gradient is None else np.stack([np.ravel(row[position]) for row in rows])
        for position, item in enumerate(step.inputs)
    ]


def windows(step, largest: bool = True) -> np.ndarray:
    """Return of which entries of x an op takes the maximum: (entries of y, entries of x) of bool.

    Or, if not `largest`, the minimum.
    """
    shape = step.inputs[0].shape
    others = -1.0 if largest else 1.0
    columns = []
    for unit in _units(shape):
        x = np.where(unit == 1, 0.0, others)
        columns.append(run_in_float64(step.op, [x], step.device).ravel() == 0)
    return np.stack(columns, axis=1)


def _units(shape) -> list:
    """Return the arrays of a shape that are 1 at one entry and 0 elsewhere."""
    return [unit.reshape(shape) for unit in np.eye(int(np.prod(shape)))]
