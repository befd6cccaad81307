"""Sampling pictures and volumes at given places, and grids of places.

A sample is a weighted sum over a few pixels around its place. As convolution, it is linear in
two arguments, the picture and the weights; its three partial derivatives are the ops here::

    S(dy, x, w) = sum over n,c,p,k of  dy[n,c,p] * w[k,n,p] * x[n,c, r[k,n,p]]

    sample        y[n,c,p]      = dS/d dy      function of x and w
    input grad    dx[n,c,q]     = dS/d x       function of dy and w
    weight grad   dw[k,n,p]     = dS/d w       function of dy and x

r[k,n,p] is the k-th pixel that sample p of picture n reads; outside the picture, x counts as
0. The weights are polynomials of the place, made of element-wise ops, so the grid has
derivatives of any order as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from nnmed import kernels
from nnmed.autograd import Notation, Op, Tensor, made_when_read
from nnmed.backend.arrays import array_module, to_device
from nnmed.errors import ShapeError, UsageError
from nnmed.ops.arguments import as_tensor, check_same_dtype, is_checked, sequence
from nnmed.ops.linalg import matmul
from nnmed.ops.selection import where
from nnmed.ops.shape import permute, reshape, stack, transpose

_MODES = ("bilinear", "nearest", "bicubic")
_PADDING_MODES = ("zeros", "border", "reflection")
# Grids are held within this: beyond, float32 does not tell pixels apart.
_FAR = 2.0**20
_DY = r"\frac{\partial L}{\partial y_{ncp}}"


class Sample(Op):
    """Weighted sums of the pixels at given places.

    y[n,c,p] = sum over k of w[k,n,p] * x[n,c, r[k,n,p]]
    dx[n,c,q] = sum of dy[n,c,p] * w[k,n,p] over all (k,p) with r[k,n,p] = q
    dw[k,n,p] = sum over c of dy[n,c,p] * x[n,c, r[k,n,p]]
    """

    forward_latex = r"y_{ncp} = \sum_k w_{knp}\, x_{nc,\,r_{knp}}"
    backward_latex = {
        "x": r"\frac{\partial L}{\partial x_{ncq}} = "
        r"\sum_{k,p:\,r_{knp}=q} " + _DY + r"\, w_{knp}",
        "weight": r"\frac{\partial L}{\partial w_{knp}} = \sum_c " + _DY + r"\, x_{nc,\,r_{knp}}",
    }

    def __init__(self, index):
        self.index = index

    def notation(self):
        return Notation({"r": made_when_read(lambda: to_device(self.index, "cpu"))})

    def forward(self, x, weight):
        self.keep(inputs=[i for i in (0, 1) if self.needs[1 - i]])
        return kernels.select("resample", x, weight).sample(x, self.index, weight)

    def backward(self, dy):
        x, weight = self.inputs
        size = self.input_shapes[0][2]
        dx = SampleInputGrad(self.index, size)(dy, weight) if self.needs[0] else None
        return dx, SampleWeightGrad(self.index)(dy, x) if self.needs[1] else None

    def flops(self, inputs, output):
        return 2 * math.prod(output) * inputs[1][0]


class SampleInputGrad(Op):
    """The gradient of sampling with respect to the picture, as an op of its own.

    y[n,c,q] = sum of x[n,c,p] * w[k,n,p] over all (k,p) with r[k,n,p] = q
    dx[n,c,p] = sum over k of w[k,n,p] * dy[n,c, r[k,n,p]]
    dw[k,n,p] = sum over c of x[n,c,p] * dy[n,c, r[k,n,p]]
    """

    forward_latex = r"y_{ncq} = \sum_{k,p:\,r_{knp}=q} x_{ncp}\, w_{knp}"
    backward_latex = {
        "x": r"\frac{\partial L}{\partial x_{ncp}} = "
        r"\sum_k w_{knp}\, \frac{\partial L}{\partial y_{nc,\,r_{knp}}}",
        "weight": r"\frac{\partial L}{\partial w_{knp}} = "
        r"\sum_c x_{ncp}\, \frac{\partial L}{\partial y_{nc,\,r_{knp}}}",
    }

    def __init__(self, index, size):
        self.index, self.size = index, size

    def notation(self):
        return Notation({"r": made_when_read(lambda: to_device(self.index, "cpu"))})

    def forward(self, x, weight):
        self.keep(inputs=[i for i in (0, 1) if self.needs[1 - i]])
        kernel = kernels.select("resample", x, weight)
        return kernel.sample_input_grad(x, self.index, weight, self.size)

    def backward(self, dy):
        x, weight = self.inputs
        dx = Sample(self.index)(dy, weight) if self.needs[0] else None
        return dx, SampleWeightGrad(self.index)(x, dy) if self.needs[1] else None

    def flops(self, inputs, output):
        return 2 * math.prod(inputs[0]) * inputs[1][0]


class SampleWeightGrad(Op):
    """The gradient of sampling with respect to the weights, as an op of its own.

    w[k,n,p] = sum over c of y[n,c,p] * x[n,c, r[k,n,p]]
    dy[n,c,p] = sum over k of dw[k,n,p] * x[n,c, r[k,n,p]]
    dx[n,c,q] = sum of y[n,c,p] * dw[k,n,p] over all (k,p) with r[k,n,p] = q

    y stands for the gradient of the samples; dw is the gradient that flows in.
    """

    forward_latex = r"w_{knp} = \sum_c y_{ncp}\, x_{nc,\,r_{knp}}"
    backward_latex = {
        "y": _DY + r" = \sum_k \frac{\partial L}{\partial w_{knp}}\, x_{nc,\,r_{knp}}",
        "x": r"\frac{\partial L}{\partial x_{ncq}} = "
        r"\sum_{k,p:\,r_{knp}=q} y_{ncp}\, \frac{\partial L}{\partial w_{knp}}",
    }

    def __init__(self, index):
        self.index = index

    def notation(self):
        return Notation({"r": made_when_read(lambda: to_device(self.index, "cpu"))})

    def forward(self, y, x):
        self.keep(inputs=[i for i in (0, 1) if self.needs[1 - i]])
        return kernels.select("resample", y, x).sample_weight_grad(y, x, self.index)

    def backward(self, dw):
        y, x = self.inputs
        dy = Sample(self.index)(x, dw) if self.needs[0] else None
        if not self.needs[1]:
            return dy, None
        return dy, SampleInputGrad(self.index, self.input_shapes[1][2])(y, dw)

    def flops(self, inputs, output):
        return 2 * math.prod(inputs[0]) * output[0]


def grid_sample(input, grid, mode="bilinear", padding_mode="zeros", align_corners=None) -> Tensor:
    """Return pictures or volumes sampled at the places of `grid`.

    Parameters
    ----------
    input : Tensor
        ``(N, C, H, W)`` or ``(N, C, D, H, W)``.
    grid : Tensor
        ``(N, H', W', 2)`` or ``(N, D', H', W', 3)``: the place of each sample as x (along W),
        y and z. -1 and 1 are the two ends of the picture; NaN counts as -1.
    mode : str
        ``"bilinear"`` (of volumes, trilinear), ``"nearest"``, or, of pictures, ``"bicubic"``
        (cubic convolution with a = -0.75).
    padding_mode : str
        What lies outside: ``"zeros"``, the nearest edge pixel (``"border"``), or the picture
        mirrored (``"reflection"``).
    align_corners : bool, optional
        Whether -1 and 1 are the centres of the corner pixels, instead of their outer edges.

    Returns
    -------
    Tensor
        ``(N, C, H', W')`` or ``(N, C, D', H', W')``. The gradient with respect to the grid is
        0 with mode "nearest", and where the border holds a place.

    Raises
    ------
    ShapeError
        If the shapes do not fit together.
    UsageError
        If a mode is unknown.
    """
    x, grid = as_tensor(input), as_tensor(grid)
    check_same_dtype("grid_sample", input=x, grid=grid)
    dims = x.ndim - 2
    if (
        dims not in (2, 3)
        or grid.ndim != x.ndim
        or grid.shape[-1] != dims
        or grid.shape[0] != x.shape[0]
        or 0 in x.shape[1:]
    ):
        raise ShapeError(
            "grid_sample: expected input (N, C, H, W) and grid (N, H', W', 2), or input "
            "(N, C, D, H, W) and grid (N, D', H', W', 3), no length of input but N being 0; "
            f"got input {x.shape}, grid {grid.shape}"
        )
    if mode not in _MODES or padding_mode not in _PADDING_MODES or (mode, dims) == ("bicubic", 3):
        raise UsageError(
            f"grid_sample: mode must be one of {', '.join(_MODES)} ('bicubic' for pictures only) "
            f"and padding_mode one of {', '.join(_PADDING_MODES)}; got {mode!r}, {padding_mode!r}"
        )
    n, c, *sizes = x.shape
    places = reshape(grid, (n, math.prod(grid.shape[1:-1]), dims))
    edge = _Edge(padding_mode, bool(align_corners))
    index, weight = _taps(permute(places, 2, 0, 1), sizes[::-1], mode, edge)
    y = Sample(index)(reshape(x, (n, c, math.prod(sizes))), weight)
    return reshape(y, (n, c, *grid.shape[1:-1]))


class _Edge(NamedTuple):
    """What lies beyond the edges of a picture."""

    padding_mode: str
    align_corners: bool

    def fold(self, position, size):
        """Return (slope, shift) of the map ``position * slope + shift`` into the picture."""
        slope, shift = np.ones_like(position), np.zeros_like(position)
        if self.padding_mode == "reflection":
            low = 0.0 if self.align_corners else -0.5
            span = size - 1 - 2 * low
            flips = np.floor((position - low) / span) if span else np.zeros_like(position)
            odd = flips % 2 == 1
            slope = np.where(odd, -1, slope)
            shift = np.where(odd, 2 * low + (flips + 1) * span, -flips * span)
            position = position * slope + shift
        below, above = position <= 0, position >= size - 1
        slope = np.where(below | above, 0, slope)
        return slope, np.where(below, 0, np.where(above, size - 1, shift))


def _taps(grid, sizes, mode, edge):
    """Return which pixels the samples read, and with what weights.

    Parameters
    ----------
    grid : Tensor, (axes, N, P)
    sizes : sequence of int
        Lengths of the axes in the order of the grid: width first.

    Returns
    -------
    index : array of int, (K, N, P)
        Positions in the flattened picture, negative outside.
    weight : Tensor, (K, N, P)
    """
    position = _positions(grid, sizes, edge.align_corners)
    if edge.padding_mode != "zeros" and mode != "bicubic":
        folds = [edge.fold(line, size) for line, size in zip(position._array, sizes)]
        slope, shift = (np.stack(parts).astype(position.dtype) for parts in zip(*folds))
        position = position * Tensor._wrap(slope) + Tensor._wrap(shift)
    first, weights = _WEIGHTS[mode](position)
    xp, taps, size = array_module(grid._array), len(weights), math.prod(sizes)
    index, weight, stride = None, None, 1
    for axis, length in enumerate(sizes):
        pixels = first[axis] + xp.arange(taps, dtype=first.dtype).reshape(-1, 1, 1)
        if edge.padding_mode != "zeros" and mode == "bicubic":
            slope, shift = edge.fold(pixels, length)
            pixels = pixels * slope + shift
        pixels = pixels.astype(np.intp)
        outside = pixels.view(np.uintp) >= length  # as unsigned numbers, negative ones are huge
        steps = np.where(outside, -size, pixels * stride)  # negative, whatever is added to it
        stride *= length
        if index is None:
            index, weight = steps, weights[:, axis]
        else:  # every tap so far with every tap along this axis
            shape = (taps * len(index), *index.shape[1:])
            index = (index + steps[:, None]).reshape(shape)
            factor = reshape(weights[:, axis], (taps, 1, *shape[1:]))
            weight = reshape(weight * factor, shape)
    return index, weight


def _positions(grid, sizes, align_corners) -> Tensor:
    """Return the grid in pixels, with 0 the centre of the first one."""
    array = grid._array
    known = np.abs(array) <= _FAR  # False for NaN
    if not (is_checked(known) and known.all()):
        limits = np.where(np.isnan(array), -1, np.sign(array) * _FAR)
        grid = where(Tensor._wrap(known), grid, Tensor._wrap(limits.astype(array.dtype)))
    lengths = np.array(sizes, array.dtype).reshape(-1, 1, 1)
    if align_corners:
        return (grid + 1) * _beside(grid, (lengths - 1) / 2)
    return (grid + 1) * _beside(grid, lengths / 2) - 0.5


def _beside(tensor: Tensor, array) -> Tensor:
    """Return a constant of a few numbers as a tensor on the device of another."""
    return Tensor._wrap(to_device(array, tensor.device))


def _nearest(position):
    """Return the nearest pixels, and a weight of 1 that depends on the position by name only."""
    return np.rint(position._array), stack([position * 0 + 1])


def _linear(position):
    """Return the pixels before the positions, and the weights of those and the next ones."""
    first = np.floor(position._array)
    share = position - Tensor._wrap(first)
    return first, stack([1 - share, share])


def _cubic(position):
    """Return the pixels one before those before the positions, and the weights of four.

    Keys, "Cubic convolution interpolation", 1981, equation 4 with a = -0.75.
    """
    first = np.floor(position._array)
    share, a = position - Tensor._wrap(first), -0.75

    def near(t):
        return ((a + 2) * t - (a + 3)) * t * t + 1

    def far(t):
        return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a

    return first - 1, stack([far(share + 1), near(share), near(1 - share), far(2 - share)])


_WEIGHTS: dict[str, Callable] = {"nearest": _nearest, "bilinear": _linear, "bicubic": _cubic}


def affine_grid(theta, size, align_corners=None) -> Tensor:
    """Return the grid for :func:`grid_sample` that maps pictures by affine matrices.

    Parameters
    ----------
    theta : Tensor, (N, 2, 3) or (N, 3, 4)
        From the places (x, y, 1) or (x, y, z, 1) of the result to those of the input.
    size : sequence of int
        Shape of the result of sampling: ``(N, C, H, W)`` or ``(N, C, D, H, W)``.
    align_corners : bool, optional
        As for :func:`grid_sample`.

    Returns
    -------
    Tensor
        ``(N, H, W, 2)`` or ``(N, D, H, W, 3)``.
    """
    theta, size = as_tensor(theta), tuple(sequence("affine_grid: size", size))
    check_same_dtype("affine_grid", theta=theta)
    dims = len(size) - 2
    if dims not in (2, 3) or not all(isinstance(n, (int, np.integer)) and n > 0 for n in size):
        raise ShapeError(
            f"affine_grid: size must be (N, C, H, W) or (N, C, D, H, W), none 0, got {size}"
        )
    if theta.shape != (size[0], dims, dims + 1):
        raise ShapeError(
            f"affine_grid: theta must be {(size[0], dims, dims + 1)} for size {size}, "
            f"got {theta.shape}"
        )
    lines = [_line(n, align_corners, theta.dtype) for n in size[2:]]
    axes = np.meshgrid(*lines, indexing="ij")[::-1]
    places = np.stack([*axes, np.ones_like(axes[0])], axis=-1).reshape(-1, dims + 1)
    places = _beside(theta, places)
    return reshape(matmul(places, transpose(theta, 1, 2)), (size[0], *size[2:], dims))


def _line(length, align_corners, dtype):
    """Return the places of `length` pixels along an axis between -1 and 1."""
    if length == 1:
        return np.zeros(1, dtype)
    line = np.linspace(-1, 1, length)
    return (line if align_corners else line * (length - 1) / length).astype(dtype)
