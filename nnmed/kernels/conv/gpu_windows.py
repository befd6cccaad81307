"""How windows lie, as Windows in windows.cuh takes it: for the result, and for the input gradient.

**The input gradient** is a sum over windows as well. Input pixel a is met by output pixel i and
tap u where ``i * stride + u * dilation - before = a``. At stride 1 that gives one i for each u.
Else the pixels ``a = phase + stride * q`` of one phase are met by the same taps, u0, u0 + period
and so on, and tap number t of these meets ``i = q + (phase + before - u0 * dilation) / stride
- t * period * dilation / stride``. So each phase is a convolution of dy at stride 1, with some of
the taps, whose result lies apart in memory: no multiplication by zeros between dy's pixels::

    stride 2, dilation 1, padding 1         a = 0  1  2  3  4
    taps that meet pixel a                      1  0  1  0  1
                                                   2     2
"""

from __future__ import annotations

import itertools
from math import gcd
from typing import NamedTuple


class Axis(NamedTuple):
    """One axis: position and tap pick place ``position * multiply + tap * step + offset``.

    There are so many `positions` of the result, `places` of the source and `taps` of a window.
    """

    positions: int
    places: int
    taps: int
    multiply: int
    step: int
    offset: int

    @property
    def is_trivial(self) -> bool:
        """Whether there is but one of everything."""
        return self.positions == self.places == self.taps == 1 and not self.offset


class Phase(NamedTuple):
    """The input pixels, along one axis, that the same taps meet."""

    axis: Axis
    positions: slice
    taps: slice


def seen(y, x, kernel, stride, padding, dilation) -> list[Axis]:
    """Return the axes of a convolution that makes `y` of `x`."""
    sizes = zip(y.shape[2:], x.shape[2:], kernel, stride, dilation, padding)
    return [Axis(*numbers, -before) for *numbers, (before, _) in sizes]


def correlate(sum_windows, x, weight, bias, y, stride, padding, dilation, groups):
    """Set `y` to the convolution of `x` with `weight` (O, C/groups, ...).

    ``sum_windows(x, weight, bias, y, axes, groups)`` sets `y` to the sums over windows of `x`
    times `weight`.
    """
    axes = seen(y, x, weight.shape[2:], stride, padding, dilation)
    sum_windows(x, weight, bias, y, axes, groups)


def input_grad(sum_windows, dy, weight, dx, stride, padding, dilation, groups):
    """Set `dx` to the gradient of the convolution by its input, phase by phase."""
    outputs, channels, *kernel = weight.shape
    swapped = weight.reshape(groups, outputs // groups, channels, *kernel).swapaxes(1, 2)
    swapped = swapped.reshape(groups * channels, outputs // groups, *kernel)
    sizes = zip(dx.shape[2:], dy.shape[2:], kernel, stride, padding, dilation)
    for phases in itertools.product(*[_phases(*numbers) for numbers in sizes]):
        axes, positions, taps = zip(*phases)
        part = dx[(slice(None), slice(None), *positions)]
        if all(axis.taps for axis in axes):
            sum_windows(dy, swapped[(slice(None), slice(None), *taps)], None, part, axes, groups)
        else:
            part.fill(0)


def flat(axes) -> list[int]:
    """Return the numbers of three axes as Windows takes them: depth first, field by field."""
    return [number for numbers in zip(*_three(axes)) for number in numbers]


def strides(y, axes) -> list[int]:
    """Return how many numbers lie between the images of `y`, and between its positions."""
    apart = [stride // y.itemsize for stride in y.strides]
    kept = [stride for stride, axis in zip(apart[2:], axes) if not axis.is_trivial]
    return [apart[0], *[0] * (3 - len(kept)), *kept]


def _phases(places, positions, kernel, stride, padding, dilation) -> list[Phase]:
    """Return the phases of `places` input pixels that `positions` output pixels see."""
    period, phases = stride // gcd(stride, dilation), []
    for phase in range(min(stride, places)):
        offsets = [phase + padding[0] - u * dilation for u in range(kernel)]
        first = next((u for u, offset in enumerate(offsets) if offset % stride == 0), kernel)
        taps, pixels = slice(first, kernel, period), slice(phase, places, stride)
        counts = len(range(places)[pixels]), positions, len(offsets[taps])
        offset = offsets[first] // stride if counts[2] else 0
        axis = Axis(*counts, 1, -(period * dilation // stride), offset)
        phases.append(Phase(axis, pixels, taps))
    return phases


def _three(axes) -> list[Axis]:
    """Return three axes; trivial ones come first, so that a signal is one row of pixels."""
    kept = [axis for axis in axes if not axis.is_trivial]
    return [Axis(1, 1, 1, 1, 1, 0)] * (3 - len(kept)) + kept
