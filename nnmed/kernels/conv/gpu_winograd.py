"""3x3 convolution at stride 1 with fewer multiplications, on the GPU.

winograd.py explains the method. Here the tiles go through memory: a kernel of winograd.cu
transforms them, gather.cu or weight_grad.cu multiplies, as many products of matrices as a tile
has positions, and another kernel transforms back. Moving the tiles takes the time that the
multiplications save, unless there are some 50 channels or more.
"""

from __future__ import annotations

from math import ceil, prod

from nnmed.backend.arrays import array_module
from nnmed.backend.cuda import Source
from nnmed.kernels.conv import gpu_direct
from nnmed.kernels.conv.winograd import applies

__all__ = ["applies", "correlate", "input_grad", "pays", "weight_grad"]

# Outputs along an edge of a tile, in the two forms that there are.
SIZES = 2, 4
# Moving a number to or from memory takes as long as so many multiplications: 4 bytes at 4 TB/s,
# and 25 tera of them a second, which is what to expect of an H200.
MOVE = 25
# Transformed numbers that are in memory at a time: 128 MiB.
NUMBERS = 1 << 25

_source = Source(__file__, "winograd.cu")


def pays(shape, channels: int, outputs: int) -> bool:
    """Tell whether it is faster than the direct form, for an (N, H, W) result."""
    direct = prod(shape) * (9 * channels * outputs + MOVE * (channels + outputs))
    return min(_cost(m, shape, channels, outputs) for m in SIZES) < direct


def correlate(x, weight, bias, y, stride, padding, dilation, groups):
    """Set `y` to the convolution of `x` with `weight` (O, C, 3, 3)."""
    _correlate(x, weight, bias, y, [before for before, _ in padding], turned=False)


def input_grad(dy, weight, dx, stride, padding, dilation, groups):
    """Set `dx` to the input gradient: dy convolved with the turned weight."""
    _correlate(dy, weight, None, dx, [2 - before for before, _ in padding], turned=True)


def weight_grad(dy, x, dweight, stride, padding, dilation, groups):
    """Set `dweight` to the gradient of the convolution by its weight."""
    before = [before for before, _ in padding]
    tiles, outputs, channels = Tiles(dy, x.shape[1]), dy.shape[1], x.shape[1]
    for first, count in tiles.pieces():
        inputs = tiles.transform("inputs", x, first, count, *before)
        gradients = tiles.transform("gradients", dy, first, count)
        sums = gpu_direct.multiply_transposed(inputs, gradients)
        _source.for_each(
            f"sums_{tiles.m}", x.dtype, channels * outputs, sums, dweight, first > 0, len(sums),
            channels, outputs,
        )  # fmt: skip


class Tiles:
    """The tiles that cover `y` (N, O, H, W), a result or its gradient, of `channels` channels."""

    def __init__(self, y, channels: int):
        n, outputs, *size = y.shape
        self.m = min(SIZES, key=lambda m: _cost(m, (n, *size), channels, outputs))
        self.positions = (self.m + 2) ** 2
        self.lines = tuple([ceil(length / self.m) for length in size])
        self.count = n * prod(self.lines)
        self._most = max(1, NUMBERS // (self.positions * (channels + outputs)))

    def pieces(self):
        """Return (first, count) for pieces of the tiles that fit in memory."""
        starts = range(0, self.count, self._most)
        return [(first, min(self._most, self.count - first)) for first in starts]

    def transform(self, kernel: str, x, first: int, count: int, *before):
        """Return the transformed tiles of `x`, (positions, tiles, channels)."""
        channels, *size = x.shape[1:]
        result = array_module(x).empty((self.positions, count, channels), x.dtype)
        _source.for_each(
            f"{kernel}_{self.m}", x.dtype, count * channels, x, result, *before, first,
            *self.lines, *size, channels,
        )  # fmt: skip
        return result

    def transform_back(self, products, bias, y, first: int):
        """Write the outputs that `products` (positions, tiles, O) make to `y`."""
        _, count, outputs = products.shape
        _source.for_each(
            f"outputs_{self.m}", y.dtype, count * outputs, products, bias, y, first, *self.lines,
            *y.shape[2:], outputs,
        )  # fmt: skip

    def transform_weight(self, weight, channels: int, outputs: int, turned: bool):
        """Return the transformed filters, (positions, C, O)."""
        xp = array_module(weight)
        result = xp.empty((self.positions, channels, outputs), weight.dtype)
        apart = (9 * outputs, 9) if turned else (9, 9 * channels)  # from an input, an output
        _source.for_each(
            f"weight_{self.m}", weight.dtype, channels * outputs, xp.ascontiguousarray(weight),
            result, outputs, *apart, turned,
        )  # fmt: skip
        return result


def _correlate(x, weight, bias, y, before, turned: bool):
    """Set `y` to `x` convolved with `weight`: (O, C, 3, 3), or (C, O, 3, 3) if it is `turned`."""
    tiles, outputs, channels = Tiles(y, x.shape[1]), y.shape[1], x.shape[1]
    filters = tiles.transform_weight(weight, channels, outputs, turned)
    for first, count in tiles.pieces():
        inputs = tiles.transform("inputs", x, first, count, *before)
        products = array_module(x).empty((tiles.positions, count, outputs), x.dtype)
        gpu_direct.multiply(inputs, filters, products)
        tiles.transform_back(products, bias, y, first)


def _cost(m: int, shape, channels: int, outputs: int) -> int:
    """Return the time of F(m x m), in multiplications."""
    (n, h, w), positions = shape, (m + 2) ** 2
    tiles, products = n * ceil(h / m) * ceil(w / m), positions * channels * outputs
    moved = (2 * positions + m * m) * (channels + outputs)
    return tiles * (products + MOVE * moved) + MOVE * products  # the last: the filters
