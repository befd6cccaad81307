"""Sums over indices, spelt out number by number, for small arrays.

The formulas of some ops have indices that no number can be put in for: here is what one would
write on paper instead.
"""

from __future__ import annotations

from itertools import product

import numpy as np


def output(step) -> str:
    """Return an op's formula with all its terms as numbers; empty if it is none of these."""
    spell = _OUTPUTS.get(step.op_name)
    values = step.input_values
    return spell(step, values) if spell is not None and all(map(_has_axes, values)) else ""


def gradient(step, position: int) -> str:
    """Return the same for the gradient by an input."""
    spell = _GRADIENTS.get(step.op_name)
    values = step.input_values
    known = spell is not None and all(map(_has_axes, values))
    return spell(step, values, position) if known else ""


def _has_axes(x) -> bool:
    return x is not None and x.ndim > 0 and x.size > 0


def number(value) -> str:
    """Return a number, in brackets if it is negative."""
    text = f"{value:.7g}"
    return f"({text})" if text.startswith("-") else text


def _listed(entries, shape) -> str:
    """Return texts as nested lists of a shape."""
    if not shape:
        return next(iter(entries))
    inner = [_listed(entries, shape[1:]) for _ in range(shape[0])]
    return f"[{', '.join(inner)}]"


def _each(shape, spell) -> str:
    """Return ``spell(index)`` for each index of a shape, as nested lists."""
    return _listed((spell(index) for index in product(*map(range, shape))), shape)


def _terms(x, dims):
    """Yield the numbers that a sum over some dimensions adds up, for each of its results."""
    kept = [dim for dim in range(x.ndim) if dim not in dims]
    count = int(np.prod([x.shape[dim] for dim in dims]))
    yield from x.transpose([*kept, *dims]).reshape(-1, count)


def _sum(step, values) -> str:
    sums = (" + ".join(map(number, terms)) for terms in _terms(values[0], step.op.dims))
    return _listed(sums, step.shape)


def _mean(step, values) -> str:
    sums = (
        f"1/{step.op.count} * ({' + '.join(map(number, terms))})"
        for terms in _terms(values[0], step.op.dims)
    )
    return _listed(sums, step.shape)


def _spread(share: str):
    """Return what spells the gradient of a sum: the incoming one, where it went in."""

    def spell(step, values, _) -> str:
        dims = step.op.dims
        shape = [1 if d in dims else n for d, n in enumerate(values[0].shape)]
        dy = np.broadcast_to(np.reshape(step.gradient, shape), values[0].shape)
        factor = share.format(n=getattr(step.op, "count", 1))
        return _each(dy.shape, lambda index: factor + number(dy[index]))

    return spell


def _share(x, index, dim) -> str:
    """Return e^x over the sum of e^x along a dimension."""
    row = x[(*index[:dim], slice(None), *index[dim + 1 :])]
    powers = " + ".join(f"e^{number(value)}" for value in row)
    return f"e^{number(x[index])}/({powers})"


def _softmax(step, values) -> str:
    dim = step.op.dim % values[0].ndim
    return _each(values[0].shape, lambda index: _share(values[0], index, dim))


def _softmax_gradient(step, values, _) -> str:
    y, dy, dim = step.output_value, step.gradient, step.op.dim % values[0].ndim

    def spell(index):
        rest = (*index[:dim], slice(None), *index[dim + 1 :])
        pairs = " + ".join(f"{number(a)} * {number(b)}" for a, b in zip(dy[rest], y[rest]))
        return f"{number(y[index])} * ({number(dy[index])} - ({pairs}))"

    return _each(y.shape, spell)


def _is_plain(op, values) -> bool:
    """Tell whether a cross-entropy is that of rows of scores and one label each."""
    usual = op.weight is None and op.smoothing == 0 and op.reduction in ("mean", "sum")
    labels = values[1]
    usual = usual and labels is not None and labels.dtype.kind == "i"
    return usual and values[0].ndim == 2 and not (labels == op.ignore_index).any()


def _cross_entropy(step, values) -> str:
    if not _is_plain(step.op, values):
        return ""
    x, labels = values
    rows = [f"-ln({_share(x, (row, int(label)), 1)})" for row, label in enumerate(labels)]
    total = " ".join([rows[0], *(f"- {row[1:]}" for row in rows[1:])])
    return f"1/{len(x)} * ({total})" if step.op.reduction == "mean" and len(x) > 1 else total


def _cross_entropy_gradient(step, values, position) -> str:
    if position or not _is_plain(step.op, values):
        return ""
    x, labels = values
    share = f"1/{len(x)} * " if step.op.reduction == "mean" and len(x) > 1 else ""

    def spell(index):
        hit = int(index[1] == labels[index[0]])
        return f"{share}{number(step.gradient)} * ({_share(x, index, 1)} - {hit})"

    return _each(x.shape, spell)


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
    return _each(shape, lambda place: " + ".join(terms.get(place, ["0"])))


def _convolution(step, values) -> str:
    x, weight, *bias = values
    sums = _sums(step.shape, ((y, weight[w], x[a]) for y, a, w in _products(step, values)))
    if not bias:
        return sums
    constants = bias[0].reshape(1, -1, *[1] * (x.ndim - 2))
    spread = np.broadcast_to(constants, step.shape)
    return f"{sums} + {_each(step.shape, lambda place: number(spread[place]))}"


def _convolution_gradient(step, values, position) -> str:
    x, weight, dy = *values[:2], step.gradient
    places = _products(step, values)
    if position == 0:
        return _sums(x.shape, ((a, dy[y], weight[w]) for y, a, w in places))
    if position == 1:
        return _sums(weight.shape, ((w, dy[y], x[a]) for y, a, w in places))
    rows = np.moveaxis(dy, 1, 0).reshape(dy.shape[1], -1)
    return _listed((" + ".join(map(number, row)) for row in rows), dy.shape[1:2])


_OUTPUTS = {
    "Sum": _sum, "Mean": _mean, "Softmax": _softmax, "CrossEntropy": _cross_entropy,
    "Conv": _convolution,
}  # fmt: skip
_GRADIENTS = {
    "Sum": _spread(""),
    "Mean": _spread("1/{n} * "),
    "Softmax": _softmax_gradient,
    "CrossEntropy": _cross_entropy_gradient,
    "Conv": _convolution_gradient,
}
