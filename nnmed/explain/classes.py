"""Softmax, and the losses of classes that are made of it, spelt out number by number."""

from __future__ import annotations

import numpy as np

from nnmed.backend.arrays import to_device
from nnmed.explain.numerals import each, nested, number, total
from nnmed.ops.cross_entropy import SoftCrossEntropy
from nnmed.ops.focal_loss import Focal


def softmax(step, values) -> str:
    """Return the softmax of an array in numbers."""
    (x,), dim = values, step.op.dim
    return each(x.shape, lambda place: _share(x, place, dim))


def softmax_gradient(step, values, _) -> str:
    """Return the gradient by its input."""
    y, dy, dim = step.output_value, step.gradient, step.op.dim

    def spell(place):
        rows = zip(_row(dy, place, dim), _row(y, place, dim))
        pairs = total(f"{number(a)} * {number(b)}" for a, b in rows)
        return f"{number(y[place])} * ({number(dy[place])} - ({pairs}))"

    return each(y.shape, spell)


def log_softmax(step, values) -> str:
    """Return the logarithm of the softmax of an array in numbers."""
    (x,), dim = values, step.op.dim
    return each(x.shape, lambda place: f"{number(x[place])} - ln({_powers(x, place, dim)})")


def log_softmax_gradient(step, values, _) -> str:
    """Return the gradient by its input."""
    y, dy, dim = step.output_value, step.gradient, step.op.dim

    def spell(place):
        terms = total(map(number, _row(dy, place, dim)))
        return f"{number(dy[place])} - e^{number(y[place])} * ({terms})"

    return each(y.shape, spell)


def cross_entropy(step, values) -> str:
    """Return a cross-entropy in numbers, a logarithm for each class that counts in a row."""
    x, q = values[0], _Target(step.op, *values).q

    def of_row(row):
        places = [(row[0], c, *row[1:]) for c in range(x.shape[1])]
        terms = (f"-{_weight(q[at])}ln({_share(x, at, 1)})" for at in places if q[at])
        return total(terms)

    return _reduced(step, values, of_row)


def cross_entropy_gradient(step, values, position: int) -> str:
    """Return the gradient by the scores; for that by probabilities nothing."""
    if position:
        return ""
    x, target = values[0], _Target(step.op, *values)
    q, sums = target.q, target.q.sum(axis=1)
    if not target.divisor:  # no row counts
        return each(x.shape, lambda place: "0")
    share = f"1/{number(target.divisor)} * " if target.divisor != 1 else ""
    dy = np.broadcast_to(step.gradient, sums.shape)

    def spell(place):
        row = (place[0], *place[2:])
        whole = f" * {number(sums[row])}" if sums[row] != 1 else ""
        return f"{share}{number(dy[row])} * ({_share(x, place, 1)}{whole} - {number(q[place])})"

    return each(x.shape, spell)


def focal(step, values) -> str:
    """Return a focal loss in numbers."""
    x, target, gamma = values[0], _Target(step.op, *values), number(step.op.gamma)

    def of_row(row):
        places = [(row[0], c, *row[1:]) for c in range(x.shape[1])]
        shares = [(target.q[at], _share(x, at, 1)) for at in places if target.hot[at]]
        return total(f"-{_weight(w)}(1 - {p})^{gamma} * ln({p})" for w, p in shares)

    return _reduced(step, values, of_row)


class _Target:
    """What a loss compares the scores with, in the shape (N, C, ...) of these.

    Attributes
    ----------
    hot : array
        The probability of each class: 0 and 1 for labels, 0 in rows that are not counted.
    q : array
        The same, smoothed and times the weights of the classes.
    divisor : float
        What the sum over all rows is divided by.
    """

    def __init__(self, op, x, target):
        classes = x.shape[1]
        weight = np.ones(classes) if op.weight is None else to_device(op.weight, "cpu")
        weight = weight.reshape(-1, *[1] * (x.ndim - 2))
        smoothing = getattr(op, "smoothing", 0)
        is_soft = isinstance(op, SoftCrossEntropy)
        if is_soft:
            self.hot, counted = target, np.ones((len(x), 1, *x.shape[2:]))
        else:
            labels = np.expand_dims(target.astype(np.int64), 1)
            counted = labels != getattr(op, "ignore_index", -1)
            self.hot = np.moveaxis(np.eye(classes), 1, 0)[np.where(counted, labels, 0)[:, 0]]
            self.hot = np.moveaxis(self.hot, -1, 1) * counted
        self.q = weight * ((1 - smoothing) * self.hot + smoothing / classes) * counted
        by_weight = not is_soft and not isinstance(op, Focal)
        total_weight = (weight * self.hot).sum() if by_weight else counted.sum()
        self.divisor = total_weight if op.reduction == "mean" else 1


def _reduced(step, values, of_row) -> str:
    """Return the mean or the sum of what is written for each row, or these by themselves."""
    x = values[0]
    rows = [of_row(row) for row in np.ndindex(x.shape[0], *x.shape[2:])]
    if step.op.reduction == "none":
        return nested(rows, step.shape)
    divisor = _Target(step.op, *values).divisor
    return total(rows) if divisor == 1 else f"1/{number(divisor)} * ({total(rows)})"


def _weight(factor) -> str:
    return "" if factor == 1 else f"{number(factor)} * "


def _row(x, place, dim):
    """Return the numbers of an array along a dimension, through a place."""
    return np.moveaxis(x, dim, -1)[(*place[:dim], *place[dim % x.ndim + 1 :])]


def _powers(x, place, dim) -> str:
    """Return the sum of e^x along a dimension."""
    return total(f"e^{number(value)}" for value in _row(x, place, dim))


def _share(x, place, dim) -> str:
    """Return e^x over the sum of e^x along a dimension."""
    return f"e^{number(x[place])}/({_powers(x, place, dim)})"
