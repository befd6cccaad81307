"""What the symbols of a formula stand for."""

from __future__ import annotations

import math

import numpy as np

from tests.ops.formulas.nodes import Call, Relation, Symbol, symbols
from tests.ops.formulas.parser import FormulaError

CONSTANTS = {"e": math.e, r"\pi": math.pi, r"\else": True, r"\max": r"\max", r"\min": r"\min"}


class Matrix(np.ndarray):
    """A stack of matrices, whose product is that of matrices."""

    def __mul__(self, other):
        return self @ other if isinstance(other, Matrix) else super().__mul__(other)


class Scope:
    """The meaning of each symbol at one place of a formula.

    Parameters
    ----------
    values : dict
        Symbol to a number, an array, a list of arrays (``x^{(k)}``), or a function of its
        subscripts.
    definitions : dict
        Symbol to the names of its indices and the part of a formula that it stands for.
    ranges : dict
        Index to how many values it has; or to a shape, if it is a position in it; or to a
        function that tells one of these from the indices bound so far.
    outside : float
        What an array holds beyond its edges: its padding.
    """

    def __init__(self, values, definitions, ranges, outside: float = 0.0):
        self.values, self.definitions, self.ranges = values, definitions, ranges
        self.outside = outside
        self.indices: dict = {}
        self.known: dict = {}  # values of defined symbols

    def within(self, indices: dict) -> Scope:
        """Return the same scope with other indices bound."""
        scope = Scope(self.values, self.definitions, self.ranges, self.outside)
        scope.indices, scope.known = indices, self.known
        return scope

    def bind(self, names, values) -> Scope:
        """Return the scope with some indices bound as well."""
        return self.within({**self.indices, **dict(zip(names, values))})

    def each(self, names):
        """Yield the scope for all values of the named indices, the last one running fastest."""
        if not names:
            yield self
            return
        for value in self.run(names[0]):
            yield from self.bind(names[:1], [value]).each(names[1:])

    def run(self, index: str):
        """Return the values of an index; a position is an array."""
        if index not in self.ranges:
            raise FormulaError(f"nothing says over what {index} runs")
        length = self.ranges[index]
        length = length(self.indices) if callable(length) else length
        return range(length) if isinstance(length, int) else map(np.array, np.ndindex(*length))

    def free(self, node) -> list[str]:
        """Return the indices in a part of a formula that nothing binds, in their order."""
        names = dict.fromkeys(symbol.name for symbol in symbols(node))
        return [n for n in names if n in self.ranges and n not in self.indices]

    def read(self, name: str, subscripts: list):
        """Return the value of a symbol."""
        if name in self.indices:  # of a position, subscripts name a part
            value = self.indices[name]
            return value[subscripts[0]] if subscripts else value
        if name in self.values:
            return self.element(name, self.values[name], subscripts)
        if name in self.definitions:
            return self.defined(name, subscripts)
        if name in CONSTANTS and not subscripts:
            return CONSTANTS[name]
        raise FormulaError(f"nothing says what {name} is")

    def defined(self, name, subscripts):
        indices, body = self.definitions[name]
        key = name, str(subscripts)
        if key not in self.known:
            self.known[key] = body.value(self.within(dict(zip(indices, subscripts))))
        return self.known[key]

    def element(self, name, value, subscripts):
        if callable(value):
            return value(*subscripts)
        if not subscripts:
            is_matrix = name[-1].isupper() and isinstance(value, np.ndarray)
            return value.view(Matrix) if is_matrix else value
        array, place = located(name, value, subscripts)
        return array[place] if is_inside(place, array.shape) else self.outside


def located(name, value, subscripts):
    """Return the array, and the place in it, that the subscripts of `value` mean."""
    if isinstance(value, list):
        value, subscripts = value[subscripts[0]], subscripts[1:]
    place = tuple(int(i) for part in subscripts for i in np.atleast_1d(part))
    if len(place) != value.ndim:
        raise FormulaError(f"{name} has {value.ndim} dimensions and the indices {place}")
    return value, place


def is_inside(place, shape) -> bool:
    """Tell whether there is an element at a place."""
    return all(0 <= i < n for i, n in zip(place, shape))


def ranges_of(equations: list[Relation], values: dict, known: dict) -> dict:
    """Return over what the indices run: where one stands alone, over a side of the array.

    Raises
    ------
    FormulaError
        If an index stands for sides of two lengths.
    """
    ranges = dict(known)
    for symbol in symbols(tuple(equations)):
        value = values.get(symbol.name)
        if isinstance(value, list):
            value = np.empty(len(value))  # the first index counts the arrays
        sides = list(getattr(value, "shape", ()))
        for index in symbol.subscripts:
            plain = isinstance(index, Symbol) and not index.subscripts
            if not sides or not plain or index.name in values or callable(known.get(index.name)):
                break
            count = len(known[index.name]) if isinstance(known.get(index.name), tuple) else 1
            length = sides[0] if count == 1 else tuple(sides[:count])
            if ranges.setdefault(index.name, length) != length:
                raise FormulaError(
                    f"{index.name} runs to {ranges[index.name]} and, in {symbol.name}, to {length}"
                )
            sides = sides[count:]
    return ranges


def head(equation: Relation):
    """Return the symbol of which an equation speaks: of ``sigma^2 = ...`` it is sigma."""
    left = equation.operands[0]
    return left.arguments[0] if isinstance(left, Call) else left


def definition(equation: Relation):
    """Return the name that an equation defines, and its indices and its meaning."""
    symbol, (left, right) = head(equation), equation.operands[:2]
    meaning = right if left is symbol else Call(r"\sqrt", (right,))
    return symbol.name, ([index.name for index in symbol.subscripts], meaning)
