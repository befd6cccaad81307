"""Formulas with indices, spelt out number by number, for small arrays.

No number can be put in for an index: here is what one would write on paper instead. Most ops add
up entries of their inputs, each times a factor, and so do the gradients of all ops: of these it
is enough to know which entries, and which factors (:mod:`nnmed.explain.local`).
"""

from __future__ import annotations

from itertools import product

import numpy as np

from nnmed.explain import classes, local, normalized
from nnmed.explain.numerals import each, fraction, nested, number, number_text, total
from nnmed.ops.activation_smooth import Glu
from nnmed.ops.adaptive_pooling import AdaptiveMaxPool2d
from nnmed.ops.conv import Conv
from nnmed.ops.cross_entropy import CrossEntropy, SoftCrossEntropy
from nnmed.ops.focal_loss import Focal
from nnmed.ops.pooling_ops import MaxPool2d
from nnmed.ops.reduction import Extremum
from nnmed.ops.softmax import LogSoftmax, Softmax


def definitions(step) -> list:
    """Return (name, numbers, result) of what an op computes on the way to its output."""
    is_one = type(step.op) in normalized.OPS and _is_known(step)
    return normalized.definitions(step) if is_one else []


def output(step) -> str:
    """Return an op's formula with all its terms as numbers; empty if it is none of these."""
    spell = _OUTPUTS.get(type(step.op), _combination)
    return spell(step, step.input_values) if _is_known(step) else ""


def gradient(step, position: int) -> str:
    """Return the same for the gradient by an input."""
    spell = _GRADIENTS.get(type(step.op))
    text = spell(step, step.input_values, position) if spell and _is_known(step) else ""
    return text or _chain(step, position)


def _is_known(step) -> bool:
    return all(value is not None and value.ndim > 0 for value in step.input_values)


def _combination(step, values) -> str:
    """Write the output as the entries of the inputs, each times its derivative.

    It is that if the op is linear in all of them, or in the first one. What no entry goes into,
    such as padding, is a constant.
    """
    factors, y = local.derivatives(step), step.output_value.ravel()
    for count in (len(values), 1):
        if any(array is None for array in factors[:count]):
            continue
        x = np.concatenate([np.ravel(value) for value in values[:count]])
        rows = np.concatenate(factors[:count], axis=1)
        made = rows.any(axis=1)
        sums = (rows @ x)[made]
        size = np.abs(sums).max(initial=0)
        if np.isfinite(size) and np.allclose(sums, y[made], rtol=1e-5, atol=1e-6 * size):
            entries = [
                _weighted(row, x) if row.any() else number_text(constant)
                for row, constant in zip(rows, y)
            ]
            return nested(entries, step.shape)
    return ""


def _chain(step, position) -> str:
    """Write a gradient as the chain rule: the entries of dy, each times its derivative by x."""
    factors, dy = local.derivatives(step)[position], np.ravel(step.gradient)
    if factors is None:
        return ""
    return nested((_weighted(row, dy) for row in factors.T), step.inputs[position].shape)


def _weighted(factors, x) -> str:
    """Write the sum of numbers times factors, with what is common before the sum."""
    used = np.flatnonzero(factors)
    if len(used) == 1 and factors[used[0]] == 1:
        return number_text(x[used[0]])
    if len(used) < 2 or factors[used[0]] == 1 or not (factors[used] == factors[used[0]]).all():
        return total(_times(factors[k], number(x[k])) for k in used)
    return _times(factors[used[0]], f"({total(number(x[k]) for k in used)})")


def _times(factor, text: str) -> str:
    return text if factor == 1 else f"{fraction(factor)} * {text}"


def _extremum(step, values) -> str:
    """Write the largest (or smallest) of the entries that each window has."""
    is_largest = getattr(step.op, "largest", True)
    name, x = "max" if is_largest else "min", values[0].ravel()
    entries = [
        f"{name}({', '.join(number_text(x[k]) for k in np.flatnonzero(window))})"
        for window in local.windows(step, is_largest)
    ]
    return nested(entries, step.shape)


def _glu(step, values) -> str:
    """Write one half of the entries, each times the sigmoid of one of the other half."""
    a, b = np.split(values[0], 2, axis=step.op.dim)
    return each(a.shape, lambda place: f"{number(a[place])} * sigma({number_text(b[place])})")


def _products(step, values):
    """Yield the places in y, x and the weight that each product of a convolution belongs to."""
    x, weight = values[:2]
    strides, paddings, dilations, groups = step.op.windows
    channels, outputs = weight.shape[1], weight.shape[0] // groups
    for y_place in product(*map(range, step.shape)):
        n, o, *pixel = y_place
        for c, *taps in product(*map(range, weight.shape[1:])):
            at = [
                i * s + u * d - ends[0]
                for i, s, u, d, ends in zip(pixel, strides, taps, dilations, paddings)
            ]
            if all(0 <= a < length for a, length in zip(at, x.shape[2:])):
                x_place = (n, o // outputs * channels + c, *at)
                yield y_place, x_place, (o, c, *taps)


def _sums(shape, pairs) -> str:
    """Return the sums of products, given as (place of the sum, factor, factor)."""
    terms: dict = {}
    for place, a, b in pairs:
        terms.setdefault(place, []).append(f"{number(a)} * {number(b)}")
    return each(shape, lambda place: total(terms.get(place, [])))


def _convolution(step, values) -> str:
    x, weight, *bias = values
    sums = _sums(step.shape, ((y, weight[w], x[a]) for y, a, w in _products(step, values)))
    if not bias:
        return sums
    constants = bias[0].reshape(1, -1, *[1] * (x.ndim - 2))
    spread = np.broadcast_to(constants, step.shape)
    return f"{sums} + {each(step.shape, lambda place: number(spread[place]))}"


def _convolution_gradient(step, values, position) -> str:
    x, weight, dy = *values[:2], step.gradient
    places = _products(step, values)
    if position == 0:
        return _sums(x.shape, ((a, dy[y], weight[w]) for y, a, w in places))
    if position == 1:
        return _sums(weight.shape, ((w, dy[y], x[a]) for y, a, w in places))
    return ""


_OUTPUTS = {
    Softmax: classes.softmax,
    LogSoftmax: classes.log_softmax,
    CrossEntropy: classes.cross_entropy,
    SoftCrossEntropy: classes.cross_entropy,
    Focal: classes.focal,
    Conv: _convolution,
    Glu: _glu,
    **dict.fromkeys((MaxPool2d, AdaptiveMaxPool2d, Extremum), _extremum),
    **dict.fromkeys(normalized.OPS, normalized.output),
}
# Of others, and where these give nothing, the chain rule is written.
_GRADIENTS = {
    Softmax: classes.softmax_gradient,
    LogSoftmax: classes.log_softmax_gradient,
    CrossEntropy: classes.cross_entropy_gradient,
    SoftCrossEntropy: classes.cross_entropy_gradient,
    Conv: _convolution_gradient,
    **dict.fromkeys(normalized.OPS, normalized.gradient),
}
