"""The chain rule with the numbers put in, as one would on paper; for small arrays."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property, partial
from typing import NamedTuple

import numpy as np

from nnmed.autograd import Op, Tensor
from nnmed.backend.arrays import to_device
from nnmed.explain.clone import node_in_float64, recorded_gradients, run_in_float64
from nnmed.explain.formula.parser import parse, split
from nnmed.explain.formula.reading import Reading, Written
from nnmed.explain.formula.terms import FormulaError
from nnmed.explain.numerals import number_text
from nnmed.explain.step import Leaf, Step
from nnmed.explain.symbols import Symbols

LARGEST = 9  # numbers of an array that is written out
_FLOAT32, _FLOAT64 = 1e-4, 1e-9  # share of the largest number that rounding may change


def write_out(steps: list[Step]) -> None:
    """Set the texts of all steps and their inputs, as long as the values are what they were."""
    with np.errstate(all="ignore"):  # numbers may be infinite
        for step in steps:
            _Page(step, steps).write()


def chain_rule(target: Leaf | Step, steps: list[Step]) -> str:
    """Return how the gradient of a tensor comes from the steps that it went into.

    With numbers where all arrays are small, else in symbols alone.
    """
    inputs = [steps[index].inputs[position] for index, position in target.contributions]
    inputs.reverse()  # into the order in which the ops ran
    if not inputs:
        return f"dL/d{target.name} = 1"
    written = [_total(item.symbols for item in inputs)]
    if all(item.numbers for item in inputs):
        written.append(_total(item.numbers for item in inputs))
    if target.gradient.size <= LARGEST:
        written.append(number_text(target.gradient))
    index = inputs[0].index if len(inputs) == 1 else ""
    return _line(f"dL/d{target.name}{index}", *written)


class _Page:
    """Writes one step out.

    Attributes
    ----------
    is_small : bool
        Whether its arrays are, so that numbers are put in.
    """

    def __init__(self, step: Step, steps: list[Step]):
        self.step, self.steps = step, steps
        self.symbols = Symbols(step, steps)
        sizes = [math.prod(shape) for shape in (step.shape, *[item.shape for item in step.inputs])]
        self.is_small = min(sizes) > 0 and max(sizes) <= LARGEST
        self.values = step.input_values if self.is_small else []
        step.false_formulas.clear()
        step.unread_formulas.clear()
        self.symbols.add_numbers(step, self.values)

    def write(self) -> None:
        """Set the texts of the step and of its inputs."""
        step, lines = self.step, []
        if self.is_small and step.output_value is not None:
            lines = self.output()
        for position, item in enumerate(step.inputs):
            if item.gradient is not None:
                lines += self.gradient(position, item)
        step.numbers = "\n".join(dict.fromkeys(lines))  # definitions are needed but once

    def output(self) -> list[str]:
        """Return the lines of the forward formula."""
        _, index, right = self.symbols.sides(self.step.forward_latex)
        formula = _Formula("y", self.step.forward_latex, lambda side: self.reading.forward(side))
        value = self.step.output_value
        definitions, told = self.told(formula, value, self.output_in_float64)
        return [*definitions, _line(self.step.name + index, right, *told)]

    def gradient(self, position: int, item) -> list[str]:
        """Return the lines of the gradient by an input, and set the texts of that."""
        _, item.index, item.symbols = self.symbols.sides(item.formula)
        if not self.is_small:
            return []
        argument = item.name.partition("[")[0]
        formula = _Formula(
            f"the gradient of {item.name}",
            item.formula,
            lambda side: self.reading.backward(argument, position, side),
        )
        exact = partial(self.gradient_in_float64, position)
        definitions, told = self.told(formula, item.gradient, exact)
        item.numbers = told[0]
        target = item.leaf or self.steps[item.source]
        path = " on this path" if len(target.contributions) > 1 else ""
        name = f"dL/d{target.name}{item.index}{path}"
        return [*definitions, _line(name, item.symbols, *told)]

    def definition(self, written: Written) -> str:
        """Return the line that says what a symbol of the formula is."""
        left, _, right = self.symbols.sides(written.latex)
        return _line(left, right, written.text, number_text(written.value))

    # -- the formulas read -------------------------------------------------------------

    def told(self, formula: _Formula, value, in_float64) -> tuple[list[str], list[str]]:
        """Return the lines of definitions, and numbers and result of an array.

        And note it if the formula cannot be read, or gives another array than the code.
        """
        result = number_text(value)
        try:
            *definitions, written = formula.read(None)
            others = [formula.read(side)[-1] for side in formula.sides()[:-1]]
        except FormulaError as error:
            if formula.latex and all(value is not None for value in self.values):
                self.step.unread_formulas.append(f"the formula of {formula.name}: {error}")
            return [], [result]
        lines = [*map(self.definition, definitions)]
        texts = [written.whole, written.text] if written.whole else [written.text]
        for found in (written.value, *[other.value for other in others]):
            verdict = self.judged(found, value, in_float64)
            if verdict is False:
                shown = number_text(found)
                told = f"the formula of {formula.name} gives {shown}, the code {result}"
                self.step.false_formulas.append(told)
                return lines, [*texts, f"{shown}, but the code gives {result}"]
            if verdict is None:
                return [], [result]
        return lines, [*texts, result]

    def judged(self, found, value, in_float64) -> bool | None:
        """Tell whether a formula gives the array of the code; None if no one can tell.

        That is so where numbers are infinite, or where a formula in plain arithmetic overflows
        and the code does not.
        """
        if _agree(found, value, _FLOAT32 * _largest(value)):
            return True
        exact = _or_none(in_float64)  # the formula is false, or float32 is coarse
        known = [array for array in (*self.values, self.step.gradient) if array is not None]
        if exact is None or not all(np.isfinite(array).all() for array in known):
            return None
        both = np.isfinite(found) & np.isfinite(exact)
        # Where terms cancel, what is left of a sum is as exact as the terms were.
        size = max(map(_largest, (*known, value, exact)))
        if not _agree(found[both], exact[both], _FLOAT64 * size):
            return False
        return True if both.all() else None

    @cached_property
    def reading(self) -> Reading:
        """The op's formulas with its arrays."""
        inputs: dict = {}
        for item, value in zip(self.step.inputs, self.values):
            argument, _, is_listed = item.name.partition("[")
            value = None if value is None else _float64(value)
            inputs[argument] = [*inputs.get(argument, ()), value] if is_listed else value
        known = {name: value for name, value in inputs.items() if not _is_missing(value)}
        output = self.step.output_value
        output = None if output is None else _float64(output)
        return Reading(
            self.step.op, known, output, _float64(self.step.gradient), dtype=self.step.dtype
        )

    def output_in_float64(self):
        """Return what the op gives for the same inputs in float64."""
        return run_in_float64(self.step.op, list(map(_float64, self.values)), self.step.device)

    def gradient_in_float64(self, position: int):
        """Return what backward gives in float64; None where it cannot be recorded."""
        if type(self.step.op).backward is Op.backward:
            return None
        dy = Tensor._wrap(to_device(_float64(self.step.gradient), self.step.device))
        return recorded_gradients(node_in_float64(self.step.op), dy)[position]


class _Formula(NamedTuple):
    """A formula, and how to read one of its right sides; the last one that is known for None."""

    name: str
    latex: str
    read: Callable

    def sides(self) -> range:
        """Return the numbers of the right sides: of ``y = a = b`` there are two."""
        return range(1, len(parse(split(self.latex)[0])[0].operands))


def _or_none(compute):
    try:
        return compute()
    except Exception:  # an op of one's own may take float32 alone, or read a float that it kept
        return None


def _largest(array) -> float:
    """Return the size of the largest finite number."""
    return float(np.abs(array[np.isfinite(array)]).max(initial=0))


def _float64(array):
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def _is_missing(value) -> bool:
    return value is None or (isinstance(value, list) and any(array is None for array in value))


def _agree(found, expected, allowed: float) -> bool:
    return np.allclose(found, expected, rtol=_FLOAT64, atol=allowed, equal_nan=True)


def _line(name: str, *texts: str) -> str:
    """Return an equation, without what repeats the text before."""
    kept = [text for text in texts if text]
    kept = [text for i, text in enumerate(kept) if i == 0 or text != kept[i - 1]]
    return " = ".join([name, *kept])


def _total(terms) -> str:
    """Return a sum."""
    return " + ".join(terms).replace("+ -", "- ")
