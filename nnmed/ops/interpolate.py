"""Resizing pictures."""

from __future__ import annotations

import math

import numpy as np

from nnmed import kernels
from nnmed.autograd import Op, Tensor
from nnmed.errors import ShapeError, UsageError
from nnmed.kernels.resample.taps import linear_taps, nearest_taps, triangle_taps
from nnmed.ops.arguments import as_tensor, check_same_dtype
from nnmed.ops.shape import reshape

_MODES = ("nearest", "nearest-exact", "bilinear")


class Interpolate(Op):
    """Resize by weighted sums of neighbours, separately along rows and columns.

    y[n,c,i,j] = sum over s,t of a[i,s] b[j,t] x[n,c, r[i,s], q[j,t]]
    dx[n,c,k,l] = sum of a[i,s] b[j,t] dy[n,c,i,j] over all (i,s), (j,t) with r[i,s]=k, q[j,t]=l

    Nearest: one neighbour, r[i] = floor(i * scale). Bilinear: the two on either side of the
    position (i + 1/2) * scale - 1/2, or i * scale with align_corners, weighted by nearness.
    """

    forward_latex = r"y_{ncij} = \sum_{s,t} a_{is} b_{jt}\, x_{nc,\,r_{is},\,q_{jt}}"
    backward_latex = {
        "x": r"\frac{\partial L}{\partial x_{nckl}} = \sum_{i,s:\,r_{is}=k}\ "
        r"\sum_{j,t:\,q_{jt}=l} a_{is} b_{jt} \frac{\partial L}{\partial y_{ncij}}"
    }

    def __init__(self, row_taps, column_taps):
        self.taps = row_taps, column_taps

    def forward(self, x):
        return kernels.select("resample", x).interpolate(x, *self.taps)

    def backward(self, dy):
        return InterpolateInputGrad(*self.taps, self.input_shapes[0][2:])(dy)

    def flops(self, inputs, output):
        (_, a), (_, b) = self.taps
        return 2 * int(np.prod(output, dtype=np.int64)) * a.shape[1] * b.shape[1]


class InterpolateInputGrad(Op):
    """The gradient of interpolate, as an op of its own: the transposed linear map.

    y[n,c,k,l] = sum of a[i,s] b[j,t] x[n,c,i,j] over all (i,s), (j,t) with r[i,s]=k, q[j,t]=l
    dx = interpolation of dy
    """

    forward_latex = (
        r"y_{nckl} = \sum_{i,s:\,r_{is}=k}\ \sum_{j,t:\,q_{jt}=l} a_{is} b_{jt}\, x_{ncij}"
    )
    backward_latex = {
        "x": r"\frac{\partial L}{\partial x_{ncij}} = \sum_{s,t} a_{is} b_{jt}\, "
        r"\frac{\partial L}{\partial y_{nc,\,r_{is},\,q_{jt}}}"
    }

    def __init__(self, row_taps, column_taps, size):
        self.taps, self.size = (row_taps, column_taps), size

    def forward(self, x):
        kernel = kernels.select("resample", x)
        return kernel.interpolate_input_grad(x, *self.taps, self.size)

    def backward(self, dy):
        return Interpolate(*self.taps)(dy)

    def flops(self, inputs, output):
        (_, a), (_, b) = self.taps
        return 2 * int(np.prod(inputs[0], dtype=np.int64)) * a.shape[1] * b.shape[1]


def interpolate(
    input,
    size=None,
    scale_factor=None,
    mode="nearest",
    align_corners=None,
    recompute_scale_factor=None,
    antialias=False,
) -> Tensor:
    """Return pictures resized to `size` or by `scale_factor`.

    Parameters
    ----------
    input : Tensor
        ``(N, C, H, W)``; also ``(N, C, L)`` with the nearest modes.
    size : int or sequence of int, optional
        Rows and columns of the result. Either this or `scale_factor`.
    scale_factor : float or sequence of float, optional
        Result over input; the result has ``floor(length * scale_factor)`` rows or columns.
    mode : str
        ``"nearest"`` (as in older OpenCV), ``"nearest-exact"`` (as in Pillow) or ``"bilinear"``.
    align_corners : bool, optional
        With bilinear: whether the centres of the corner pixels meet, instead of the edges.
    recompute_scale_factor : bool, optional
        Compute positions from the lengths, not from the `scale_factor` given.
    antialias : bool
        With bilinear: where a picture shrinks, average over all pixels that an output pixel
        covers, weighted by nearness, instead of over two.

    Raises
    ------
    ShapeError
        If the input has no rows or columns, or the result would have none.
    UsageError
        If the options contradict each other.
    """
    x = as_tensor(input)
    check_same_dtype("interpolate", input=x)
    _check_mode(mode, align_corners, antialias)
    dims = x.ndim - 2
    if dims not in ((2,) if mode == "bilinear" else (1, 2)) or 0 in x.shape[1:]:
        raise ShapeError(
            f"interpolate: input must be (N, C, H, W), or (N, C, L) with mode 'nearest', none but "
            f"N empty; got {x.shape} with mode {mode!r}"
        )
    sizes, factors = _target(x.shape[2:], size, scale_factor, recompute_scale_factor)
    options = mode, align_corners, antialias, x.dtype
    taps = [
        _taps(n, o, None if _ignores_factor(mode, dims, n, o) else f, *options)
        for n, o, f in zip(x.shape[2:], sizes, factors)
    ]
    if dims == 2:
        return Interpolate(*taps)(x)
    one = nearest_taps(1, 1, 1.0, False, x.dtype)
    y = Interpolate(one, *taps)(reshape(x, (*x.shape[:2], 1, x.shape[2])))
    return reshape(y, (*x.shape[:2], *sizes))


def _is_integer(value) -> bool:
    return isinstance(value, (int, np.integer))


def _check_mode(mode, align_corners, antialias) -> None:
    if mode not in _MODES:
        raise UsageError(f"interpolate: unknown mode {mode!r}: one of {', '.join(_MODES)}")
    if align_corners is not None and mode != "bilinear":
        raise UsageError("interpolate: align_corners can be set with mode 'bilinear' only")
    if antialias and mode != "bilinear":
        raise UsageError("interpolate: antialias can be set with mode 'bilinear' only")


def _target(lengths, size, scale_factor, recompute):
    """Return the lengths of the result, and for each the scale factor to use or None."""
    if (size is None) == (scale_factor is None):
        raise UsageError("interpolate: give either size or scale_factor")
    if size is not None:
        if recompute:
            raise UsageError("interpolate: recompute_scale_factor needs scale_factor, not size")
        sizes = _one_each("size", size, len(lengths))
        if not all(map(_is_integer, sizes)):
            raise UsageError(f"interpolate: size must be integers, got {size!r}")
        factors = (None,) * len(lengths)
    else:
        factors = _one_each("scale_factor", scale_factor, len(lengths))
        sizes = tuple(math.floor(n * factor) for n, factor in zip(lengths, factors))
        if recompute:
            factors = (None,) * len(lengths)
    if min(sizes) < 1:
        raise ShapeError(f"interpolate: cannot resize {lengths} to {sizes}: the result is empty")
    return sizes, factors


def _one_each(name, value, count):
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,) * count
    if len(values) != count:
        raise UsageError(f"interpolate: {name} must be one number or {count}, got {value!r}")
    return values


def _ignores_factor(mode, dims, length, size) -> bool:
    """Tell whether PyTorch computes positions for these lengths without the factor given."""
    if mode == "bilinear":
        return size == length
    return mode == "nearest" and dims == 2 and size in (length, 2 * length)


def _taps(length, size, factor, mode, align_corners, antialias, dtype):
    scale = length / size if factor is None else 1.0 / factor
    if mode != "bilinear":
        return nearest_taps(length, size, scale, mode == "nearest-exact", dtype)
    if align_corners:
        scale = (length - 1) / (size - 1) if size > 1 else 0.0
    if antialias:
        return triangle_taps(length, size, scale, dtype)
    return linear_taps(length, size, scale, bool(align_corners), dtype)
