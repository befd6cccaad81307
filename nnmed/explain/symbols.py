"""The formulas of a step as text, with the tensors' names for their symbols."""

from __future__ import annotations

import re

import numpy as np

from nnmed.explain.formula.parser import split
from nnmed.explain.numerals import number_text
from nnmed.explain.plain import plain
from nnmed.explain.step import Step

# A symbol, perhaps a derivative by it, perhaps with an index; not the T of a transpose.
_SYMBOL = re.compile(r"(?<!\.)\b(dL/d)?([A-Za-z]+)(_\{[^{}]*\}|_[A-Za-z0-9]+)?")
# What a parameter of 1 or 0 leaves in a formula.
_NOTHING = re.compile(r"(?<![/^.\d])\b(1|1/1) \* | \+ 0$")


class Symbols:
    """What the symbols in a step's formulas are called.

    Attributes
    ----------
    names : dict of str to str
        Of the tensors, by their symbols.
    numbers : dict of str to str
        Of what has no name, but is one number.
    """

    def __init__(self, step: Step, steps: list[Step]):
        self.names: dict[str, str] = {}
        self.numbers: dict[str, str] = {}
        self.notation = notation = step.op.notation()
        for symbol, value in notation.values.items():
            # The mean of nothing stays 1/n.
            if isinstance(value, (int, float)) and not (symbol == "n" and value == 0):
                self.numbers[plain(symbol)] = _number(value)
        for item in step.inputs:
            symbol = plain(notation.symbol(item.name))
            if item.leaf is not None:
                self.names[symbol] = item.leaf.name
            elif item.source is not None:
                self.names[symbol] = steps[item.source].name
        output = _SYMBOL.match(plain(step.forward_latex))
        if output:
            self.names[output[2]] = step.name

    def add_numbers(self, step: Step, values) -> None:
        """Put in the constants among the inputs that are one number."""
        for item, value in zip(step.inputs, values):
            symbol = plain(self.notation.symbol(item.name))
            if symbol not in self.names and value is not None and np.ndim(value) == 0:
                self.numbers[symbol] = _number(value)

    def renamed(self, text: str) -> str:
        """Return a formula as text with the tensors' names."""

        def rename(match):
            derivative, symbol, index = match.groups("")
            if symbol in self.numbers and not derivative:
                return self.numbers[symbol]
            return derivative + self.names.get(symbol, symbol) + index

        return _NOTHING.sub("", _SYMBOL.sub(rename, text))

    def sides(self, latex: str) -> tuple[str, str, str]:
        """Return what a formula is of, the index of that, and its right side; ``?`` if none.

        Where several equations make one array, such as its halves, the right side has them all.
        """
        first, *others = split(latex)
        equations = [first, *(part for part in others if r"\dots" not in part)]  # no sketches
        whole = [plain(part).partition(" = ") for part in equations]
        left = _SYMBOL.fullmatch(whole[0][0])
        of = left and left.groups()[:2]
        parts = [self.renamed(right) for start, _, right in whole if _same(start, of)]
        name = self.renamed(whole[0][0].removesuffix(left[3] or "")) if left else whole[0][0]
        index = left[3] or "" if left and len(parts) == 1 else ""
        return name, index, " and ".join(parts) or self.renamed(whole[0][2]) or "?"


def _same(text: str, symbol) -> bool:
    match = _SYMBOL.fullmatch(text)
    return bool(match) and match.groups()[:2] == symbol


def _number(value) -> str:
    text = number_text(np.asarray(value))
    return f"({text})" if text[0] == "-" else text
