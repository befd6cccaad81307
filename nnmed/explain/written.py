"""The chain rule with the numbers put in, as one would on paper; for small arrays."""

from __future__ import annotations

import re

import numpy as np

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
        values = _Values(step, steps)
        for position, item in enumerate(step.inputs):
            if item.gradient is not None:
                item.symbols, item.numbers = values.term(position)
        if _is_small(step):
            step.numbers = "\n".join(_equations(step, steps, values))


def _equations(step, steps, values):
    """Yield formula, numbers and result of the op, and of each gradient."""
    if step.output_value is not None:
        shown = values.equation(plain(step.forward_latex), number_text(step.output_value))
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


class _Values:
    """Names and numbers of the symbols in a step's formulas."""

    def __init__(self, step: Step, steps: list[Step]):
        self.step = step
        self.names = {"y": step.name, "Y": step.name}
        self.numbers = {}
        if _is_small(step):
            self.numbers["dL/dy"] = self.numbers["dL/dY"] = number_text(step.gradient)
            self.add_number("y", step.output_value)
        for position, item in enumerate(step.inputs):
            symbols = _symbols(item.name)
            if item.leaf is not None:
                self.names.update(dict.fromkeys(symbols, item.leaf.name))
            elif item.source is not None:
                self.names.update(dict.fromkeys(symbols, steps[item.source].name))
            if self.numbers:
                for symbol in symbols:
                    self.add_number(symbol, step.input_values[position])
        for symbol, attribute in _PARAMETERS.get(step.op_name, {}).items():
            value = getattr(step.op, attribute)
            self.names[symbol] = self.numbers[symbol] = number_text(value)

    def add_number(self, symbol, value) -> None:
        """Say what a symbol is, if it is known."""
        if value is None:
            return
        text = number_text(value)
        if symbol not in self.names:  # a constant
            self.names[symbol] = text if np.ndim(value) == 0 else symbol
        self.numbers[symbol] = self.numbers[symbol.upper()] = text

    def term(self, position: int) -> tuple[str, str]:
        """Return the gradient that goes to an input, in symbols and in numbers.

        The numbers are empty for large arrays, and the result alone where the formula has
        indices.
        """
        item = self.step.inputs[position]
        formula = plain(item.formula).partition(" = ")[2] or "?"
        if not self.numbers:
            return self.renamed(formula), ""
        return self.renamed(formula), self.in_numbers(formula) or number_text(item.gradient)

    def equation(self, formula: str, result: str) -> str:
        """Return the right side of a forward formula: in symbols, in numbers, and the result."""
        expression = formula.partition(" = ")[2] or "?"
        last = expression.rpartition(" = ")[2]
        numbers = self.in_numbers(last) if expression.count("=") < 2 else ""
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
            alone = match[0] == formula
            return f"({number})" if number.startswith("-") and not alone else number

        text = _SYMBOL.sub(put_in, formula)
        return "" if missing else text


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
