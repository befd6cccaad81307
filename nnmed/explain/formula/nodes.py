"""The parts of a formula. Each tells in a scope what it is: a term, that is value and text."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, fields

import numpy as np

from nnmed.explain.formula import terms
from nnmed.explain.formula.terms import ONE, ZERO, Term, fixed

erf = np.vectorize(math.erf, otypes=[float])


def _named(name, function):
    return functools.partial(terms.call, name, function)


FUNCTIONS = {
    "+": terms.add,
    "-": terms.subtract,
    "*": terms.multiply,  # of two matrices, the matrix product
    "/": terms.divide,
    "^": terms.power,
    "negative": terms.negative,
    "transpose": terms.transpose,
    "[]": terms.truth,
    "|": terms.size,
    r"\lfloor": lambda a: fixed(np.floor(a.value)),
    r"\lceil": lambda a: fixed(np.ceil(a.value)),
    r"\sqrt": _named("sqrt", np.sqrt),
    r"\ln": _named("ln", np.log),
    r"\sin": _named("sin", np.sin),
    r"\cos": _named("cos", np.cos),
    r"\tanh": _named("tanh", np.tanh),
    r"\erf": _named("erf", erf),
    r"\sign": _named("sign", np.sign),
    r"\sigma": _named("sigma", lambda x: 1 / (1 + np.exp(-x))),
    r"\Phi": _named("Phi", lambda x: (1 + erf(x / math.sqrt(2))) / 2),
    r"\min": functools.partial(terms.extremum, "min"),
    r"\max": functools.partial(terms.extremum, "max"),
    r"\reshape": lambda a: a,  # arrays of another shape are compared as rows of elements
    r"\Bernoulli": lambda p: p,
}


def contains(items, element):
    """Tell whether numbers, each by itself, or a tuple of indices are in a set."""
    if np.ndim(items) == 1:
        return np.isin(element, items)
    return any(np.array_equal(item, element) for item in items)


RELATIONS = {
    "=": np.equal,
    "<": np.less,
    ">": np.greater,
    r"\le": np.less_equal,
    r"\ge": np.greater_equal,
    r"\ne": np.not_equal,
    r"\in": lambda element, items: contains(items, element),
    r"\approx": lambda a, b: abs(a - b) < 1e-4,
    # All that one sample shows of its distribution; how often each is drawn, many show together.
    r"\sim": lambda sample, p: np.isin(sample, (0, 1)),
}
_WRITTEN = {r"\le": "<=", r"\ge": ">="}


@dataclass(frozen=True)
class Number:
    """A number."""

    number: float

    def read(self, scope) -> Term:
        return fixed(self.number)


@dataclass(frozen=True)
class Symbol:
    """A symbol, of which the subscripts pick an element: ``x_{nc,\\,is+ud-p}``."""

    name: str
    subscripts: tuple = ()

    def read(self, scope) -> Term:
        return scope.read(self.name, [index.read(scope).value for index in self.subscripts])


@dataclass(frozen=True)
class Call:
    """An operation or function of :data:`FUNCTIONS`."""

    function: str
    arguments: tuple

    def read(self, scope) -> Term:
        base, *_ = self.arguments
        if self.function == "^" and isinstance(base, Symbol):
            square = base.name + "^2"  # variance is sigma^2: a symbol of two parts
            if scope.knows(square):
                return Symbol(square, base.subscripts).read(scope)
        return FUNCTIONS[self.function](*[a.read(scope) for a in self.arguments])


@dataclass(frozen=True)
class Tuple:
    """``(a, b)``: several indices, or one position."""

    items: tuple

    def read(self, scope) -> Term:
        return fixed(np.array([item.read(scope).value for item in self.items]))


@dataclass(frozen=True)
class Relation:
    """``a < b < c``: true where all of it holds."""

    operands: tuple
    operators: tuple

    def read(self, scope) -> Term:
        sides = [operand.read(scope) for operand in self.operands]
        if not self.operators:
            return sides[0]
        pairs = zip(self.operators, sides, sides[1:])
        truths = [RELATIONS[sign](left.value, right.value) for sign, left, right in pairs]
        holds = functools.reduce(np.logical_and, truths)
        # Nobody writes [5 = 5]; but 2 > 0 shows why relu lets a gradient pass.
        if "=" in self.operators or all(side.is_fixed for side in sides):
            return fixed(holds)
        signs = [_WRITTEN.get(sign, sign) for sign in self.operators]
        text = "".join(f" {sign} {side.text}" for sign, side in zip(signs, sides[1:]))
        return Term(holds, sides[0].text + text)


@dataclass(frozen=True)
class SetOf:
    """``{(a,b) : conditions}``: what the indices that are free in it make, in their order."""

    items: tuple
    conditions: tuple

    def read(self, scope) -> Term:
        scopes = [s for s in scope.each(scope.free(self.items)) if hold(self.conditions, s)]
        return fixed([item.read(s).value for s in scopes for item in self.items])


@dataclass(frozen=True)
class Fold:
    """A sum, product, maximum... of the body over indices, a set, or where conditions hold."""

    kind: str
    indices: tuple
    source: object  # a set, or None
    conditions: tuple
    body: object

    def read(self, scope) -> Term:
        scopes = [s for s in self.scopes(scope) if hold(self.conditions, s)]
        parts = [self.body.read(s) for s in scopes]
        if self.kind == r"\prod":
            return functools.reduce(terms.multiply, parts, ONE)
        if self.kind in (r"\max", r"\min"):
            return terms.extremum(self.kind[1:], *parts)
        if self.kind == r"\argmax":
            first = scopes[int(np.argmax([part.value for part in parts]))]
            place = [first.indices[name] for name in self.indices]
            return fixed(np.concatenate([np.atleast_1d(part) for part in place]))
        return functools.reduce(terms.add, parts, ZERO)

    def scopes(self, scope):
        if self.source is None:
            return scope.each(self.indices)
        elements = self.source.read(scope).value
        many = len(self.indices) > 1
        return [scope.bind(self.indices, element if many else [element]) for element in elements]


@dataclass(frozen=True)
class Cases:
    """The first of several values whose condition holds."""

    rows: tuple  # of (value, condition)

    def read(self, scope) -> Term:
        for value, condition in self.rows:
            if np.all(condition.read(scope).value):
                return value.read(scope)
        return fixed(np.nan)  # of NaN no condition holds


@dataclass(frozen=True)
class Integral:
    """An integral, by Gauss and Legendre's rule: exact to rounding for what is smooth."""

    lower: object
    upper: object
    body: object
    variable: str

    def read(self, scope) -> Term:
        lower, upper = self.lower.read(scope).value, self.upper.read(scope).value
        points, weights = np.polynomial.legendre.leggauss(40)
        places = (lower + upper) / 2 + points * (upper - lower) / 2
        values = self.body.read(scope.bind(self.variable, [places])).value
        return Term(weights @ values * (upper - lower) / 2)


def hold(conditions, scope) -> bool:
    """Tell whether all conditions hold; positions are equal if all their indices are."""
    return all(np.all(condition.read(scope).value) for condition in conditions)


def parts(node):
    """Yield every part of a formula, or of a tuple of parts, from the outside in."""
    if isinstance(node, tuple):
        for part in node:
            yield from parts(part)
    elif hasattr(node, "read"):
        yield node
        for field in fields(node):
            yield from parts(getattr(node, field.name))
