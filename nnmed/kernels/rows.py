"""Walk over the rows of an array along one axis (the classes of a softmax), block by block.

A *row* is the C numbers along that axis at one place of the other axes. NumPy reduces short
rows slowly (19 ns a number for C = 2), so a block of rows is brought into scratch in the
shape that makes inner loops long: ``(C, rows)``, or ``(rows, C)`` for many classes that lie
side by side in memory. On the latter, :meth:`Rows.max`, :meth:`Rows.sum` and
:meth:`Rows.along` work on flat memory; with them it is the better shape for few classes too.
"""

from __future__ import annotations

from math import prod

import numpy as np

from nnmed.backend.arrays import empty_like
from nnmed.backend.threads import parallel_for
from nnmed.kernels.elementwise import dense, quietly, temporaries, unflatten

CHUNK = 1 << 17  # elements of a block
_MANY = 32  # classes
_SHORT_ROW, _LONG_ROW = 6, 64
_SLOTS = 3


class Rows:
    """The rows of `x` along `axis`; other arrays of its shape are walked over alike.

    Blocks are ``(rows, C)`` if the C classes lie side by side and are at least `many`.

    Attributes
    ----------
    axis : int
        The axis of a block (2-d) along which the classes lie: 0 or 1.
    shape : tuple of int
        ``(outer, inner)``: rows are numbered in the memory order of `x`.
    blocks : list
        Pairs of slices of that shape; they depend on the shape of `x` alone.
    """

    def __init__(self, x, axis: int, many: int = _MANY):
        self.x, self.order = dense(x)
        self.logical = self.x.shape
        self.classes = x.shape[axis]
        self.removed = axis
        position = self.order.index(axis)
        lengths = [x.shape[a] for a in self.order]
        self.split = prod(lengths[:position]), prod(lengths[position + 1 :])
        self.shape = (1, prod(self.split)) if 1 in self.split else self.split
        self.axis = 1 if self.classes >= many and self.split[1] == 1 else 0
        self.blocks = _blocks(self.shape, max(1, CHUNK // max(1, self.classes)))

    def view(self, array):
        """Return `array` as (outer, inner, C): a view if it lies in memory as `x` does."""
        outer, inner = self.split
        grouped = array.transpose(self.order).reshape(outer, self.classes, inner)
        return grouped.transpose(0, 2, 1).reshape(*self.shape, self.classes)

    def view_per_row(self, array):
        """Return `array`, the shape of `x` without the axis, as (outer, inner)."""
        return array.transpose(self._rest()).reshape(self.shape)

    def empty(self):
        """Return an uninitialised array with the shape and memory order of `x`."""
        return empty_like(self.x)

    def from_per_row(self, values):
        """Undo :meth:`view_per_row`."""
        shape = tuple(n for a, n in enumerate(self.logical) if a != self.removed)
        return unflatten(values.reshape(-1), shape, self._rest())

    def temporary(self, block, dtype, slot: int):
        """Return uninitialised scratch, 2-d, for a block; it lives until the slot is reused."""
        outer, inner = (len(range(*s.indices(n))) for s, n in zip(block, self.shape))
        rows = outer * inner
        flat = temporaries(_SLOTS, rows * self.classes, dtype)[slot]
        return flat.reshape((self.classes, rows) if self.axis == 0 else (rows, self.classes))

    def scratch(self, block):
        """Return uninitialised scratch of the shape of a 2-d block: that of the last slot."""
        return temporaries(_SLOTS, block.size, block.dtype)[-1].reshape(block.shape)

    def read(self, view, block, slot: int = 0):
        """Return a copy of one block in this thread's scratch, 2-d."""
        part = view[block]
        scratch = self.temporary(block, view.dtype, slot)
        outer, inner, classes = part.shape
        if self.axis == 0:
            np.copyto(scratch.reshape(classes, outer, inner), part.transpose(2, 0, 1))
        else:
            np.copyto(scratch.reshape(part.shape), part)
        return scratch

    def part(self, view, block):
        """Return one block as a 2-d view, or None if memory does not allow it."""
        part = view[block]
        if self.axis == 1:
            return part.reshape(-1, self.classes)
        return part[0].T if len(part) == 1 else None

    def write(self, view, block, values) -> None:
        """Copy a 2-d block, as :meth:`read` returns it, into `view`."""
        part = view[block]
        outer, inner, classes = part.shape
        if self.axis == 0:  # a class at a time: NumPy would make runs of C numbers
            for c, row in enumerate(values.reshape(classes, outer, inner)):
                part[:, :, c] = row
        else:
            part[...] = values.reshape(part.shape)

    def along(self, values):
        """Return one number a row so that it broadcasts against a block."""
        if self.axis == 0:
            return values.reshape(1, -1)
        values = values.reshape(-1, 1)
        if self.classes >= _LONG_ROW:
            return values
        if self.classes >= _SHORT_ROW:
            return np.repeat(values, self.classes).reshape(-1, self.classes)
        result = np.empty((len(values), self.classes), values.dtype)
        for column in result.T:
            column[...] = values[:, 0]
        return result

    def max(self, block):
        """Return the largest number of each row of a block."""
        if self.axis == 0 or self.classes >= _LONG_ROW:
            return block.max(self.axis)
        # The largest number in a window that slides over the flat block: its length doubles.
        largest, length = block.reshape(-1), 1
        while length < self.classes:
            step = min(length, self.classes - length)
            largest, length = np.maximum(largest[:-step], largest[step:]), length + step
        return largest[:: self.classes]

    def sum(self, block):
        """Return the sum of each row of a block."""
        if self.axis == 0:
            return block.sum(0)
        return block @ np.ones(self.classes, block.dtype)

    def for_blocks(self, task) -> None:
        """Call ``task(index, block)`` for all blocks on the worker threads."""

        def run(index):
            quietly(task, index, self.blocks[index])

        parallel_for(run, len(self.blocks))

    def _rest(self):
        return tuple(a - (a > self.removed) for a in self.order if a != self.removed)


def _blocks(shape, rows: int):
    """Cut (outer, inner) into pieces of about `rows` rows."""
    outer, inner = shape
    if 0 in shape:
        return []
    height = max(1, rows // inner)
    return [
        (slice(top, top + height), slice(left, left + rows))
        for top in range(0, outer, height)
        for left in range(0, inner, rows)
    ]
