"""Padding with NumPy: every part of the padded array is one strided copy; see reference.py.

A padded line is the line itself, and beside it the line reversed, its last element repeated
or its other end. Each is a slice, so a padded picture is 9 copies and a padded volume 27, and
the gradient adds the same slices back.
"""

from __future__ import annotations

from itertools import product

from nnmed.backend import memory
from nnmed.backend.arrays import empty_channels_last, is_channels_last, zeros_channels_last
from nnmed.backend.threads import chunks, parallel_for
from nnmed.kernels.blocks import BLOCK


def pad(x, widths, mode, value):
    """Return `x` with ``widths[axis] = (before, after)`` more entries; negative ones crop."""
    shape = tuple(n + before + after for n, (before, after) in zip(x.shape, widths))
    y = _allocate(empty_channels_last, memory.empty, shape, x)
    lines = [_parts(n, *width, mode) for n, width in zip(x.shape, widths)]
    if mode == "constant":
        _fill_around(y, [parts[0][0] for parts in lines], value)

    def copy(into, images):
        for target, source in _combinations(lines[1:]):
            into[target] = images[source]

    _for_chunks(copy, lines[0], y, x)
    return y


def pad_input_grad(dy, widths, mode):
    """Return dx: each dy is added where its value was read."""
    shape = tuple(n - before - after for n, (before, after) in zip(dy.shape, widths))
    crops = any(min(width) < 0 for width in widths)
    dx = (
        _allocate(zeros_channels_last, memory.zeros, shape, dy)
        if crops
        else _allocate(empty_channels_last, memory.empty, shape, dy)
    )
    lines = [_parts(n, *width, mode) for n, width in zip(shape, widths)]

    def add(images, into):
        (target, source), *edges = _combinations(lines[1:])
        into[source] = images[target]
        for target, source in edges:
            part, total = images[target], into[source]
            # An edge that was repeated takes the sum of all its copies.
            repeated = [i for i, n in enumerate(total.shape) if n == 1 != part.shape[i]]
            total += part.sum(axis=tuple(repeated), keepdims=True) if repeated else part

    _for_chunks(add, lines[0], dy, dx)
    return dx


def _parts(n, before, after, mode):
    """Return (where in y, where in x) of the parts of a padded line, the line itself first."""
    low, high = max(-before, 0), n - max(-after, 0)
    start = max(before, 0)
    stop = start + high - low
    parts = [(slice(start, stop), slice(low, high))]
    if mode == "constant":
        return parts
    if before > 0:
        source = {
            "reflect": slice(before, 0, -1),
            "replicate": slice(0, 1),
            "circular": slice(high - before, high),
        }
        parts.append((slice(0, before), source[mode]))
    if after > 0:
        end = n - 2 - after
        source = {
            "reflect": slice(n - 2, None if end < 0 else end, -1),
            "replicate": slice(n - 1, n),
            "circular": slice(low, low + after),
        }
        parts.append((slice(stop, stop + after), source[mode]))
    return parts


def _combinations(lines):
    """Yield (where in y, where in x) of all parts of a piece of the batch, the inner one first."""
    for parts in product([(slice(None), slice(None))], *lines):
        yield tuple(zip(*parts))


def _fill_around(y, inner, value):
    """Set what lies outside the box `inner`, a slice for each axis, to `value`."""
    for axis, part in enumerate(inner):
        # The two slabs beside the box along this axis, within those already filled.
        before = tuple(inner[:axis])
        y[(*before, slice(0, part.start))] = value
        y[(*before, slice(part.stop, None))] = value


def _for_chunks(task, first, y, x):
    """Call `task` for matching pieces of y and x along the first axis, padded at most by 0."""
    [(target, source)] = first
    rows, lines = y[target], x[source]
    pieces = chunks(len(rows), max(1, BLOCK * len(y) // max(1, y.size)))

    def run(index):
        start, stop = pieces[index]
        task(rows[start:stop], lines[start:stop])

    parallel_for(run, len(pieces))


def _allocate(channels_last, plain, shape, like):
    # Without a batch, (C, H, W) has nothing that says which axis the channels are.
    is_batch = like.ndim > 3 or is_channels_last(like)
    return (channels_last if is_batch else plain)(shape, like.dtype)
