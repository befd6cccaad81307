"""Resizing signals, pictures and volumes."""

from __future__ import annotations

import math

import numpy as np

from nnmed import kernels
from nnmed.autograd import Notation, Op, Tensor, made_when_read
from nnmed.errors import ShapeError, UsageError
from nnmed.kernels.resample.taps import (
    antialiased_taps,
    area_taps,
    cubic_taps,
    linear_taps,
    nearest_taps,
)
from nnmed.ops.arguments import as_tensor, check_numbers, check_same_dtype

# How many spatial dimensions each mode is for.
_DIMS = {
    "nearest": (1, 2, 3),
    "nearest-exact": (1, 2, 3),
    "area": (1, 2, 3),
    "linear": (1,),
    "bilinear": (2,),
    "bicubic": (2,),
    "trilinear": (3,),
}
_ALIGNED = ("linear", "bilinear", "bicubic", "trilinear")
_ANTIALIASED = ("bilinear", "bicubic")


class Interpolate(Op):
    """Resize by weighted sums of neighbours: a matrix A for rows, B for columns.

    y[n,c,i,j] = sum over k,l of A[i,k] B[j,l] x[n,c,k,l]
    dx[n,c,k,l] = sum over i,j of A[i,k] B[j,l] dy[n,c,i,j]

    The gradient is the same op with the matrices transposed; they are sparse. Signals have
    one matrix, volumes three. Nearest: a 1 in each row. Linear: the two neighbours of the
    position (i + 1/2) * scale - 1/2, or i * scale with align_corners, weighted by nearness.
    Cubic: four. Area: the mean over the pixels that the output covers.
    """

    forward_latex = r"y_{nci} = \sum_k x_{nck} \prod_a A^{(a)}_{i_a k_a}"
    backward_latex = {
        "x": r"\frac{\partial L}{\partial x_{nck}} = "
        r"\sum_i \frac{\partial L}{\partial y_{nci}} \prod_a A^{(a)}_{i_a k_a}"
    }

    def __init__(self, taps):
        self.taps = taps

    def notation(self):
        axes = len(self.taps)
        matrices = [made_when_read(taps.matrix) for taps in self.taps]
        return Notation(
            {"A": lambda axis, i, k: matrices[axis](i, k)},
            ranges={"a": axes},
            positions={"i": axes, "k": axes},
        )

    def forward(self, x):
        return kernels.select("resample", x).interpolate(x, self.taps)

    def backward(self, dy):
        return Interpolate(tuple(t.T for t in self.taps))(dy)

    def flops(self, inputs, output):
        return 2 * math.prod(output) * math.prod(t.most for t in self.taps)


def interpolate(
    input,
    size=None,
    scale_factor=None,
    mode="nearest",
    align_corners=None,
    recompute_scale_factor=None,
    antialias=False,
) -> Tensor:
    """Return signals, pictures or volumes resized to `size` or by `scale_factor`.

    Parameters
    ----------
    input : Tensor
        ``(N, C, L)``, ``(N, C, H, W)`` or ``(N, C, D, H, W)``.
    size : int or sequence of int, optional
        Lengths of the result after N and C. Either this or `scale_factor`.
    scale_factor : float or sequence of float, optional
        Result over input; the result has ``floor(length * scale_factor)`` places.
    mode : str
        ``"nearest"`` (as in older OpenCV), ``"nearest-exact"`` (as in Pillow) or ``"area"``
        (the mean over what an output covers) for all three; ``"linear"`` for signals,
        ``"bilinear"`` or ``"bicubic"`` for pictures, ``"trilinear"`` for volumes.
    align_corners : bool, optional
        With the linear and cubic modes: whether the centres of the corner pixels meet,
        instead of the edges.
    recompute_scale_factor : bool, optional
        Compute positions from the lengths, not from the `scale_factor` given.
    antialias : bool
        With bilinear and bicubic: where a picture shrinks, average over all pixels that an
        output pixel covers, weighted by nearness, instead of over two or four.

    Raises
    ------
    ShapeError
        If the input has no places or no channels, or the result would have none.
    UsageError
        If the options contradict each other.
    """
    x = as_tensor(input)
    check_same_dtype("interpolate", input=x)
    _check_mode(mode, align_corners, antialias)
    if x.ndim - 2 not in _DIMS[mode] or 0 in x.shape[1:]:
        axes = ", ".join(
            ("(N, C, L)", "(N, C, H, W)", "(N, C, D, H, W)")[d - 1] for d in _DIMS[mode]
        )
        raise ShapeError(
            f"interpolate: with mode {mode!r}, input must be {axes}, none but N empty; "
            f"got {x.shape}"
        )
    sizes, factors = _target(x.shape[2:], size, scale_factor, recompute_scale_factor)
    options = mode, align_corners, antialias, x.dtype
    return Interpolate(
        tuple(
            _taps(n, o, None if _ignores_factor(mode, x.ndim - 2, n, o) else f, *options)
            for n, o, f in zip(x.shape[2:], sizes, factors)
        )
    )(x)


def _check_mode(mode, align_corners, antialias) -> None:
    if mode not in list(_DIMS):
        raise UsageError(f"interpolate: unknown mode {mode!r}: one of {', '.join(_DIMS)}")
    if align_corners is not None and mode not in _ALIGNED:
        raise UsageError(
            f"interpolate: align_corners can be set with modes {', '.join(_ALIGNED)} only"
        )
    if antialias and mode not in _ANTIALIASED:
        raise UsageError(
            f"interpolate: antialias can be set with modes {', '.join(_ANTIALIASED)} only"
        )


def _target(lengths, size, scale_factor, recompute):
    """Return the lengths of the result, and for each the scale factor to use or None."""
    if (size is None) == (scale_factor is None):
        raise UsageError("interpolate: give either size or scale_factor")
    if size is not None:
        if recompute:
            raise UsageError("interpolate: recompute_scale_factor needs scale_factor, not size")
        sizes = _one_each("size", size, len(lengths))
        if not all(isinstance(n, (int, np.integer)) for n in sizes):
            raise UsageError(f"interpolate: size must be integers, got {size!r}")
        factors = (None,) * len(lengths)
    else:
        factors = _one_each("scale_factor", scale_factor, len(lengths))
        for factor in factors:
            check_numbers("interpolate", scale_factor=factor)
            if not 0 < factor < math.inf:
                raise UsageError(
                    f"interpolate: scale_factor must be positive and finite, got {factor}"
                )
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
    if mode == "nearest":
        return dims == 2 and size in (length, 2 * length)
    return mode in ("linear", "bilinear", "trilinear") and size == length


def _taps(length, size, factor, mode, align_corners, antialias, dtype):
    """Return the taps of one axis."""
    if mode == "area":
        return area_taps(length, size, dtype)
    scale = length / size if factor is None else 1.0 / factor
    if mode in ("nearest", "nearest-exact"):
        return nearest_taps(length, size, scale, mode == "nearest-exact", dtype)
    if align_corners:
        scale = (length - 1) / (size - 1) if size > 1 else 0.0
    if antialias:
        return antialiased_taps(length, size, scale, mode, dtype)
    taps = cubic_taps if mode == "bicubic" else linear_taps
    return taps(length, size, scale, bool(align_corners), dtype)
