"""The formulas of one op, with numbers put in for all symbols."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np

from nnmed.autograd import Op
from nnmed.explain.formula.nodes import Integral, Symbol, parts
from nnmed.explain.formula.parser import parse, split
from nnmed.explain.formula.scope import Scope, definition, head, is_inside, located, ranges_of
from nnmed.explain.formula.terms import ZERO, FormulaError, Term, mathematics
from nnmed.explain.numerals import nested


@dataclass
class Written:
    """An array as a formula makes it.

    Attributes
    ----------
    latex : str
        The equation.
    shape : tuple of int
    terms : list of Term
        Of its entries in row-major order.
    whole : str
        Of matrices, how they are made of whole matrices.
    """

    latex: str
    shape: tuple[int, ...]
    terms: list[Term]
    whole: str = ""

    @property
    def text(self) -> str:
        """How its numbers are made, in lists as the array is nested."""
        return nested((term.text for term in self.terms), self.shape)

    @property
    def value(self) -> np.ndarray:
        """What they are, in float64."""
        values = np.array([term.value for term in self.terms], np.float64)
        return values.reshape(self.shape)


class Reading:
    """Reads the formulas of an op that has run.

    Parameters
    ----------
    op : Op
    inputs : dict
        Name of forward's argument to an array, ``arrays`` to a list of them. Those whose values
        are not known are missing.
    output : array or None
        What forward gave, if it is known.
    gradient : array
        That which came to it.
    forward_latex : str, optional
    backward_latex : dict of str, optional
        Formulas to be tried in the place of the op's.
    dtype : dtype
        To which the parameters were rounded when the op ran.

    Raises
    ------
    FormulaError
        In all methods, where a formula cannot be read or a symbol is not known.
    """

    def __init__(
        self, op: Op, inputs, output, gradient, forward_latex=None, backward_latex=None,
        dtype=np.float64,
    ):  # fmt: skip
        self.op, self.notation = op, op.notation()
        self.parameters = {n: _rounded(v, dtype) for n, v in self.notation.values.items()}
        forward, backward = op.latex()
        self.forward_latex = forward if forward_latex is None else forward_latex
        self.backward_latex = backward if backward_latex is None else backward_latex
        with mathematics():
            self.target = head(parse(self.forward_latex)[0]).name
        self.before = {self.notation.symbol(name): array for name, array in inputs.items()}
        self.shape = gradient.shape
        self.arrays = {**self.before, rf"\partial {self.target}": gradient}
        if output is not None:
            self.arrays[self.target] = output

    def forward(self, side: int | None = None) -> list[Written]:
        """Return what the forward formula makes: its definitions, and at last the output.

        Of ``y = a = b`` it is `side` 1 or 2, else the last one of which all symbols are known.
        """
        numbers = np.arange(math.prod(self.shape)).reshape(self.shape)
        return self._written(self.target, self.forward_latex, (), self.before, numbers, None, side)

    def backward(self, name: str, position: int = 0, side: int | None = None) -> list[Written]:
        """Return what a gradient formula makes, of the input `position`."""
        target = rf"\partial {self.notation.symbol(name)}"
        numbers = [np.arange(math.prod(shape)).reshape(shape) for shape in self.op.input_shapes]
        if name == "arrays":
            of_target = numbers
        else:
            of_target, position = numbers[position], None
        others = [self.forward_latex, *self.backward_latex.values()]
        latex = self.backward_latex.get(name, "")
        return self._written(target, latex, others, self.arrays, of_target, position, side)

    @mathematics()
    def _written(self, target, latex, others, arrays, numbers, position, side):
        """Return definitions and target, of which the entries have `numbers`."""
        formulas = (latex, *others)
        shape = (numbers if position is None else numbers[position]).shape
        result = Written(split(latex)[0], shape, [ZERO] * math.prod(shape))
        definitions: dict[str, list] = {}
        for row_of_arrays, row_of_numbers in self._rows(target, arrays, numbers):
            scope = self.scope(target, formulas, row_of_arrays, row_of_numbers)
            fill = _Filling(target, row_of_numbers, position)
            fill.fill(result, parse(latex), scope, side)
            for name in scope.used:
                definitions.setdefault(name, []).append(fill.definition(name, scope))
        if any(np.ndim(term.value) for term in result.terms):
            raise FormulaError(f"of {split(latex)[0]} one side has an index, the other none")
        latex_of = {head(equation).name: part for equation, part in _known(formulas)[::-1]}
        return [*(_stacked(latex_of[name], rows) for name, rows in definitions.items()), result]

    def scope(self, target, formulas, arrays, numbers) -> Scope:
        """Return what the symbols in formulas of a target stand for."""
        parameters = self.parameters
        known = {*arrays, *parameters, target}
        equations = [equation for equation, _ in _known(formulas)]
        defined = [equation for equation in equations if _defines(equation, known)]
        ranges = ranges_of(
            _indexed(formulas),
            {**parameters, **arrays, target: numbers},
            self.notation.ranges,
            self.notation.positions,
        )
        meanings = dict(map(definition, defined[::-1]))  # what comes first holds
        return Scope(arrays, parameters, meanings, ranges, self.notation.outside)

    def _rows(self, target, arrays, numbers):
        """Yield arrays and numbers in the form of which the formulas speak, for each row."""
        viewed = {symbol: self.viewed(symbol, array) for symbol, array in arrays.items()}
        numbers = self.viewed(target, numbers)
        if not self.notation.rows:
            yield viewed, numbers
            return
        for row in range(len(numbers[0] if isinstance(numbers, list) else numbers)):
            yield {name: _row(array, row) for name, array in viewed.items()}, _row(numbers, row)

    def viewed(self, symbol, array):
        """Return an array in the form of which the formulas speak."""
        view = self.notation.views.get(symbol.removeprefix(r"\partial "))
        return array if view is None else view(array)


class _Filling:
    """Puts what a formula makes of one row where it belongs.

    Parameters
    ----------
    target : str
    numbers : array, or list of arrays
        Of the entries of the target, as the formula has them.
    position : int or None
        Of the array that is wanted, where there are several.
    """

    def __init__(self, target: str, numbers, position):
        self.target, self.numbers, self.position = target, numbers, position

    def fill(self, result: Written, equations, scope: Scope, side) -> None:
        """Put the terms of all equations of the target into `result`."""
        mine = [e for e in equations if head(e).name == self.target]
        if not mine or mine[0] is not equations[0]:
            raise FormulaError(f"no formula of {self.target}")
        self.has_places = not mine[0].operands[0].subscripts and not self.is_matrix()
        if self.has_places:
            scope.arrays = {n: _broadcast(a, self.numbers.shape) for n, a in scope.arrays.items()}
        last = len(mine[0].operands) - 1
        sides = range(last, 0, -1) if side is None else [min(side, last)]
        self.attempt(result, mine, scope, sides)

    def attempt(self, result, equations, scope, sides):
        """Take the first of the sides that is known throughout, and can be written."""
        error = FormulaError("nothing but integrals")
        for side in sides:
            is_integral = any(isinstance(p, Integral) for p in parts(equations[0].operands[side]))
            if is_integral and len(sides) > 1:
                continue
            try:
                scope.used.clear()
                for equation in equations:
                    self.put(result, equation.operands[0], equation.operands[side], scope)
                return
            except FormulaError as failure:
                error = failure
        raise error

    def is_matrix(self) -> bool:
        """Tell whether the formula speaks of whole matrices."""
        return self.target.removeprefix(r"\partial ")[0].isupper()

    def put(self, result: Written, left, right, scope: Scope) -> None:
        """Put the terms of one equation into `result`."""
        if self.has_places:
            for place in np.ndindex(self.numbers.shape):
                result.terms[self.numbers[place]] = right.read(scope.at(place))
        elif not left.subscripts:
            result.whole = right.read(scope).text
            entries = right.read(scope.by_entries()).value
            result.terms = [entries[place] for place in np.ndindex(self.numbers.shape)]
        else:
            for here in scope.each(scope.free(left.subscripts)):
                self.put_at(result, left, right, here)

    def put_at(self, result: Written, left, right, scope: Scope) -> None:
        """Put a term where the subscripts on the left say."""
        subscripts = [index.read(scope).value for index in left.subscripts]
        if self.position is not None and subscripts[0] != self.position:
            return
        numbers, place = located(left.name, self.numbers, subscripts)
        if not is_inside(place, numbers.shape):
            raise FormulaError(f"{left.name} has no element {place}")
        result.terms[numbers[place]] = right.read(scope)

    def definition(self, name, scope: Scope) -> tuple:
        """Return the shape and the terms of a symbol that the formula defines."""
        indices, body = scope.definitions[name]
        if self.has_places and not indices:
            shape = self.numbers.shape
            return shape, [body.read(scope.at(place)) for place in np.ndindex(shape)]
        shape = tuple([len(list(scope.run(index))) for index in indices])
        return shape, [body.read(here) for here in scope.each(indices)]


@functools.cache
def _known(formulas: tuple[str, ...]) -> list:
    """Return all equations that are no sketches, each with its LaTeX."""
    every = [part for latex in formulas for part in split(latex)]
    return [(parse(part)[0], part) for part in every if parse(part)]


@functools.cache
def _indexed(formulas: tuple[str, ...]) -> list[Symbol]:
    """Return the symbols in some formulas that have indices."""
    equations = tuple([equation for equation, _ in _known(formulas)])
    return [part for part in parts(equations) if isinstance(part, Symbol) and part.subscripts]


def _rounded(value, dtype):
    """Return a parameter as a number of a dtype; what is no float as it is."""
    if isinstance(value, float):
        return float(np.dtype(dtype).type(value))
    is_float = isinstance(value, np.ndarray) and value.dtype.kind == "f"
    return value.astype(dtype).astype(np.float64) if is_float else value


def _broadcast(array, shape):
    """Return an array in a shape, as it is if that cannot be."""
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        return array


def _stacked(latex: str, rows: list) -> Written:
    """Return the definition of all rows as one array."""
    shape, terms = rows[0]
    if len(rows) == 1:
        return Written(latex, shape, terms)
    return Written(latex, (len(rows), *shape), [term for _, row in rows for term in row])


def _row(array, row: int):
    return [part[row] for part in array] if isinstance(array, list) else array[row]


def _defines(equation, known) -> bool:
    """Tell whether an equation says what a symbol is, and not that something holds."""
    symbol = head(equation)
    is_plain = all(isinstance(i, Symbol) and not i.subscripts for i in symbol.subscripts)
    return equation.operators[:1] == ("=",) and symbol.name not in known and is_plain
