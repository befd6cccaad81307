"""The chain rule with the numbers put in, as one would on paper; for small arrays."""

from __future__ import annotations

import contextlib
import re

import numpy as np

from nnmed.explain import spelled
from nnmed.explain.numerals import each, number, number_text, total
from nnmed.explain.parameters import PAIR_LOSSES, parameters
from nnmed.explain.plain import plain
from nnmed.explain.step import Leaf, Step

LARGEST = 9  # numbers of an array that is written out
# A symbol, perhaps a derivative by it, perhaps with an index; not the T of a transpose.
_SYMBOL = re.compile(r"(?<!\.)\b(dL/d)?([A-Za-z]+)(_\{[^{}]*\}|_[A-Za-z0-9]+)?")

_GREEK = {"alpha", "beta", "lambda"}
_EQUALS = re.compile(r" = (?![^\[]*\])")  # not of a condition in brackets
_ASIDE = re.compile(r",\s*\\quad")  # after a formula it is said what its symbols are


def write_out(steps: list[Step]) -> None:
    """Set the texts of all steps and their inputs, as long as the values are what they were."""
    with np.errstate(all="ignore"):  # numbers may be infinite
        for step in steps:
            _write_out(step, steps)


def _write_out(step, steps):
    symbols = _Symbols(step, steps)
    for position, item in enumerate(step.inputs):
        if item.gradient is not None:
            item.symbols, item.numbers = symbols.term(position)
    if _is_small(step):
        step.numbers = "\n".join(_equations(step, steps, symbols))


def _equations(step, steps, symbols):
    """Yield formula, numbers and result of the op, its parts first, and of each gradient."""
    if step.output_value is not None:
        for name, numbers, result in spelled.definitions(step):
            yield f"{name} = {' = '.join(_distinct(numbers, result))}"
        shown = symbols.equation(step.forward_latex, number_text(step.output_value))
        yield f"{step.name} = {shown}"
    for item in step.inputs:
        if item.gradient is not None:
            target = item.leaf or steps[item.source]
            path = " on this path" if len(target.contributions) > 1 else ""
            chain = _distinct(item.symbols, item.numbers, number_text(item.gradient))
            yield f"dL/d{target.name}{path} = {' = '.join(chain)}"


def chain_rule(target: Leaf | Step, steps: list[Step]) -> str:
    """Return how the gradient of a tensor comes from the steps that it went into.

    With numbers where all arrays are small, else in symbols alone.
    """
    inputs = [steps[index].inputs[position] for index, position in target.contributions]
    inputs.reverse()  # into the order in which the ops ran
    if not inputs:
        return f"dL/d{target.name} = 1"
    written = [total(item.symbols for item in inputs)]
    if all(item.numbers for item in inputs):
        written.append(total(item.numbers for item in inputs))
    if target.gradient.size <= LARGEST:
        written.append(number_text(target.gradient))
    return f"dL/d{target.name} = {' = '.join(_distinct(*written))}"


class _Symbols:
    """Names, and for small arrays numbers, of the symbols in a step's formulas."""

    def __init__(self, step: Step, steps: list[Step]):
        self.step = step
        self.names: dict[str, str] = {}  # of tensors
        self.constants: dict[str, str] = {}  # what has no name but is one number
        self.values: dict = {}
        self.is_small = _is_small(step)
        self.add(("y", "Y"), step.name, step.output_value if self.is_small else None)
        values = step.input_values if self.is_small else [None] * len(step.inputs)
        for item, value in zip(step.inputs, values):
            name = item.leaf.name if item.leaf else ""
            name = name if item.source is None else steps[item.source].name
            self.add(_symbols(item.name), name, value)
        for symbol, value in parameters(step.op).items():
            self.add((symbol,), "", value)
        if self.is_small:
            self.add(("dL/dy", "dL/dY"), "", step.gradient)
        # Symbols that the formulas say the meaning of, such as d_i = x_i - t_i.
        _, *asides = _ASIDE.split(step.forward_latex)
        for symbol in [plain(aside).partition(" ~= ")[0] for aside in asides]:
            self.constants.pop(symbol, None)
        self.meanings = dict(plain(aside).split(" = ", 1) for aside in asides if " = " in aside)

    def add(self, symbols, name: str, value) -> None:
        """Say what symbols are called, and what they are."""
        for symbol in symbols:
            if name:
                self.names[symbol] = name
            elif value is not None and np.ndim(value) == 0:
                self.constants[symbol] = number(value)
            if value is not None:
                self.values[symbol] = value

    def term(self, position: int) -> tuple[str, str]:
        """Return the gradient that goes to an input, in symbols and in numbers.

        The numbers are empty for large arrays, and the result alone where nothing is known but
        that.
        """
        item = self.step.inputs[position]
        formula = plain(item.formula).partition(" = ")[2] or "?"
        if not self.is_small:
            return self.renamed(formula), ""
        numbers = self.in_numbers(item.formula)
        if item.formula and not numbers:
            numbers = spelled.gradient(self.step, position)
        return self.renamed(formula), numbers or number_text(item.gradient)

    def equation(self, latex: str, result: str) -> str:
        """Return the right side of a forward formula: in symbols, in numbers, and the result."""
        expression = plain(latex).partition(" = ")[2] or "?"
        numbers = self.in_numbers(latex)
        if self.is_small and latex and not numbers:
            numbers = spelled.output(self.step)
        return " = ".join(_distinct(self.renamed(expression), numbers, result))

    def renamed(self, formula: str) -> str:
        """Return a formula of the op with the tensors' names."""

        def rename(match):
            derivative, symbol, index = match.groups("")
            if symbol in self.constants and not derivative and not index:
                return self.constants[symbol]
            return derivative + self.names.get(symbol, symbol) + index

        return _SYMBOL.sub(rename, formula)

    def in_numbers(self, latex: str) -> str:
        """Return the right side of a formula with numbers, the last one of which none is missing.

        Empty if there is none.
        """
        spell = self.reduced if isinstance(self.step.op, PAIR_LOSSES) else self.put_in
        for formula in _EQUALS.split(plain(_ASIDE.split(latex)[0]))[:0:-1]:
            with contextlib.suppress(KeyError):
                return spell(_SYMBOL.sub(lambda match: self.meaning(match[0]), formula))
        return ""

    def meaning(self, symbol: str) -> str:
        """Return what the formulas say that a symbol is, else the symbol."""
        is_defined = symbol in self.meanings and symbol not in self.values
        return f"({self.meanings[symbol]})" if is_defined else symbol

    def reduced(self, formula: str) -> str:
        """Return the formula of a loss with numbers: of each entry, or their mean or sum."""
        op = self.step.op
        formula = formula.removeprefix("1/n * ") if self.values["n"] == 1 else formula
        body = formula.removeprefix("reduce_i").strip()
        shape = op.input_shapes[0]
        if op.reduction == "none" or body == formula:
            return each(shape, lambda place: self.put_in(body, place))
        terms = total(self.put_in(body, place) for place in np.ndindex(shape))
        return f"1/{self.values['n']} * ({terms})" if self.values["n"] > 1 else terms

    def put_in(self, formula: str, place=None) -> str:
        """Return a formula with numbers for symbols, those at one place for the index i.

        Raises KeyError if one is missing.
        """

        def of(match):
            derivative, symbol, index = match.groups("")
            is_indexed = index == "_i" and place is not None
            if index and not is_indexed:
                raise KeyError(match[0])
            if derivative + symbol not in self.values and not _is_unknown(derivative + symbol):
                return match[0]
            value = self.value(derivative + symbol, place)
            return number_text(value) if match[0] == formula else number(value)

        return _SYMBOL.sub(of, formula)

    def value(self, symbol: str, place):
        """Return what a symbol stands for, of an array its number at a place if one is given."""
        value = self.values[symbol]
        if place is None or np.ndim(value) == 0:
            return value
        return np.broadcast_to(value, self.step.op.input_shapes[0])[place]


def _is_unknown(symbol: str) -> bool:
    """Tell whether a symbol is a letter that wants a number, not e or a function's name."""
    return (len(symbol) == 1 and symbol != "e") or symbol.startswith("dL/d") or symbol in _GREEK


def _symbols(name: str) -> list[str]:
    """Return what formulas may call an input of this name."""
    letter = "x" if name == "input" else name[0]
    return [name, letter, letter.upper()]


def _is_small(step: Step) -> bool:
    sizes = [np.prod(shape) for shape in (step.shape, *[item.shape for item in step.inputs])]
    return min(sizes) > 0 and max(sizes) <= LARGEST


def _distinct(*texts: str) -> list[str]:
    """Return the texts without those that are empty or repeat the one before."""
    kept = [text for text in texts if text]
    return [text for i, text in enumerate(kept) if i == 0 or text != kept[i - 1]]
