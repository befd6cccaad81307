"""The chain rule with the numbers put in, as one would on paper; for small arrays."""

from __future__ import annotations

import re

import numpy as np

from nnmed.explain import spelled
from nnmed.explain.plain import plain
from nnmed.explain.step import Leaf, Step

LARGEST = 9  # numbers of an array that is written out
# Symbols in formulas that are parameters of the op: its class and the attribute.
_PARAMETERS = {
    "PowScalar": {"p": "exponent"},
    "Clip": {"l": "low", "h": "high"},
    "Mean": {"n": "count"},
}
# A symbol, perhaps a derivative by it, perhaps with an index; not the T of a transpose.
_SYMBOL = re.compile(r"(?<!\.)\b(dL/d)?([A-Za-z]+)(_\{[^{}]*\}|_[A-Za-z0-9]+)?")


def number_text(array) -> str:
    """Return a number, or nested lists of numbers."""
    if np.ndim(array):
        return f"[{', '.join(map(number_text, array))}]"
    return f"{array:.7g}" if np.asarray(array).dtype.kind == "f" else str(array)


def write_out(steps: list[Step]) -> None:
    """Set the texts of all steps and their inputs, as long as the values are what they were."""
    for step in steps:
        symbols = _Symbols(step, steps)
        for position, item in enumerate(step.inputs):
            if item.gradient is not None:
                item.symbols, item.numbers = symbols.term(position)
        if _is_small(step):
            step.numbers = "\n".join(_equations(step, steps, symbols))


def _equations(step, steps, symbols):
    """Yield formula, numbers and result of the op, and of each gradient."""
    if step.output_value is not None:
        shown = symbols.equation(plain(step.forward_latex), number_text(step.output_value))
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
    written = [_sum([item.symbols for item in inputs])]
    if all(item.numbers for item in inputs):
        written.append(_sum([item.numbers for item in inputs]))
    if target.gradient.size <= LARGEST:
        written.append(number_text(target.gradient))
    return f"dL/d{target.name} = {' = '.join(_distinct(*written))}"


class _Symbols:
    """Names, and for small arrays numbers, of the symbols in a step's formulas."""

    def __init__(self, step: Step, steps: list[Step]):
        self.step = step
        self.names: dict[str, str] = {}
        self.numbers: dict[str, str] = {}
        self.is_small = _is_small(step)
        self.add(("y", "Y"), step.name, step.output_value if self.is_small else None)
        values = step.input_values if self.is_small else [None] * len(step.inputs)
        for item, value in zip(step.inputs, values):
            name = item.leaf.name if item.leaf else ""
            name = name if item.source is None else steps[item.source].name
            self.add(_symbols(item.name), name, value)
        for symbol, attribute in _PARAMETERS.get(step.op_name, {}).items():
            self.add((symbol,), "", getattr(step.op, attribute))
        if self.is_small:
            self.add(("dL/dy", "dL/dY"), "", step.gradient)

    def add(self, symbols, name: str, value) -> None:
        """Say what symbols are called, and what they are; a number without a name is its own."""
        text = "" if value is None else number_text(value)
        if not name and np.ndim(value) == 0:
            name = _bracketed(text)
        for symbol in symbols:
            if name:
                self.names[symbol] = name
            if text:
                self.numbers[symbol] = text

    def term(self, position: int) -> tuple[str, str]:
        """Return the gradient that goes to an input, in symbols and in numbers.

        The numbers are empty for large arrays, and the result alone where the formula has
        indices and is not one that :mod:`nnmed.explain.spelled` knows.
        """
        item = self.step.inputs[position]
        formula = plain(item.formula).partition(" = ")[2] or "?"
        if not self.is_small:
            return self.renamed(formula), ""
        numbers = self.in_numbers(formula) or spelled.gradient(self.step, position)
        return self.renamed(formula), numbers or number_text(item.gradient)

    def equation(self, formula: str, result: str) -> str:
        """Return the right side of a forward formula: in symbols, in numbers, and the result."""
        expression = formula.partition(" = ")[2] or "?"
        last = expression.rpartition(" = ")[2]
        numbers = self.in_numbers(last) if expression.count("=") < 2 else ""
        if self.is_small and not numbers:
            numbers = spelled.output(self.step)
        return " = ".join(_distinct(self.renamed(expression), numbers, result))

    def renamed(self, formula: str) -> str:
        """Return a formula of the op with the tensors' names."""

        def rename(match):
            derivative, symbol, index = match.groups("")
            return derivative + self.names.get(symbol, symbol) + index

        return _SYMBOL.sub(rename, formula)

    def in_numbers(self, formula: str) -> str:
        """Return a formula with numbers for symbols; empty if a number is missing."""
        missing = False

        def put_in(match):
            nonlocal missing
            symbol = (match[1] or "") + match[2]
            missing |= match[3] is not None or (symbol not in self.numbers and _is_unknown(symbol))
            number = self.numbers.get(symbol, symbol)
            return number if match[0] == formula else _bracketed(number)

        text = _SYMBOL.sub(put_in, formula)
        return "" if missing else text


def _bracketed(number: str) -> str:
    return f"({number})" if number.startswith("-") else number


def _is_unknown(symbol: str) -> bool:
    """Tell whether a symbol is a letter that wants a number, not e or a function's name."""
    return (len(symbol) == 1 and symbol != "e") or symbol.startswith("dL/d")


def _symbols(name: str) -> list[str]:
    """Return what formulas may call an input of this name."""
    letter = "x" if name == "input" else name[0]
    return [name, letter, letter.upper()]


def _is_small(step: Step) -> bool:
    sizes = [np.prod(shape) for shape in (step.shape, *[item.shape for item in step.inputs])]
    return max(sizes) <= LARGEST


def _sum(terms: list[str]) -> str:
    return " + ".join(terms).replace("+ -", "- ")


def _distinct(*texts: str) -> list[str]:
    """Return the texts without those that are empty or repeat the one before."""
    kept = [text for text in texts if text]
    return [text for i, text in enumerate(kept) if i == 0 or text != kept[i - 1]]
