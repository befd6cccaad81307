"""Winograd's convolution where the filters are many: a slice of output channels at a time.

Transformed, 512 x 512 filters take 38 MB, which would be written to memory and read again, by
other threads as well. So the tiles are transformed first, as many as fit some megabytes, and are
then shared by all. Each slice of outputs has its own filters, which stay in the cache from their
transform to their product, and the sums of the weight gradient likewise. (Where not all tiles
fit, the filters are transformed again for the next ones.)::

      tiles, transformed once         slices of outputs: what a thread has to itself
    +------------------------+      +-------+-------+-------+- -
    |  t*t x (tiles, C)      |  @   | (C,k) | (C,k) | (C,k) |       y or dx
    +------------------------+      +-------+-------+-------+- -
"""

from __future__ import annotations

from functools import partial

import numpy as np

from nnmed.backend.threads import chunks, parallel_for
from nnmed.kernels.conv.winograd_tiles import Tiles, matrix_scratch, multiply, transform
from nnmed.kernels.elementwise import quietly

# Output channels of a slice, and of a layer that is worth cutting: the threads share its slices.
SLICE, LEAST_OUTPUTS = 32, 128
# Numbers of transformed tiles that are shared: 8 MiB.
SHARED = 1 << 21
# A block has at least so many tiles.
MIN_TILES = 8


def correlate(form, x, weight, bias, y, before, turned: bool):
    """Do :func:`nnmed.kernels.conv.winograd.correlate` in `form`."""
    outputs, channels, t2 = y.shape[3], x.shape[3], form.t**2
    tiles = Tiles(form, y.shape, before)
    back = form.output if bias is None else form.output_and_bias
    slices = chunks(outputs, SLICE)

    def do(blocks, spans, count):
        inputs = _shared(tiles.inputs, x, blocks, spans, channels, form.input, "shared inputs")
        inputs = inputs.reshape(t2, count, channels)

        def task(index):
            part = slice(*slices[index])
            width = part.stop - part.start
            filters = _filters(form, weight, part, turned)
            products = matrix_scratch("gathered", back.shape[1], count * width, x.dtype)
            by_tile = products.reshape(len(products), count, width)
            multiply(inputs, filters, by_tile[:t2])
            if bias is not None:
                by_tile[t2] = bias[part]
            result = matrix_scratch("transformed", form.m**2, count * width, x.dtype)
            transform(back, products, result)
            for block, (start, stop) in zip(blocks, spans):
                tiles.put(result[:, start * width : stop * width], y[..., part], block)

        parallel_for(partial(quietly, task), len(slices))

    for group in _groups(tiles, channels, channels):
        do(*group)


def weight_grad(form, dy, x, before):
    """Do :func:`nnmed.kernels.conv.winograd.weight_grad` in `form`."""
    outputs, channels, t2 = dy.shape[3], x.shape[3], form.t**2
    tiles = Tiles(form, dy.shape, before)
    dweight = np.empty((outputs, channels, 9), x.dtype)
    slices = chunks(outputs, SLICE)

    def add(blocks, spans, count, is_first):
        inputs = _shared(tiles.inputs, x, blocks, spans, channels, form.input, "shared inputs")
        gradients = _shared(
            tiles.gradients, dy, blocks, spans, outputs, form.spread, "shared gradients"
        )
        inputs = inputs.reshape(t2, count, channels)
        gradients = gradients.reshape(t2, count, outputs).swapaxes(1, 2)

        def task(index):
            part = slice(*slices[index])
            size = (part.stop - part.start) * channels
            sums = matrix_scratch("sums", t2, size, x.dtype)
            np.matmul(gradients[:, part], inputs, out=sums.reshape(t2, -1, channels))
            taps = matrix_scratch("taps", 9, size, x.dtype)
            transform(form.weight.T, sums, taps)
            taps = taps.reshape(9, -1, channels).transpose(1, 2, 0)
            if is_first:
                np.copyto(dweight[part], taps)
            else:
                dweight[part] += taps

        parallel_for(partial(quietly, task), len(slices))

    for turn, group in enumerate(_groups(tiles, max(channels, outputs), channels + outputs)):
        add(*group, is_first=turn == 0)
    return dweight.reshape(outputs, channels, 3, 3)


def _groups(tiles, channels: int, numbers: int):
    """Yield groups of blocks whose tiles, of `numbers` in each position, may be shared.

    A block is transformed by a thread, up to `channels` at once. A group is (blocks, where each
    one's tiles start and stop, tiles).
    """
    most = max(1, SHARED // (tiles.positions * numbers))
    blocks, spans, count = [], [], 0
    for block in tiles.blocks(channels, tiles.positions, min(MIN_TILES, most)):
        size = tiles.count(block)
        if blocks and count + size > most:
            yield blocks, spans, count
            blocks, spans, count = [], [], 0
        blocks.append(block)
        spans.append((count, count + size))
        count += size
    if blocks:
        yield blocks, spans, count


def _shared(read, source, blocks, spans, channels: int, matrix, name: str):
    """Return ``matrix @`` the tiles of `blocks`, read from `source`: a view of scratch."""
    result = matrix_scratch(name, len(matrix), spans[-1][1] * channels, source.dtype)

    def task(index):
        start, stop = spans[index]
        read(source, blocks[index], matrix, out=result[:, start * channels : stop * channels])

    parallel_for(partial(quietly, task), len(blocks))
    return result


def _filters(form, weight, part, turned: bool):
    """Return the transformed filters of a slice of outputs, (t*t, C, k), a view of scratch."""
    piece = weight[:, part] if turned else weight[part]
    size = piece.size // 9
    # A copy with a gap between its rows, which may lie a power of two apart in the weight.
    rows = matrix_scratch("rows", len(piece), size * 9 // len(piece), weight.dtype)
    rows = rows.reshape(*piece.shape[:2], 9)
    np.copyto(rows, piece.reshape(rows.shape))
    by_tap = rows.transpose(2, 0, 1) if turned else rows.transpose(2, 1, 0)
    taps = matrix_scratch("taps", 9, size, weight.dtype)
    np.copyto(taps.reshape(by_tap.shape), by_tap)
    result = matrix_scratch("filters", form.t**2, size, weight.dtype)
    transform(form.turned_weight if turned else form.weight, taps, result)
    return result.reshape(form.t**2, *by_tap.shape[1:])
