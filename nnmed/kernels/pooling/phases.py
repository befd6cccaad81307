"""The pixels of a block, sorted so that each column of all its windows is one long run.

Windows that advance by t columns read pixel ``j*t + v`` of a row. *Phase* b holds the
pixels ``c*t + b`` of all rows, so the columns v of all windows are phase ``v % t`` from
pixel ``v // t`` on: a contiguous run, shifted. Combining runs is one NumPy call without
strides, however few the channels are. Where a row of windows ends, a run holds numbers of
no meaning. Down the columns, rows of pixels are long enough as they are.
"""

from __future__ import annotations

import contextvars
import threading
from functools import lru_cache

import numpy as np

from nnmed.kernels import blocks
from nnmed.kernels.blocks import hit

# Elements of a block. A call costs as much as some thousand elements, and a thread wakes late
# after it, so large blocks are faster than blocks that fit the L2 cache, most of all on several
# threads.
BLOCK = 1 << 19
# NumPy copies the operands of rows that are shorter than its buffer: a smaller buffer for
# this work doubles its speed.
_BUFFER = 1024

_local = threading.local()


def cut(images: int, rows: int, row_elements: int):
    """Split ``images`` x ``rows`` into pieces ``(n0, n1, r0, r1)``, as ``blocks.cut``."""
    return blocks.cut(images, rows, row_elements, BLOCK)


def on_rows(function, *arguments):
    """Call `function` with NumPy set up for long rows: a small buffer."""
    context = getattr(_local, "context", None)
    if context is None:
        context = _local.context = contextvars.Context()
        context.run(np.setbufsize, _BUFFER)
    return context.run(function, *arguments)


def pixels(x):
    """Return (N, H, W, C) as (N, H, W) of whole pixels where they are dense, else itself.

    NumPy then copies pixel by pixel rather than number by number.
    """
    if x.shape[3] == 1 or x.strides[3] != x.itemsize:
        return x
    return x.view(np.dtype((np.void, x.shape[3] * x.itemsize)))[..., 0]


class Grid:
    """Where a block of windows finds its cells.

    Parameters
    ----------
    images, rows, columns : int
        How many windows there are along each axis.
    channels : int
    kernel, stride, dilation : pair of int

    Attributes
    ----------
    shape : tuple of int
        Images, rows and columns of pixels of a phase.
    size : int
        Elements of a phase.
    columns : int
        Columns of a window.
    phases : list of int
        The phases in use.
    """

    def __init__(self, images, rows, columns, channels, kernel, stride, dilation):
        (kh, kw), (dh, dw), (sh, self.stride) = kernel, dilation, stride
        height, width = (rows - 1) * sh + (kh - 1) * dh + 1, columns + (kw - 1) * dw // self.stride
        self.shape = images, height, width
        self.size = images * height * width * channels
        self.phases = sorted({v * dw % self.stride for v in range(kw)})
        length = self.size - (width - columns) * channels
        self.columns, self._runs = kw, []
        for v in range(kw):
            start = v * dw // self.stride * channels
            phase = self.phases.index(v * dw % self.stride)
            self._runs.append((phase, slice(start, start + length)))
        self._lines = images, height, width * channels
        self._windows = [
            (slice(None), every(u * dh, sh, rows), slice(columns * channels)) for u in range(kh)
        ]

    def read(self, x, corner, fill, buffers):
        """Copy `x` (N, H, W, C) into a buffer for each phase, and return them.

        `corner` is the first row and column, maybe outside of the picture; `fill` is what
        lies there. A block of dense rows that is one phase is returned without a copy.
        """
        (_, height, width), (top, left) = self.shape, corner
        a, b = max(0, -top), min(height, x.shape[1] - top)
        x = x[:, top + a : top + b]
        inside = x.shape[1] == height and (left, width) == (0, x.shape[2])
        if inside and self.stride == 1 and x.flags.c_contiguous:
            return [x.reshape(-1)]
        x = pixels(x)
        for phase, buffer in zip(self.phases, buffers):
            start = left + phase
            j0, j1 = hit(start, self.stride, 0, x.shape[2], width)
            edges = buffer.reshape(*self.shape, -1)
            for edge in (edges[:, :a], edges[:, b:], edges[:, a:b, :j0], edges[:, a:b, j1:]):
                if edge.size:
                    edge[...] = fill
            part = buffer.view(x.dtype).reshape(self.shape + x.shape[3:])
            columns = every(start + j0 * self.stride, self.stride, j1 - j0)
            np.copyto(part[:, a:b, j0:j1], x[:, :, columns])
        return buffers

    def along_columns(self, buffers):
        """Return a run for each column of the windows."""
        return [buffers[phase][run] for phase, run in self._runs]

    def along_rows(self, values):
        """Return (images, rows, elements) for each row of the windows, from a run's values."""
        lines = values.reshape(self._lines)
        return [lines[window] for window in self._windows]


@lru_cache(maxsize=64)
def grid_of(*arguments) -> Grid:
    """Return the grid of a block; a batch has one or two kinds of blocks."""
    return Grid(*arguments)


def every(start: int, step: int, count: int) -> slice:
    """Return the slice of `count` places from `start` on, `step` apart."""
    return slice(start, start + (count - 1) * step + 1, step) if count > 0 else slice(0, 0)
