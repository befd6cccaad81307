"""The formulas of a step as text, with the tensors' names for their symbols."""

from __future__ import annotations

import numpy as np

from nnmed.explain.formula.nodes import Symbol
from nnmed.explain.formula.parser import parse
from nnmed.explain.formula.scope import head
from nnmed.explain.formula.spelling import Speller, plain_name, with_index
from nnmed.explain.formula.terms import FormulaError, mathematics
from nnmed.explain.step import Step

_PARTIAL = "\\partial "


class Symbols:
    """What the symbols in a step's formulas are called.

    Attributes
    ----------
    names : dict of str to str
        Of the tensors, by their symbols.
    numbers : dict of str to float
        What has no name, but is one number.
    """

    def __init__(self, step: Step, steps: list[Step]):
        self.notation = step.op.notation()
        self.names: dict[str, str] = {}
        self.numbers: dict[str, float] = {}
        for symbol, value in self.notation.values.items():
            # The mean of nothing stays 1/n.
            if isinstance(value, (int, float)) and not (symbol == "n" and value == 0):
                self.numbers[symbol] = value
        for item in step.inputs:
            symbol = self.notation.symbol(item.name)
            if item.leaf is not None:
                self.names[symbol] = item.leaf.name
            elif item.source is not None:
                self.names[symbol] = steps[item.source].name
        equations = _equations(step.forward_latex)
        if equations:
            self.names[head(equations[0]).name] = step.name

    def add_numbers(self, step: Step, values) -> None:
        """Put in the constants among the inputs that are one number."""
        for item, value in zip(step.inputs, values):
            symbol = self.notation.symbol(item.name)
            if symbol not in self.names and value is not None and np.ndim(value) == 0:
                self.numbers[symbol] = value.item()

    def called(self, symbol: str) -> str | float:
        """Return the name of a symbol, or its number."""
        if symbol.startswith(_PARTIAL):
            bare = symbol.removeprefix(_PARTIAL)
            return f"dL/d{self.names.get(bare, plain_name(bare))}"
        return self.numbers.get(symbol, self.names.get(symbol, plain_name(symbol)))

    def sides(self, latex: str) -> tuple[str, str, str]:
        """Return the left side of a formula, the index on it, and the right side; ``?`` if none.

        Where several equations make one array, such as its halves, the right side has them all.
        What cannot be read is shown as it is.
        """
        equations = _equations(latex)
        if not equations:
            left, _, right = latex.partition(" = ")
            return left, "", right or "?"
        target, speller = head(equations[0]), Speller(self.called)
        mine = [equation for equation in equations if _name(equation) == target.name]
        index = speller.index(target) if len(mine) == 1 else ""
        right = " and ".join(speller.equation(equation) for equation in mine)
        return with_index(str(self.called(target.name)), index), index, right


def _name(equation) -> str:
    return getattr(head(equation), "name", "")


def _equations(latex: str) -> tuple:
    """Return the equations of a formula, none if it cannot be read."""
    try:
        with mathematics():
            equations = parse(latex)
            heads = [head(equation) for equation in equations]
    except FormulaError:
        return ()
    is_equation = bool(heads) and isinstance(heads[0], Symbol)
    is_equation = is_equation and equations[0].operators[:1] == ("=",)
    return equations if is_equation else ()
