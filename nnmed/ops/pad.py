"""Padding arrays of any number of dimensions, by a value or by their own values."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from nnmed import kernels
from nnmed.autograd import Notation, Op, Tensor
from nnmed.errors import ShapeError, UsageError
from nnmed.ops.arguments import as_tensor, check_numbers
from nnmed.ops.elementwise import clone
from nnmed.ops.shape import reshape

# Of each mode, what r_i is.
_READ = {
    "constant": "i - b",
    "reflect": "n - 1 - |n - 1 - |i - b||",
    "replicate": r"\min(\max(i - b, 0), n - 1)",
    "circular": r"i - b - m \lfloor \tfrac{i - b - s}{m} \rfloor",
}
_MODES = tuple(_READ)


def _latex(op):
    """Return the formulas of an op, with that of r_i, which is outside x in one mode alone."""
    forward, backward = Op.latex(op)
    if op.mode != "constant":
        forward = forward.replace(_FORWARD, "y_i = x_{r_i}")
    return rf"{forward}, \quad r_i = {_READ[op.mode]}", backward


def _notation(shape, widths, **values) -> Notation:
    """Return what the symbols stand for where an array of a shape is padded."""
    n, before, after = np.array(shape), *np.array(widths).T
    values |= {"n": n, "b": before, "s": np.maximum(-before, 0)}
    values["m"] = n + np.minimum(before, 0) + np.minimum(after, 0)
    return Notation(values, positions={"i": len(shape), "k": len(shape)})


_FORWARD = r"y_i = \begin{cases} x_{r_i} & 0 \le r_i < n \\ v & \text{else} \end{cases}"


class Pad(Op):
    """Surround x by a value or by its own values.

    y[i] = x[r(i)], or the value where r(i) is outside x
    dx[k] = sum of dy[i] over all i with r(i) = k

    With b entries before and n in x, along each dimension: constant: r(i) = i - b; reflect:
    n-1 - |n-1 - |i-b||; replicate: min(max(i-b, 0), n-1); circular: s + (i-b-s) mod m, which
    goes round the m entries, from s on, that are left of x. Negative widths crop; what they cut
    off and no r(i) reads has gradient 0.
    """

    forward_latex = _FORWARD
    backward_latex = {
        "x": r"\frac{\partial L}{\partial x_k} = "
        r"\sum_{i:\,r_i=k} \frac{\partial L}{\partial y_i}"
    }

    def __init__(self, widths, mode, value):
        self.widths, self.mode, self.value = widths, mode, value

    def latex(self):
        return _latex(self)

    def notation(self):
        return _notation(self.input_shapes[0], self.widths, v=self.value)

    def forward(self, x):
        return kernels.select("resample", x).pad(x, self.widths, self.mode, self.value)

    def backward(self, dy):
        return PadInputGrad(self.widths, self.mode)(dy)

    def flops(self, inputs, output):
        return 0


class PadInputGrad(Op):
    """The gradient of padding, as an op of its own.

    y[k] = sum of x[i] over all i with r(i) = k
    dx = padding of dy, by 0 where the mode is constant
    """

    forward_latex = r"y_k = \sum_{i:\,r_i=k} x_i"
    backward_latex = {"x": r"\frac{\partial L}{\partial x_i} = \frac{\partial L}{\partial y_{r_i}}"}

    def __init__(self, widths, mode):
        self.widths, self.mode = widths, mode

    def latex(self):
        return _latex(self)

    def notation(self):
        shape = [n - sum(pair) for n, pair in zip(self.input_shapes[0], self.widths)]
        return _notation(shape, self.widths)

    def forward(self, x):
        return kernels.select("resample", x).pad_input_grad(x, self.widths, self.mode)

    def backward(self, dy):
        return Pad(self.widths, self.mode, 0)(dy)

    def flops(self, inputs, output):
        return math.prod(inputs[0]) - math.prod(output)


def pad(input, pad, mode="constant", value=None) -> Tensor:
    """Return `input` surrounded by `value` (0 by default) or by its own values.

    Parameters
    ----------
    input : Tensor
        Any shape; integers too.
    pad : sequence of int
        ``(before, after)`` of the last dimension, then of the one before it, and so on:
        ``(left, right, top, bottom)`` for pictures. Negative numbers crop.
    mode : str
        ``"constant"``; or, for the L of ``(N, C, L)``, the H and W of ``(N, C, H, W)`` or the
        D, H and W of ``(N, C, D, H, W)``, with or without N, ``"reflect"`` (about the edge
        pixels), ``"replicate"`` (of the edge pixels) or ``"circular"``.
    value : float, optional
        What to surround by; only for ``"constant"``.

    Raises
    ------
    ShapeError
        If more is cropped than there is, or a mode asks for more values than there are.
    UsageError
        If the mode is unknown, or `pad` is not made of pairs of integers.
    """
    x = as_tensor(input)
    if mode not in _MODES or (value is not None and mode != "constant"):
        raise UsageError(
            f"pad: mode must be 'constant', or one of {', '.join(_MODES[1:])} without a value; "
            f"got mode {mode!r}, value {value}"
        )
    if value is not None:
        check_numbers("pad", value=value)
    flat = tuple(pad) if isinstance(pad, Iterable) else (pad,)
    if (
        len(flat) % 2
        or len(flat) > 2 * x.ndim
        or not all(isinstance(width, (int, np.integer)) for width in flat)
    ):
        raise UsageError(
            f"pad: expected a pair of integers for each of at most {x.ndim} dimensions, got {pad}"
        )
    pairs = tuple((int(a), int(b)) for a, b in zip(flat[::2], flat[1::2]))[::-1]
    for n, (before, after) in zip(x.shape[x.ndim - len(pairs) :], pairs):
        if n + before + after < 0 or n + min(before, 0) < 0 or n + min(after, 0) < 0:
            raise ShapeError(f"pad: {flat} crops more than input {x.shape} has")
    if mode != "constant":
        return _pad_by_own_values(x, pairs, mode)
    if not any(flat):
        return clone(x)
    widths = ((0, 0),) * (x.ndim - len(pairs)) + pairs
    return Pad(widths, mode, 0 if value is None else value)(x)


def _pad_by_own_values(x, pairs, mode) -> Tensor:
    dims = len(pairs)
    if dims not in (1, 2, 3) or x.ndim not in (dims + 1, dims + 2):
        raise ShapeError(
            f"pad: mode {mode!r} pads all but the channels of (C, L), (C, H, W), (C, D, H, W) or "
            f"a batch of them; got input {x.shape} and {dims} pairs"
        )
    for n, (before, after) in zip(x.shape[-dims:], pairs):
        _check_enough(x, n, before, after, mode)
    batch = x if x.ndim == dims + 2 else reshape(x, (1, *x.shape))
    y = Pad(((0, 0), (0, 0), *pairs), mode, None)(batch)
    return y if x.ndim == dims + 2 else reshape(y, y.shape[1:])


def _check_enough(x, n, before, after, mode) -> None:
    if n + before + after < 1:
        raise ShapeError(f"pad: {before, after} leaves nothing of a line of input {x.shape}")
    left = n + min(before, 0) + min(after, 0)
    longest = {"reflect": n - 1, "replicate": math.inf if n else 0, "circular": left}[mode]
    if max(before, after) > longest:
        raise ShapeError(
            f"pad: mode {mode!r} adds at most {longest} values to a line of {n}, "
            f"got {before, after} for input {x.shape}"
        )
