"""3-d convolution on the CPU, made of 2-d convolutions.

A window of a volume is a 2-d window of kd of its slices. Laid side by side as channels, the
slices that output slice z sees are one picture of kd * C channels, and the weight
(O, C, kd, kh, kw) is one of (O, kd * C, kh, kw): the 2-d kernels do the rest, and what makes
them fast makes volumes fast. (The sum of kd 2-d convolutions of C channels each copies no
slices, but its products are thinner and its results must be added. Measured: as fast with 32
to 128 channels, slower with 16, and 1.6 times as long with one.)

The work goes by *slabs* of the output: some whole volumes, some slices, or some rows of one
large slice. Only what a slab sees is copied, into scratch, so memory stays bounded.

Each function takes the 2-d kernel that it is made of first, and then what the function of its
name in :mod:`nnmed.kernels.conv.reference` takes.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np

from nnmed.backend.arrays import as_channels_last, nhwc
from nnmed.backend.threads import parallel_for
from nnmed.kernels.conv.blocks import scratch

# Numbers that a slab sees: some megabytes, beside which a 2-d kernel's start costs little.
# Part of that start is to rearrange the weight, so a large weight has slabs as large.
SLAB_NUMBERS = 1 << 20


def conv3d(conv2d, x, weight, bias, stride, padding, dilation, groups):
    """Return the convolution (strictly, the correlation) of `x` with `weight`."""
    axes = _axes(weight.shape[2:], stride, padding, dilation)
    size = [axis.windows(length) for axis, length in zip(axes, x.shape[2:])]
    stack = Stack(nhwc(as_channels_last(x)), size[0], axes[0].offsets(), stride[0], groups)
    planes = weight.swapaxes(1, 2).reshape(len(weight), -1, *weight.shape[3:])

    def part(slab):
        rows, ends = axes[1].seen(slab.rows, x.shape[3])
        seen = stack.pictures(slab, rows)
        return conv2d(seen, planes, bias, stride[1:], (ends, padding[2]), dilation[1:], groups)

    shape = (len(x), *size, len(weight))
    return _as_volumes(_put_together(shape, stack.slabs(shape, stride[1], weight), part, x.dtype))


def conv3d_input_grad(
    conv2d_input_grad, dy, weight, input_size, stride, padding, dilation, groups
):  # fmt: skip
    """Return dx (N, C, D, H, W) for `input_size` (D, H, W).

    As with rows in 2-d: the slices of dx with one remainder by the stride, their phase, are
    met by the same taps. They are the 2-d input gradient of the slices of dy that those bring.
    """
    axes = _axes(weight.shape[2:], stride, padding, dilation)
    channels, kernel = weight.shape[1], weight.shape[3:]
    dy = nhwc(as_channels_last(dy))
    shape = (len(dy), *input_size, channels * groups)

    def phase_grad(phase, out=None):
        taps, offsets = axes[0].meeting_phase(phase)
        by_group = weight[:, :, taps].reshape(groups, -1, channels, len(taps), *kernel)
        planes = by_group.transpose(0, 3, 1, 2, 4, 5).reshape(-1, channels, *kernel)
        phase_shape = shape if out is None else out.shape
        stack = Stack(dy, phase_shape[1], offsets, 1, groups)

        def part(slab):
            rows, ends = axes[1].meeting(slab.rows, dy.shape[2])
            size = slab.rows.stop - slab.rows.start, input_size[2]
            seen = stack.pictures(slab, rows)
            windows = stride[1:], (ends, padding[2]), dilation[1:]
            return conv2d_input_grad(seen, planes, size, *windows, groups)

        slabs = stack.slabs(phase_shape, 1 / stride[1], weight)
        return _put_together(phase_shape, slabs, part, dy.dtype, out)

    if stride[0] == 1:
        return _as_volumes(phase_grad(0))
    dx = np.zeros(shape, dy.dtype)
    for phase in range(stride[0]):
        if axes[0].meeting_phase(phase)[0]:
            phase_grad(phase, dx[:, phase :: stride[0]])
    return _as_volumes(dx)


def conv3d_weight_grad(conv2d_weight_grad, dy, x, kernel_size, stride, padding, dilation, groups):
    """Return dweight (O, C/groups, kd, kh, kw): the sum of ``dy * window`` over all windows."""
    axes = _axes(kernel_size, stride, padding, dilation)
    dy = nhwc(as_channels_last(dy))
    stack = Stack(nhwc(as_channels_last(x)), dy.shape[1], axes[0].offsets(), stride[0], groups)
    planes = np.zeros((dy.shape[4], stack.channels // groups, *kernel_size[1:]), x.dtype)
    for slab in stack.slabs(dy.shape, stride[1], planes):
        rows, ends = axes[1].seen(slab.rows, x.shape[3])
        planes += conv2d_weight_grad(
            _as_pictures(dy[slab.index]), stack.pictures(slab, rows), kernel_size[1:],
            stride[1:], (ends, padding[2]), dilation[1:], groups,
        )  # fmt: skip
    dweight = planes.reshape(len(planes), kernel_size[0], -1, *kernel_size[1:]).swapaxes(1, 2)
    return np.ascontiguousarray(dweight)


class Axis(NamedTuple):
    """Windows along one axis: window i meets index ``i * stride + u * dilation - before``.

    `padding` is (before, after).
    """

    kernel: int
    stride: int
    padding: tuple[int, int]
    dilation: int

    @property
    def reach(self) -> int:
        """How many indices a window spans."""
        return (self.kernel - 1) * self.dilation + 1

    def windows(self, length: int) -> int:
        """Return how many windows there are."""
        return (length + sum(self.padding) - self.reach) // self.stride + 1

    def offsets(self) -> list[int]:
        """Return where the taps of window 0 are."""
        return [u * self.dilation - self.padding[0] for u in range(self.kernel)]

    def meeting_phase(self, phase: int) -> tuple[list[int], list[int]]:
        """Return the taps that meet index `phase`, and in each the window that does.

        Index ``phase + k * stride`` is met by the same taps, of k windows further on.
        """
        meets = [
            (u, divmod(phase - offset, self.stride)) for u, offset in enumerate(self.offsets())
        ]
        return [u for u, (_, rest) in meets if not rest], [i for _, (i, rest) in meets if not rest]

    def seen(self, windows: slice, length: int) -> tuple[slice, tuple[int, int]]:
        """Return which of `length` indices these windows see, and the padding of just those."""
        first = windows.start * self.stride - self.padding[0]
        last = windows.stop * self.stride - self.padding[0] + self.reach - 1
        start, stop = _clip(first, last, length)
        return slice(start, stop), (start - first, last - stop)

    def meeting(self, indices: slice, windows: int) -> tuple[slice, tuple[int, int]]:
        """Return which of the windows meet these indices, and the padding of just those."""
        before = self.padding[0]
        first = -((self.reach - 1 - indices.start - before) // self.stride)
        last = (indices.stop - 1 + before) // self.stride + 1
        start, stop = _clip(first, last, windows)
        before += indices.start - start * self.stride
        spanned = (stop - start - 1) * self.stride + self.reach
        return slice(start, stop), (before, spanned - before - (indices.stop - indices.start))


class Slab(NamedTuple):
    """A part of an array (N, D, H, ...)."""

    volumes: slice
    slices: slice
    rows: slice

    @property
    def index(self):
        """What picks the part."""
        return tuple(self)


class Stack:
    """The slices of `x` (N, D, H, W, C) that each of `depth` output slices sees.

    Output slice z sees slices ``z * stride + offset``, one for each of `offsets`; slices
    outside the volume are zero.
    """

    def __init__(self, x, depth: int, offsets: list[int], stride: int, groups: int):
        self.x, self.offsets, self.stride, self.groups = x, offsets, stride, groups
        self.channels = len(offsets) * x.shape[4]
        self.is_view = (
            len(offsets) == 1 and stride == 1 and 0 <= offsets[0] <= x.shape[1] - depth
        )  # fmt: skip

    def slabs(self, shape, rows_each: float, weight) -> list[Slab]:
        """Cut an array of `shape` (N, D, H, ...), whose rows each see `rows_each` rows.

        The slabs depend on sizes alone.
        """
        n, depth, height = shape[:3]
        if 0 in shape:
            return []
        if self.is_view:  # there is nothing to copy
            return [Slab(slice(0, n), slice(0, depth), slice(0, height))]
        numbers = max(SLAB_NUMBERS, weight.size)
        rows = max(int(numbers / (rows_each * self.x.shape[3] * self.channels)), 1)
        slices, volumes = max(rows // height, 1), max(rows // (height * depth), 1)
        return [
            Slab(*ranges)
            for ranges in itertools.product(
                _pieces(n, volumes), _pieces(depth, slices), _pieces(height, rows)
            )
        ]

    def pictures(self, slab: Slab, rows: slice):
        """Return these rows of what a slab sees, (pictures, taps * C, rows, W).

        The channels are in the order (group, tap, channel of the group).
        """
        x = self.x[slab.volumes, :, rows]
        first, count = slab.slices.start, slab.slices.stop - slab.slices.start
        if self.is_view:
            start = first + self.offsets[0]
            return _as_pictures(x[:, start : start + count])
        volumes, depth, *size, channels = x.shape
        x = x.reshape(volumes, depth, *size, self.groups, -1)
        shape = (volumes, count, *size, self.groups, len(self.offsets), channels // self.groups)
        stacked = scratch("slab", shape, x.dtype)

        def task(index):
            n, k = divmod(index, count)
            for tap, offset in enumerate(self.offsets):
                z = (first + k) * self.stride + offset
                stacked[n, k, :, :, :, tap] = x[n, z] if 0 <= z < depth else 0

        parallel_for(task, volumes * count)
        return _as_pictures(stacked.reshape(volumes, count, *size, self.channels))


def _axes(*arguments) -> list[Axis]:
    """Return the three axes: depth, height, width."""
    return [Axis(*values) for values in zip(*arguments)]


def _put_together(shape, slabs, part, dtype, out=None):
    """Return the array (N, D, H, W, C) whose slabs `part` makes, or fill `out` with it."""
    if out is None and len(slabs) == 1:
        return nhwc(part(slabs[0])).reshape(shape)
    if out is None:
        out = np.empty(shape, dtype)
    for slab in slabs:
        target = out[slab.index]
        _copy(target, nhwc(part(slab)).reshape(target.shape))
    return out


def _copy(target, source):
    """Copy `source` (N, D, ...) to `target`, a slice a task."""

    def task(index):
        at = divmod(index, target.shape[1])
        target[at] = source[at]

    parallel_for(task, target.shape[0] * target.shape[1])


def _pieces(length: int, most: int) -> list[slice]:
    """Cut a length into even pieces of at most `most`."""
    count = math.ceil(length / most)
    return [slice(length * k // count, length * (k + 1) // count) for k in range(count)]


def _clip(start: int, stop: int, length: int) -> tuple[int, int]:
    """Return the part of start..stop inside 0..length, or some one index if there is none."""
    start = min(max(start, 0), length - 1)
    return start, max(min(stop, length), start + 1)


def _as_pictures(x):
    """Return (N, D, H, W, C) as pictures (N * D, C, H, W)."""
    return x.reshape(-1, *x.shape[2:]).transpose(0, 3, 1, 2)


def _as_volumes(x):
    """Return (N, D, H, W, C) as (N, C, D, H, W)."""
    return x.transpose(0, 4, 1, 2, 3)
