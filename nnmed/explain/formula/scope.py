"""What the symbols of a formula stand for."""

from __future__ import annotations

import math

import numpy as np

from nnmed.explain.formula.nodes import Call, Relation, Symbol, parts
from nnmed.explain.formula.terms import ATOM, FormulaError, Matrix, Term, fixed

_CONSTANTS = {
    "e": Term(math.e, "e", ATOM),
    r"\pi": Term(math.pi, "pi", ATOM),
    r"\else": fixed(True),
}


class Scope:
    """The meaning of each symbol at one place of a formula.

    Parameters
    ----------
    arrays : dict
        Symbol to the array, or list of arrays (``x^{(k)}``), that flows through the op.
    parameters : dict
        Symbol to a number, an array, a list of arrays, or a function of its subscripts.
    definitions : dict
        Symbol to the names of its indices and the part of a formula that it stands for.
    ranges : dict
        Index to what it runs over: see :class:`nnmed.autograd.notation.Notation`.
    outside : float
        What an array holds beyond its edges: its padding.

    Attributes
    ----------
    indices : dict
        Those that are bound here.
    place : tuple of int or None
        Of the entry to which a formula without indices is put.
    used : dict
        The defined symbols that were read, each after those that it is made of.
    """

    def __init__(self, arrays, parameters, definitions, ranges, outside: float = 0.0):
        self.arrays, self.parameters = arrays, parameters
        self.definitions, self.ranges, self.outside = definitions, ranges, outside
        self.indices: dict = {}
        self.place = None
        self.used: dict = {}
        self._known: dict = {}  # values of defined symbols

    def within(self, indices: dict) -> Scope:
        """Return the same scope with other indices bound."""
        scope = Scope(self.arrays, self.parameters, self.definitions, self.ranges, self.outside)
        scope.indices, scope.place = indices, self.place
        scope.used, scope._known = self.used, self._known
        return scope

    def at(self, place) -> Scope:
        """Return the scope for one entry of a formula without indices."""
        scope = self.within(self.indices)
        scope.place = place
        return scope

    def by_entries(self) -> Scope:
        """Return the scope in which an array is one of terms, so that products are written out."""
        scope = self.within(self.indices)
        scope.arrays = {name: _terms(array) for name, array in self.arrays.items()}
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
        values = self.ranges[index]
        values = values(self.indices) if callable(values) else values
        if isinstance(values, int):
            return range(values)
        return map(np.array, np.ndindex(*values)) if isinstance(values, tuple) else values

    def free(self, node) -> list[str]:
        """Return the indices in a part of a formula that nothing binds, in their order."""
        names = dict.fromkeys(part.name for part in parts(node) if isinstance(part, Symbol))
        return [n for n in names if n in self.ranges and n not in self.indices]

    def knows(self, name: str) -> bool:
        """Tell whether a symbol is given or defined."""
        return name in self.parameters or name in self.definitions

    def read(self, name: str, subscripts: list) -> Term:
        """Return what a symbol stands for."""
        if name in self.indices:  # of a position, subscripts name a part
            value = self.indices[name]
            return fixed(value[subscripts[0]] if subscripts else value)
        if name in self.arrays:
            return self.entry(name, subscripts)
        if name in self.parameters:
            return self.parameter(name, subscripts)
        if name in self.definitions:
            return self.defined(name, subscripts)
        if name in _CONSTANTS and not subscripts:
            return _CONSTANTS[name]
        raise FormulaError(f"nothing says what {name} is")

    def entry(self, name, subscripts) -> Term:
        """Return an entry of an array; the whole array where nothing tells which one."""
        value = self.arrays[name]
        if subscripts:
            array, place = located(name, value, subscripts)
            return self.element(array, place, array.dtype.kind != "f")
        if self.place is None:
            whole = name if value.dtype == object else ""  # how terms are written is told by them
            return Term(value.view(Matrix) if name[-1].isupper() else value, whole)
        return Term(value[self.place], is_fixed=value.dtype.kind != "f")

    def parameter(self, name, subscripts) -> Term:
        """Return a parameter; a plain number is the same for all subscripts."""
        value = self.parameters[name]
        if callable(value):
            return fixed(value(*subscripts))
        if not subscripts and self.place is not None and np.ndim(value) == len(self.place) > 0:
            return fixed(value[self.place])
        if not subscripts or not isinstance(value, (list, np.ndarray)):
            return fixed(value)
        return self.element(*located(name, value, subscripts), True)

    def element(self, array, place, is_fixed) -> Term:
        """Return an element of an array, or what is outside of it."""
        if not is_inside(place, array.shape):
            return fixed(self.outside)
        return Term(array[place], is_fixed=is_fixed)

    def defined(self, name, subscripts) -> Term:
        """Return what a formula says that a symbol is: its value alone, if it is a number."""
        indices, body = self.definitions[name]
        key = name, str(subscripts), self.place
        if key not in self._known:
            term = body.read(self.within(dict(zip(indices, subscripts))))
            if np.ndim(term.value) == 0:
                self.used[name] = True
                term = Term(term.value, is_fixed=term.is_fixed)
            self._known[key] = term
        return self._known[key]


def _terms(array) -> np.ndarray:
    """Return an array of terms, which are the numbers of an array."""
    terms = np.empty(array.shape, object)
    for place in np.ndindex(array.shape):
        terms[place] = Term(array[place], is_fixed=array.dtype.kind != "f")
    return terms


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


def ranges_of(indexed: list[Symbol], values: dict, known: dict, positions: dict) -> dict:
    """Return over what the indices run: where one stands alone, over a side of the array.

    Raises
    ------
    FormulaError
        If an index stands for sides of two lengths.
    """
    ranges = dict(known)
    for symbol in indexed:
        value = values.get(symbol.name)
        if isinstance(value, list):
            value = np.empty(len(value))  # the first index counts the arrays
        sides = getattr(value, "shape", ())
        for index in symbol.subscripts:
            is_alone = isinstance(index, Symbol) and not index.subscripts
            if not sides or not is_alone or index.name in values:
                break
            given = known.get(index.name)
            if callable(given) and index.name not in positions:
                break
            count = len(given) if isinstance(given, tuple) else positions.get(index.name, 1)
            length = tuple(sides[:count]) if index.name in positions else sides[0]
            if given is None and ranges.setdefault(index.name, length) != length:
                raise FormulaError(
                    f"{index.name} runs to {ranges[index.name]} and, in {symbol.name}, to {length}"
                )
            sides = sides[count:]
    return ranges


def head(equation: Relation):
    """Return the symbol of which an equation speaks: of ``sigma^2 = ...`` it is sigma^2."""
    left = equation.operands[0]
    if not isinstance(left, Call):
        return left
    return Symbol(left.arguments[0].name + "^2", left.arguments[0].subscripts)


def definition(equation: Relation):
    """Return the name that an equation defines, and its indices and its meaning."""
    symbol = head(equation)
    return symbol.name, ([index.name for index in symbol.subscripts], equation.operands[1])
