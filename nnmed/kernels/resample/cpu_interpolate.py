"""Separable resampling with NumPy on channels-last memory; formulas in reference.py.

Along each axis a sparse matrix is applied. Its weights lie in a band around the diagonal, so
a few neighbouring outputs read a few neighbouring inputs: a small dense matrix, and BLAS
multiplies a stack of those faster than NumPy adds slices. The zeros in them would carry a
NaN or an infinity to outputs that do not read it; a block that has one is gathered tap by tap.

Where every output is one pixel, all axes are gathered at once. Otherwise a block of the
result is made one axis after the other: first the axes that shrink, then those that grow, so
that as little as possible is worked on. Of the growing axes the last comes first, since along
it the products are thin.
"""

from __future__ import annotations

from math import prod

import numpy as np

from nnmed.backend.arrays import empty_channels_last, nhwc
from nnmed.backend.threads import parallel_for
from nnmed.kernels.blocks import cut
from nnmed.kernels.elementwise import quietly

# Elements of a piece; smaller ones are bound by the number of NumPy's calls.
PIECE = 1 << 19
# Numbers in a run (what lies between neighbours along an axis) that make thin products, and
# those from which on one call a run is not too much.
_THIN, _LONG = 4, 256


def interpolate(x, taps):
    """Return x resampled along each spatial axis; see reference.py."""
    sizes = tuple(len(t) for t in taps)
    y = empty_channels_last((*x.shape[:2], *sizes), x.dtype)
    source, target = nhwc(x), nhwc(y)
    first, step = taps[0], taps[0].band.step
    line = x.shape[1] * max(
        prod(sizes[1:]), -(-first.size // len(first)) * prod(t.size for t in taps[1:])
    )
    pieces = cut(len(x), -(-len(first) // step), step * line, PIECE)
    axes = _order(taps)
    places = _places(taps[1:]) if all(t.is_copy for t in taps) else None

    def task(number):
        n0, n1, b0, b1 = pieces[number]
        start, stop = b0 * step, min(b1 * step, len(first))
        low, high = first.window(start, stop)
        block = np.ascontiguousarray(source[n0:n1, low:high])
        out = target[n0:n1, start:stop]
        if places is not None:
            _pick(block, first.index[start:stop, 0] - low, places, out)
            return
        # The sum of squares is finite only where all numbers are.
        flat = block.reshape(-1)
        use_blas = np.isfinite(np.dot(flat, flat))
        for axis in axes:
            outputs = (start, stop, low) if axis == 1 else (0, len(taps[axis - 1]), 0)
            shape = *block.shape[:axis], outputs[1] - outputs[0], *block.shape[axis + 1 :]
            into = out if axis == axes[-1] else np.empty(shape, x.dtype)
            _along(block, axis, taps[axis - 1], outputs, into, use_blas)
            block = into

    parallel_for(task, len(pieces))
    return y


def _order(taps):
    """Return the axes (1 for the first) in the order that leaves the least work."""
    axes = [axis for axis, t in enumerate(taps, 1) if not t.is_identity]
    growing = [axis for axis in axes if len(taps[axis - 1]) > taps[axis - 1].size]
    return [axis for axis in axes if axis not in growing] + growing[::-1]


def _along(block, axis, taps, outputs, out, use_blas):
    """Fill `out` with the outputs ``(start, stop, offset)`` of `taps` along `axis`.

    `offset` is the input at which `block` begins.
    """
    start, stop, offset = outputs
    run = prod(block.shape[axis + 1 :])
    index = taps.index[start:stop] - offset
    source, target = (a.reshape(prod(a.shape[:axis]), -1, run) for a in (block, out))
    if taps.is_copy:
        np.take(source, index[:, 0], axis=1, out=target, mode="clip")
    elif taps.is_sum:
        _add_neighbours(source, taps.weight[0, 0], target)
    elif not use_blas:
        quietly(_gather, source, index, taps.weight[start:stop], target)
    else:
        multiply = _multiply_thin if run < _THIN else _multiply
        for group in taps.band.groups:
            part = group.within(start, stop)
            if len(part.first):
                into = target[:, part.start - start : part.stop - start]
                multiply(part.matrices, source, part.first - offset, into)


def _places(taps):
    """Return where in a flattened line of several axes each output of copies reads."""
    places = np.zeros(1, np.intp)
    for t in taps:
        places = (places[:, None] * t.size + t.index[:, 0]).reshape(-1)
    return places


def _pick(block, first, rest, out):
    """Set `out` to copies of pixels: those at `first` along axis 1, at `rest` along the others."""
    images, _, *sizes, channels = block.shape
    places = (first[:, None] * prod(sizes) + rest).reshape(-1)
    source, target = (a.reshape(images, -1, channels) for a in (block, out))
    np.take(source, places, axis=1, out=target, mode="clip")


def _add_neighbours(source, weight, out):
    """Set each output to the sum of as many inputs as there are for one, times `weight`."""
    lines, outputs, run = out.shape
    parts = source.reshape(lines, outputs, -1, run).transpose(2, 0, 1, 3)
    # Short runs are copied side by side, a run as one item: NumPy adds 10 ns a run slower.
    first, *others = (_side_by_side(part) if run < _LONG else part for part in parts)
    np.add(first, others[0], out=out)
    for part in others[1:]:
        out += part
    if weight != 1:
        out *= weight


def _side_by_side(runs):
    """Return a contiguous copy of `runs` (lines, outputs, run)."""
    item = np.dtype((np.void, runs.shape[-1] * runs.itemsize))
    copy = np.empty(runs.shape, runs.dtype)
    np.copyto(copy.view(item), runs.view(item))
    return copy


def _multiply(matrices, source, first, out):
    """Set `out` to the products of the matrices and what they read.

    Parameters
    ----------
    matrices : array, (blocks, outputs of a block, inputs of a block)
    source : array, (lines, all inputs, run)
    first : array, (blocks,)
        Where in `source` each block begins to read.
    out : array, (lines, all outputs, run)
    """
    blocks, _, inputs = matrices.shape
    products = _split(out, blocks)
    if source.shape[2] < _LONG:
        windows = np.take(source, first[:, None] + np.arange(inputs), axis=1)
        np.matmul(matrices, windows, out=products)
    else:
        for block, start in enumerate(first):
            window = source[:, start : start + inputs]
            np.matmul(matrices[block], window, out=products[:, block])


def _multiply_thin(matrices, source, first, out):
    """Do :func:`_multiply` where runs are short, as products of whole windows.

    Each weight becomes a diagonal matrix of the length of a run.
    """
    blocks, step, inputs = matrices.shape
    lines, _, run = source.shape
    wide = np.einsum("bok,rs->bkros", matrices, np.eye(run, dtype=matrices.dtype))
    windows = np.take(source, first[:, None] + np.arange(inputs), axis=1)
    products = _split(out, blocks).reshape(lines, blocks, step * run)
    np.matmul(
        windows.reshape(lines, blocks, inputs * run).transpose(1, 0, 2),
        wide.reshape(blocks, inputs * run, step * run),
        out=products.transpose(1, 0, 2),
    )


def _split(out, blocks):
    """Return the view (lines, blocks, outputs of a block, run) of (lines, outputs, run)."""
    lines, outputs, run = out.shape
    view = out.view()
    view.shape = lines, blocks, outputs // blocks, run
    return view


def _gather(source, index, weight, out):
    """Fill `out` with sums of taps, for all outputs at once."""
    lines, outputs, run = out.shape
    if run < _LONG:  # weights repeated to the length of a line keep inner loops long
        shape, weights = (lines, outputs * run), np.repeat(weight.T, run, axis=1)
    else:
        shape, weights = out.shape, weight.T[:, :, None]
    np.take(source, index[:, 0], axis=1, out=out, mode="clip")
    total, part = out.reshape(shape), np.empty_like(out)
    total *= weights[0]
    for t in range(1, index.shape[1]):
        np.take(source, index[:, t], axis=1, out=part, mode="clip")
        products = part.reshape(shape)
        products *= weights[t]
        total += products
    # What reads nothing is 0, also where its idle taps point to a NaN.
    out[:, ~weight.any(axis=1)] = 0
