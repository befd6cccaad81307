"""Where each output of a 1-d resampling reads, and with what weight.

Every resampling here is separable, and along one axis ``y[o] = sum_t weight[o, t] *
x[index[o, t]]``: a sparse matrix. The gradient is the transposed matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from nnmed.kernels.resample.band import Band, find_band


@dataclass(frozen=True, eq=False)
class Taps:
    """A sparse matrix that makes ``len(index)`` outputs of `size` inputs.

    Attributes
    ----------
    index, weight : array, (outputs, taps)
        What each output reads. Taps of weight 0 point to an input that their output reads
        anyway, or belong to an output that reads nothing.
    size : int
        How many inputs there are.
    """

    index: np.ndarray
    weight: np.ndarray
    size: int

    def __len__(self):
        return len(self.index)

    def matrix(self) -> np.ndarray:
        """Return the matrix with all its zeros, (outputs, inputs)."""
        matrix = np.zeros((len(self), self.size))
        np.add.at(matrix, (np.arange(len(self))[:, None], self.index), self.weight)
        return matrix

    @property
    def most(self) -> int:
        """The largest number of inputs that an output reads."""
        return self.index.shape[1]

    @cached_property
    def is_copy(self) -> bool:
        """Whether each output is one input as it is."""
        return self.most == 1 and bool((self.weight == 1).all())

    @cached_property
    def is_sum(self) -> bool:
        """Whether each output is a multiple of the sum of its share of the inputs."""
        alike = self.most > 1 and bool((self.weight == self.weight[0, 0]).all())
        ordered = self.index.size == self.size and self.index.ravel() == np.arange(self.size)
        return alike and bool(np.all(ordered))

    @cached_property
    def is_identity(self) -> bool:
        """Whether the outputs are the inputs."""
        same = self.is_copy and len(self) == self.size
        return same and bool((self.index[:, 0] == np.arange(self.size)).all())

    @cached_property
    def band(self) -> Band:
        """The matrix as small dense ones, see band.py."""
        return find_band(self.index, self.weight, self.size)

    def window(self, start: int, stop: int) -> tuple[int, int]:
        """Return the range of inputs that the outputs in ``range(start, stop)`` need."""
        if self.is_copy:
            wanted = self.index[start:stop]
            return int(wanted.min()), int(wanted.max()) + 1
        parts = [group.within(start, stop) for group in self.band.groups]
        bounds = [
            (int(p.first.min()), int(p.first.max()) + p.matrices.shape[2])
            for p in parts
            if len(p.first)
        ]
        return min(low for low, _ in bounds), max(high for _, high in bounds)

    @cached_property
    def T(self) -> Taps:
        """The transposed matrix, from the outputs back to the inputs."""
        return _transposed(self)


@lru_cache(maxsize=512)
def nearest_taps(size, output_size, scale, exact, dtype):
    """Return the taps of nearest neighbours: ``floor(o * scale)``.

    With `exact` the centres of pixels are compared: ``floor((o + 0.5) * scale)``.
    Computed in float32 as PyTorch does, whatever the type of the picture.
    """
    position = np.arange(output_size, dtype=np.float32)
    if exact:
        position += np.float32(0.5)
    index = np.floor(position * np.float32(scale)).astype(np.intp)
    index = np.clip(index, 0, size - 1)
    return Taps(index[:, None], np.ones((output_size, 1), dtype), size)


@lru_cache(maxsize=512)
def linear_taps(size, output_size, scale, align_corners, dtype):
    """Return the taps of linear interpolation between two neighbours.

    The source position is ``o * scale`` with `align_corners`, else
    ``(o + 0.5) * scale - 0.5`` held above 0; computed in `dtype`, as PyTorch does.
    """
    position = np.maximum(_positions(output_size, scale, align_corners, dtype), dtype.type(0))
    low = np.minimum(position.astype(np.intp), size - 1)
    high = np.minimum(low + 1, size - 1)
    share = np.clip(position - low.astype(dtype), 0, 1).astype(dtype)
    index, weight = np.stack([low, high], axis=1), np.stack([1 - share, share], axis=1)
    return Taps(_without_idle(index, weight), weight, size)


@lru_cache(maxsize=512)
def cubic_taps(size, output_size, scale, align_corners, dtype):
    """Return the taps of cubic convolution (Keys 1981, equation 4, with a = -0.75).

    Four neighbours of the source position of :func:`linear_taps`, which here may be below
    0; neighbours beyond the edge are the edge.
    """
    position = _positions(output_size, scale, align_corners, dtype)
    low = np.minimum(np.floor(position), size - 1).astype(np.intp)
    share = np.clip(position - low.astype(dtype), 0, 1).astype(dtype)
    index = np.clip(low[:, None] + np.arange(-1, 3), 0, size - 1)
    distance = np.stack([share + 1, share, 1 - share, 2 - share], axis=1)
    weight = _cubic(distance, -0.75).astype(dtype)
    return Taps(_without_idle(index, weight), weight, size)


@lru_cache(maxsize=512)
def antialiased_taps(size, output_size, scale, mode, dtype):
    """Return the taps of ``"bilinear"`` or ``"bicubic"`` interpolation without aliasing.

    Output o weighs the pixels around ``(o + 0.5) * scale`` by a triangle that reaches
    ``max(scale, 1)`` to either side, or by the cubic of Keys with a = -0.5, which reaches
    twice as far; the weights of an output add up to 1.
    """
    stretch = max(scale, 1.0)
    reach = stretch * (1 if mode == "bilinear" else 2)
    centre = (np.arange(output_size) + 0.5) * scale
    first = np.maximum(np.floor(centre - reach + 0.5).astype(np.intp), 0)
    last = np.minimum(np.floor(centre + reach + 0.5).astype(np.intp), size) - 1
    index = first[:, None] + np.arange((last - first).max() + 1)
    distance = np.abs(index + 0.5 - centre[:, None]) / stretch
    weight = np.maximum(1 - distance, 0) if mode == "bilinear" else _cubic(distance, -0.5)
    weight[index > last[:, None]] = 0
    weight /= weight.sum(axis=1, keepdims=True)
    return Taps(_without_idle(index, weight), weight.astype(dtype), size)


@lru_cache(maxsize=512)
def area_taps(size, output_size, dtype):
    """Return the taps of the mean over the inputs that an output covers, whole or in part."""
    first = np.arange(output_size) * size // output_size
    stop = -(-np.arange(1, output_size + 1) * size // output_size)
    index = first[:, None] + np.arange((stop - first).max())
    weight = (index < stop[:, None]) / (stop - first)[:, None]
    return Taps(_without_idle(index, weight), weight.astype(dtype), size)


def _positions(output_size, scale, align_corners, dtype):
    """Return the source positions of the outputs, in units of input pixels."""
    position, scale, half = np.arange(output_size, dtype=dtype), dtype.type(scale), dtype.type(0.5)
    return position * scale if align_corners else (position + half) * scale - half


def _cubic(distance, a):
    """Return the weight of a pixel at `distance` >= 0 by cubic convolution."""
    near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
    far = (((distance - 5) * distance + 8) * distance - 4) * a
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))


def _without_idle(index, weight):
    """Return `index` with taps of weight 0 moved to one of weight, so no NaN comes in there."""
    used = np.take_along_axis(index, np.abs(weight).argmax(axis=1)[:, None], axis=1)
    return np.where(weight != 0, index, used)


def _transposed(taps) -> Taps:
    """Return the transposed matrix.

    Inputs that are read a different number of times get idle taps of weight 0.
    """
    outputs = np.repeat(np.arange(len(taps)), taps.most)
    inputs, weights = taps.index.ravel(), taps.weight.ravel()
    used = weights != 0
    outputs, inputs, weights = outputs[used], inputs[used], weights[used]
    order = np.argsort(inputs, kind="stable")
    outputs, inputs, weights = outputs[order], inputs[order], weights[order]
    counts = np.bincount(inputs, minlength=taps.size)
    starts = np.cumsum(counts) - counts
    width = max(1, counts.max(initial=0))
    back = np.zeros((taps.size, width), np.intp)
    if len(outputs):
        back[:] = outputs[np.minimum(starts, len(outputs) - 1)][:, None]
    back_weight = np.zeros((taps.size, width), weights.dtype)
    slot = np.arange(len(inputs)) - starts[inputs]
    back[inputs, slot] = outputs
    back_weight[inputs, slot] = weights
    return Taps(back, back_weight, len(taps))
