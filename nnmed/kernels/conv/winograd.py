r"""3x3 convolution at stride 1 with fewer multiplications, after Winograd.

**One dimension.** Two neighbouring outputs of a filter g with three taps read four inputs d::

    y0 = d0 g0 + d1 g1 + d2 g2       Six multiplications. Winograd needs four:
    y1 = d1 g0 + d2 g1 + d3 g2
                                     p0 =  (d0 - d2)     g0
         y0 = p0 + p1 + p2           p1 = ((d1 + d2)/2) (g0 + g1 + g2)
         y1 = p1 - p2 + p3           p2 = ((d2 - d1)/2) (g0 - g1 + g2)
                                     p3 =  (d3 - d1)     g2

In matrices y = A^T [(G g) * (B^T d)], where * multiplies element by element: B^T makes the
first factors of the four products, G the second. F(m, 3) yields m outputs from t = m + 2
multiplications instead of 3 m; toom_cook.py derives and shows its matrices.

**Two dimensions.** Rows and columns alike: Y = A^T [(G g G^T) * (B^T d B)] A. A tile of t x t
inputs yields m x m outputs, and neighbouring tiles overlap by two::

    +-----------+----+     F(4x4, 3x3): 6x6 inputs, 36 products for 16 outputs,
    |           |    |                  for which reference.py takes 144
    |   4 x 4   |    |
    |           |    |     F(2x2, 3x3): 4x4 inputs, 16 products for 4 outputs,
    +-----------+    |                  for which reference.py takes 36
    |          6 x 6 |
    +----------------+

Summed over the input channels, the element-wise products of many tiles are t*t products of
matrices, one for each position in the tile: (tiles, C) @ (C, O). With a tile a column of t*t
numbers, the transforms are products with one small matrix. So BLAS does all the arithmetic.

**Gradients.** With respect to x, a convolution with the turned filter. With respect to the
filter, the transpose of the formula, where dY are the outputs' gradients of a tile::

    dg = G^T [sum over tiles of (A dY A^T) * (B^T d B)] G

**Error.** The transforms mix numbers of different size, so float32 loses more than in the
direct form. Largest error in standard deviations of the result, for normal random numbers and
64 / 256 channels (``python -m benchmarks gradients`` measures such)::

                       y and dx         dweight
    direct           2e-6 / 3e-6      1e-6 / 3e-6
    F(2x2)           2e-6 / 4e-6      2e-6 / 2e-6      With the textbook's points 0, 1, -1, 2, -2
    F(4x4)           1e-5 / 2e-5      6e-6 / 8e-6      F(4x4) errs three to five times as much.

A tile shares its numbers, so an output's error is relative to the largest input of its tile:
one pixel of 1000 among pixels of 0.001 spoils its neighbours' outputs (of 64 channels: error
0.1 standard deviations of theirs, direct 2e-6). In the same way a NaN or an infinity makes NaN
of all outputs of the tiles that read it, and inputs that come near the largest float32 (1e38)
overflow. float64 always takes the direct form, as do all layers with
``nnmed.use_kernels(conv="im2col")``.

**Memory.** The transformed filters take t*t / 9 times the memory of the weights, the sums of the
weight gradient twice that, or more up to 10 MiB. To that each thread adds a few matrices of a
block of tiles: a megabyte each, but at least some tiles of all channels and one row of tiles,
so a very wide image takes more. Where the filters are many and transformed a slice at a time
(winograd_large.py), each thread has those of a slice, 9 KiB for each channel with their copies,
and all share the transformed tiles: 8 MiB, or one row of them.

Source: Lavin and Gray, "Fast algorithms for convolutional neural networks", 2016, section 4.
On the choice of points: Barabasz et al., "Error analysis and improving the accuracy of
Winograd convolution for deep neural networks", 2020.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from nnmed.backend.arrays import as_channels_last, empty_channels_last, nhwc
from nnmed.backend.threads import chunks, parallel_for
from nnmed.kernels.conv import im2col, volume, winograd_large
from nnmed.kernels.conv.blocks import scratch
from nnmed.kernels.conv.toom_cook import Form
from nnmed.kernels.conv.winograd_tiles import Tiles, matrix_scratch, multiply, transform
from nnmed.kernels.elementwise import quietly

FORMS = Form([0, 1, -1]), Form([0, 2 / 3, -2 / 3, 3 / 2, -3 / 2])

# A block has at least so many tiles, to be worth reading the weights for.
MIN_TILES, MIN_SUMMED_TILES = 16, 64
# From so many filters on, the transformed ones, or the sums of their gradient, which threads
# have several of, no longer fit the cache.
LARGE, LARGE_SUMS = 1 << 16, 1 << 14
# Moving a number to or from a tile takes as long as so many multiplications.
COPY = 7
# Transforming the weights costs as much as the products of so many tiles.
WEIGHT_TILES = 25
# The sums of the weight gradient: at most so many copies, and bytes, but two.
MAX_SUMS, SUM_BYTES = 16, 10 << 20
# Numbers of a product that is added to them: it stays in the cache until it is added.
PRODUCT_NUMBERS = 1 << 18


def conv2d(x, weight, bias, stride, padding, dilation, groups):
    """Return the convolution (strictly, the correlation) of `x` with `weight`."""
    if not applies(x.dtype, weight.shape[2:], stride, padding, dilation, groups):
        return im2col.conv2d(x, weight, bias, stride, padding, dilation, groups)
    size = [x.shape[axis + 2] + sum(padding[axis]) - 2 for axis in (0, 1)]
    y = empty_channels_last((x.shape[0], weight.shape[0], *size), x.dtype)
    before = padding[0][0], padding[1][0]
    correlate(nhwc(as_channels_last(x)), weight, bias, nhwc(y), before)
    return y


def conv2d_input_grad(dy, weight, input_size, stride, padding, dilation, groups):
    """Return dx (N, C, H, W) for `input_size` (H, W): dy convolved with the turned filter."""
    if not applies(dy.dtype, weight.shape[2:], stride, padding, dilation, groups):
        return im2col.conv2d_input_grad(
            dy, weight, input_size, stride, padding, dilation, groups
        )  # fmt: skip
    dx = empty_channels_last((dy.shape[0], weight.shape[1], *input_size), dy.dtype)
    before = 2 - padding[0][0], 2 - padding[1][0]
    correlate(nhwc(as_channels_last(dy)), weight, None, nhwc(dx), before, turned=True)
    return dx


def conv2d_weight_grad(dy, x, kernel_size, stride, padding, dilation, groups):
    """Return dweight (O, C, 3, 3): the sum of ``dy * window`` over all windows."""
    if not dy.size or not applies(x.dtype, kernel_size, stride, padding, dilation, groups):
        return im2col.conv2d_weight_grad(
            dy, x, kernel_size, stride, padding, dilation, groups
        )  # fmt: skip
    before = padding[0][0], padding[1][0]
    return weight_grad(nhwc(as_channels_last(dy)), nhwc(as_channels_last(x)), before)


conv3d = partial(volume.conv3d, conv2d)
conv3d_input_grad = partial(volume.conv3d_input_grad, conv2d_input_grad)
conv3d_weight_grad = partial(volume.conv3d_weight_grad, conv2d_weight_grad)


def applies(dtype, kernel, stride, padding, dilation, groups) -> bool:
    """Tell whether this form can do a convolution.

    With more padding, or less, some pixels would count for nothing: those that are cropped, or
    whose windows see zeros only. But a tile could read them, and spread a NaN.
    """
    arguments = tuple(kernel), tuple(stride), tuple(dilation), groups
    ends = [end for axis in padding for end in axis]
    is_plain = arguments == ((3, 3), (1, 1), (1, 1), 1) and min(ends) >= 0 and max(ends) <= 2
    return dtype == np.float32 and is_plain


def pays(shape, channels: int, outputs: int) -> bool:
    """Tell whether it is faster than the direct form, for an (N, H, W) output."""
    form = cheapest(shape, channels, outputs)
    return cost(form, shape, channels, outputs) < 9 * math.prod(shape) * channels * outputs


def cheapest(shape, channels: int, outputs: int) -> Form:
    """Return the form that takes the least time: small maps waste part of large tiles."""
    return min(FORMS, key=lambda form: cost(form, shape, channels, outputs))


def cost(form: Form, shape, channels: int, outputs: int) -> float:
    """Return the time of a form, in multiplications as fast as BLAS does them."""
    (n, h, w), t2 = shape, form.t**2
    tiles = n * -(-h // form.m) * -(-w // form.m)
    transforms = t2 * t2 * channels + form.m**2 * t2 * outputs
    copies = COPY * t2 * (channels + outputs)
    return tiles * (transforms + copies) + (tiles + WEIGHT_TILES) * t2 * channels * outputs


def correlate(x, weight, bias, y, before, turned: bool = False):
    """Set `y` (N, H, W, O) to `x` (N, H', W', C) convolved with `weight`.

    `weight` is (O, C, 3, 3), or (C, O, 3, 3) and then `turned` by 180 degrees. Output (i, j)
    sees the inputs from (i - before[0], j - before[1]) on.
    """
    n, h, w, outputs = y.shape
    channels = x.shape[3]
    form = cheapest((n, h, w), channels, outputs)
    m, t2 = form.m, form.t**2
    if channels * outputs >= LARGE and outputs >= winograd_large.LEAST_OUTPUTS:
        winograd_large.correlate(form, x, weight, bias, y, before, turned)
        return
    filters = transform_weight(form, weight, turned)
    tiles = Tiles(form, y.shape, before)
    blocks = tiles.blocks(channels, outputs, MIN_TILES)
    back = form.output if bias is None else form.output_and_bias

    def task(index):
        block = blocks[index]
        inputs = tiles.inputs(x, block, form.input)
        count = tiles.count(block)
        products = matrix_scratch("gathered", back.shape[1], count * outputs, x.dtype)
        by_tile = products.reshape(len(products), count, outputs)
        multiply(inputs.reshape(t2, count, channels), filters, by_tile[:t2])
        if bias is not None:
            by_tile[t2] = bias
        result = matrix_scratch("transformed", m * m, count * outputs, x.dtype)
        transform(back, products, result)
        tiles.put(result, y, block)

    parallel_for(partial(quietly, task), len(blocks))


def weight_grad(dy, x, before):
    """Return dweight (O, C, 3, 3) for `dy` (N, H, W, O) and `x` (N, H', W', C).

    A fixed number of sums is taken, each over blocks of its own, and they are added in order.
    So the result does not depend on the number of threads.
    """
    (n, h, w, outputs), channels = dy.shape, x.shape[3]
    form = cheapest((n, h, w), channels, outputs)
    t2, size = form.t**2, channels * outputs
    if size >= LARGE_SUMS and outputs >= winograd_large.LEAST_OUTPUTS:
        return winograd_large.weight_grad(form, dy, x, before)
    tiles = Tiles(form, dy.shape, before)
    blocks = tiles.blocks(channels, outputs, MIN_SUMMED_TILES)
    count = min(len(blocks), MAX_SUMS, max(2, SUM_BYTES // (x.itemsize * t2 * size)))
    sums = scratch("filters", (count, t2, outputs, channels), x.dtype)

    def task(index):
        for turn, block in enumerate(blocks[index::count]):
            left = tiles.gradients(dy, block, form.spread)
            right = tiles.inputs(x, block, form.input)
            left = left.reshape(t2, -1, outputs).swapaxes(1, 2)
            right = right.reshape(t2, -1, channels)
            if turn == 0:
                np.matmul(left, right, out=sums[index])
            else:
                add_products(left, right, sums[index])

    parallel_for(partial(quietly, task), count)
    return transform_sums(form, sums)


def transform_weight(form: Form, weight, turned: bool):
    """Return the transformed filters, (t*t, C, O), a view of scratch."""
    outer, inner = weight.shape[:2]
    flat = weight.reshape(outer, inner, 9)
    if turned:  # (C, O, 9) already
        matrix, source = form.turned_weight, flat.swapaxes(1, 2)
    else:
        matrix, source = form.weight, flat.transpose(1, 2, 0)
    shape = len(matrix), len(source), source.shape[2]
    result = matrix_scratch("filters", len(matrix), shape[1] * shape[2], weight.dtype)
    result = result.reshape(shape)
    target = result.swapaxes(0, 1)
    pieces = chunks(len(source), max(1, PRODUCT_NUMBERS // (len(matrix) * source.shape[2])))

    def task(index):
        piece = slice(*pieces[index])
        np.matmul(matrix, source[piece], out=target[piece])

    parallel_for(partial(quietly, task), len(pieces))
    return result


def transform_sums(form: Form, sums):
    """Return dweight (O, C, 3, 3), the transformed sum of `sums` (count, t*t, O, C)."""
    outputs, channels = sums.shape[2:]
    dweight = np.empty((outputs, channels, 9), sums.dtype)
    pieces = chunks(outputs, max(1, PRODUCT_NUMBERS // (form.t**2 * channels)))

    def task(index):
        piece = slice(*pieces[index])
        total = sums[0, :, piece]
        for other in sums[1:, :, piece]:
            total += other
        np.matmul(total.transpose(1, 2, 0), form.weight, out=dweight[piece])

    parallel_for(partial(quietly, task), len(pieces))
    return dweight.reshape(outputs, channels, 3, 3)


def add_products(left, right, out):
    """Add ``left[k] @ right[k]`` to ``out[k]`` for each position k."""
    each = max(1, PRODUCT_NUMBERS // (out.shape[1] * out.shape[2]))
    for start, stop in chunks(len(out), each):
        product = scratch("product", (stop - start, *out.shape[1:]), out.dtype)
        np.matmul(left[start:stop], right[start:stop], out=product)
        out[start:stop] += product
