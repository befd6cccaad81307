"""The parts of a formula. Each tells its value in a scope: a number, or whole arrays."""

from __future__ import annotations

import functools
import math
import operator
from dataclasses import dataclass, fields

import numpy as np

erf = np.vectorize(math.erf, otypes=[float])

FUNCTIONS = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,  # of two matrices, the matrix product
    "/": operator.truediv,
    "^": operator.pow,
    "negative": operator.neg,
    "transpose": lambda a: a.swapaxes(-1, -2),
    "[]": lambda truth: truth * 1.0,
    "|": lambda a: len(a) if isinstance(a, list) else np.abs(a),
    r"\lfloor": math.floor,
    r"\lceil": math.ceil,
    r"\sqrt": np.sqrt,
    r"\ln": np.log,
    r"\sin": np.sin,
    r"\cos": np.cos,
    r"\tanh": np.tanh,
    r"\erf": erf,
    r"\sign": np.sign,
    r"\sigma": lambda x: 1 / (1 + np.exp(-x)),
    r"\Phi": lambda x: (1 + erf(x / math.sqrt(2))) / 2,
    r"\min": np.minimum,
    r"\max": np.maximum,
    r"\reshape": np.ravel,  # arrays of another shape are compared as rows of elements
    r"\Bernoulli": lambda p: p,
}
FOLDS = {r"\sum": sum, r"\prod": math.prod, r"\max": max, r"\min": min}


def contains(items, element):
    """Tell whether numbers, each by itself, or a tuple of indices are in a set."""
    if np.ndim(items) == 1:
        return np.isin(element, items)
    return any(np.array_equal(item, element) for item in items)


RELATIONS = {
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
    r"\le": operator.le,
    r"\ge": operator.ge,
    r"\ne": operator.ne,
    r"\in": lambda element, items: contains(items, element),
    r"\approx": lambda a, b: abs(a - b) < 1e-4,
    # All that one sample shows of its distribution; how often each is drawn, many show together.
    r"\sim": lambda sample, p: np.isin(sample, (0, 1)),
}


@dataclass(frozen=True)
class Number:
    """A number."""

    number: float

    def value(self, scope):
        return self.number


@dataclass(frozen=True)
class Symbol:
    """A symbol, of which the subscripts pick an element: ``x_{nc,\\,is+ud-p}``."""

    name: str
    subscripts: tuple = ()

    def value(self, scope):
        return scope.read(self.name, [index.value(scope) for index in self.subscripts])


@dataclass(frozen=True)
class Call:
    """An operation or function of :data:`FUNCTIONS`."""

    function: str
    arguments: tuple

    def value(self, scope):
        return FUNCTIONS[self.function](*[a.value(scope) for a in self.arguments])


@dataclass(frozen=True)
class Tuple:
    """``(a, b)``: a position, or arrays one after the other."""

    items: tuple

    def value(self, scope):
        return np.array([item.value(scope) for item in self.items])


@dataclass(frozen=True)
class Relation:
    """``a < b < c``: true where all of it holds."""

    operands: tuple
    operators: tuple

    def value(self, scope):
        values = [operand.value(scope) for operand in self.operands]
        truths = [
            RELATIONS[sign](left, right)
            for sign, left, right in zip(self.operators, values, values[1:])
        ]
        return functools.reduce(np.logical_and, truths) if truths else values[0]


@dataclass(frozen=True)
class SetOf:
    """``{(a,b) : conditions}``: what the indices that are free in it make, in their order."""

    items: tuple
    conditions: tuple

    def value(self, scope):
        scopes = [s for s in scope.each(scope.free(self.items)) if hold(self.conditions, s)]
        return [item.value(s) for s in scopes for item in self.items]


@dataclass(frozen=True)
class Fold:
    """A sum, product, maximum... of the body over indices, a set, or where conditions hold."""

    kind: str
    indices: tuple
    source: object  # a set, or None
    conditions: tuple
    body: object

    def value(self, scope):
        kind = scope.values.get(self.kind, self.kind)
        scopes = [s for s in self.scopes(scope) if hold(self.conditions, s)]
        values = [self.body.value(s) for s in scopes]
        if kind == r"\argmax":
            first = scopes[int(np.argmax(values))]
            return np.array([first.indices[name] for name in self.indices])
        if kind == r"\reduce":  # to a sum, or to a mean, as the divisor n says
            return sum(values) / scope.read("n", [])
        return FOLDS[kind](values)

    def scopes(self, scope):
        if self.source is None:
            return scope.each(self.indices)
        return [scope.bind(self.indices, element) for element in self.source.value(scope)]


@dataclass(frozen=True)
class Cases:
    """The first of several values whose condition holds."""

    rows: tuple  # of (value, condition)

    def value(self, scope):
        result = 0.0
        for value, condition in reversed(self.rows):
            result = np.where(condition.value(scope), value.value(scope), result)
        return result


@dataclass(frozen=True)
class Integral:
    """An integral, by Gauss and Legendre's rule: exact to rounding for what is smooth."""

    lower: object
    upper: object
    body: object
    variable: str

    def value(self, scope):
        lower, upper = self.lower.value(scope), self.upper.value(scope)
        points, weights = np.polynomial.legendre.leggauss(40)
        places = (lower + upper) / 2 + np.multiply.outer(points, (upper - lower) / 2)
        values = self.body.value(scope.bind(self.variable, [places]))
        return np.tensordot(weights, values, 1) * (upper - lower) / 2


def hold(conditions, scope) -> bool:
    """Tell whether all conditions hold; positions are equal if all their indices are."""
    return all(np.all(condition.value(scope)) for condition in conditions)


def symbols(node):
    """Yield every symbol in a part of a formula, or in a tuple of parts."""
    if isinstance(node, Symbol):
        yield node
    if isinstance(node, tuple):
        for part in node:
            yield from symbols(part)
    elif hasattr(node, "value"):
        for field in fields(node):
            yield from symbols(getattr(node, field.name))
