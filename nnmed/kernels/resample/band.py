"""A sparse matrix with its weights around the diagonal, as a stack of small dense matrices."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_OUTPUTS = 8  # rows of a small matrix: measured, 4 to 16 are about as fast


class Group(NamedTuple):
    """Neighbouring blocks of equally many outputs.

    Attributes
    ----------
    start : int
        The first output of the first block.
    first : array, (blocks,)
        The first input that each block reads.
    matrices : array, (blocks, outputs of a block, inputs)
    """

    start: int
    first: np.ndarray
    matrices: np.ndarray

    @property
    def stop(self) -> int:
        """One past the last output."""
        return self.start + len(self.first) * self.matrices.shape[1]

    def within(self, start: int, stop: int) -> Group:
        """Return the blocks that lie in ``range(start, stop)``, whose ends no block crosses."""
        step = self.matrices.shape[1]
        a = min(max(0, start - self.start) // step, len(self.first))
        b = max(a, min(stop - self.start, self.stop - self.start) // step)
        return Group(self.start + a * step, self.first[a:b], self.matrices[a:b])


class Band(NamedTuple):
    """The blocks of `step` outputs each, and a group of one smaller block for what remains."""

    step: int
    groups: list[Group]


def find_band(index, weight, size) -> Band:
    """Return the band of the taps (index, weight) that read `size` inputs."""
    outputs = len(index)
    step = min(outputs, max(1, min(_OUTPUTS, _OUTPUTS * outputs // size)))
    whole = outputs // step * step
    groups = [_group(index, weight, size, 0, whole, step)]
    if whole < outputs:
        groups.append(_group(index, weight, size, whole, outputs, outputs - whole))
    return Band(step, groups)


def _group(index, weight, size, start, stop, step):
    blocks = (stop - start) // step
    read = index[start:stop].reshape(blocks, -1)
    used = weight[start:stop].reshape(blocks, -1) != 0
    first = np.where(used, read, size).min(axis=1)
    last = np.where(used, read, -1).max(axis=1)
    inputs = max(1, int((last - first).max()) + 1)
    first = np.clip(first, 0, size - inputs)
    matrices = np.zeros((blocks, step, inputs), weight.dtype)
    block, tap = np.nonzero(used)
    places = block, tap // index.shape[1], read[used] - first[block]
    np.add.at(matrices, places, weight[start:stop].reshape(blocks, -1)[used])
    return Group(start, first, matrices)
