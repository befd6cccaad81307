"""Indexing and slicing, and its opposite."""

from __future__ import annotations

from math import prod

import numpy as np

from nnmed import kernels
from nnmed.autograd import Notation, Op, Tensor, made_when_read
from nnmed.backend import determinism
from nnmed.backend.arrays import (
    array_module,
    as_channels_last,
    is_array,
    is_channels_last,
    to_device,
    zeros_channels_last,
)
from nnmed.errors import OutOfRangeError, ShapeError
from nnmed.ops.arguments import as_tensor


def _notation(index, shape) -> Notation:
    """Return how formulas are read that number all elements in row-major order."""
    parts = index if isinstance(index, tuple) else (index,)

    def picked():
        here = tuple([to_device(part, "cpu") if is_array(part) else part for part in parts])
        return np.arange(prod(shape)).reshape(shape)[here].ravel()

    return Notation({"i": made_when_read(picked)}, views={"x": np.ravel, "y": np.ravel})


class GetItem(Op):
    """y = x[index],   dx = zeros with dy added at index"""

    forward_latex = r"y_k = x_{i_k}"
    backward_latex = {
        "x": r"\frac{\partial L}{\partial x_j} = "
        r"\sum_{k:\,i_k=j} \frac{\partial L}{\partial y_k}"
    }
    is_view = True

    def __init__(self, index):
        self.index = index

    def notation(self):
        return _notation(self.index, self.input_shapes[0])

    def forward(self, x):
        self.channels_last = is_channels_last(x)
        y = x[self.index]
        if not y.ndim and not isinstance(y, type(x)):  # a scalar is a copy: make it a view
            index = self.index if isinstance(self.index, tuple) else (self.index,)
            y = x[(*index, ...)]
        return y

    def backward(self, dy):
        return AddAt(self.index, self.input_shapes[0], self.channels_last)(dy)

    def flops(self, inputs, output):
        return 0


class AddAt(Op):
    """y = zeros with x added at index (several times where it repeats),   dx = dy[index]

    On a GPU, numbers for one place are added in any order, so that last bits may differ between
    runs, unless :class:`nnmed.deterministic` demands the same.
    """

    forward_latex = r"y_j = \sum_{k:\,i_k=j} x_k"
    backward_latex = {"x": r"\frac{\partial L}{\partial x_k} = \frac{\partial L}{\partial y_{i_k}}"}

    def __init__(self, index, shape, channels_last: bool = False):
        self.index, self.shape, self.channels_last = index, shape, channels_last

    def notation(self):
        return _notation(self.index, self.shape)

    def forward(self, x):
        xp, repeats = array_module(x), determinism.may_repeat(self.index)
        if repeats and xp is not np and determinism.is_required():
            return self._add_in_order(x)
        if self.channels_last:
            y = zeros_channels_last(self.shape, x.dtype, xp)
        else:
            y = xp.zeros(self.shape, x.dtype)
        if repeats:
            xp.add.at(y, self.index, x)
        else:
            y[self.index] = x
        return y

    def _add_in_order(self, x):
        """Return y on a GPU: each of its elements adds up, in their order, the numbers for it."""
        xp, size = array_module(x), prod(self.shape)
        places = xp.arange(size).reshape(self.shape)[self.index].reshape(1, 1, -1)
        x, ones = x.reshape(1, 1, -1), xp.ones(places.shape, x.dtype)
        y = kernels.select("resample", x).sample_input_grad(x, places, ones, size)
        y = y.reshape(self.shape)
        return as_channels_last(y) if self.channels_last else y

    def backward(self, dy):
        return getitem(dy, self.index)


def getitem(x, index) -> Tensor:
    """Return ``x[index]`` by NumPy's rules; a view for integers and slices.

    An index may lie on either device. On a GPU, arrays of integers are not checked, since that
    would wait for the card: what is out of range wraps around.
    """
    x = as_tensor(x)
    if isinstance(index, tuple):
        index = tuple(_plain(i, x.device) for i in index)
    else:
        index = _plain(index, x.device)
    try:
        return GetItem(index)(x)
    except (IndexError, ValueError) as error:  # a step of 0 is a ValueError
        raise OutOfRangeError(
            f"index {index} does not fit a tensor of shape {x.shape}: {error}"
        ) from None


def _plain(index, device: str):
    """Return one part of an index without tensors; arrays and sequences as fresh arrays there."""
    if isinstance(index, Tensor):
        index = index._array
    if index is None or index is ... or isinstance(index, (int, slice, np.integer, np.bool_)):
        return index
    index = index.copy() if is_array(index) else np.array(index)
    if index.dtype.kind not in "biu" and index.size:
        raise ShapeError(f"an index must be integer or bool, got {index.dtype}")
    return to_device(index if index.size else index.astype(np.int64), device)
