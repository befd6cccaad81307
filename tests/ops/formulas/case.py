"""One op, its formulas, and what the formulas must agree with: forward and backward."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

import nnmed
from nnmed.autograd import Op
from tests.ops.formulas.nodes import hold
from tests.ops.formulas.parser import FormulaError, parse
from tests.ops.formulas.scope import Scope, definition, head, is_inside, located, ranges_of

SYMBOLS = {"input": "x", "target": "t", "weight": "w", "bias": "b", "arrays": "x"}


@dataclass
class Case:
    """How one op's formulas are to be read.

    Attributes
    ----------
    op
        Makes the op; an op is one node of a graph, so each run needs its own.
    inputs
        Name of forward's argument to an array, in order; ``arrays`` to a list of them.
    values
        Symbol to what it stands for: parameters, masks, positions.
    symbols
        Name of an input to its symbol, where that is not the name or in :data:`SYMBOLS`.
    views
        Symbol to a function that brings its array, and the gradient, into the form of which
        the formula speaks, such as (kept, summed).
    ranges
        Over what an index runs, where no array tells: see :class:`Scope`.
    outside
        What arrays hold beyond their edges.
    rows
        Whether the formula speaks of one row: all arrays are taken apart along the first axis.
    label
        Tells two cases of one op apart.
    """

    op: Callable[[], Op]
    inputs: dict
    values: dict = field(default_factory=dict)
    symbols: dict = field(default_factory=dict)
    views: dict = field(default_factory=dict)
    ranges: dict = field(default_factory=dict)
    outside: float = 0.0
    rows: bool = False
    label: str = ""

    def __str__(self):
        return "-".join(part for part in (type(self.op()).__name__, self.label) if part)

    def symbol(self, name: str) -> str:
        return self.symbols.get(name, SYMBOLS.get(name, name))

    def check(self, forward: str, backward: dict[str, str], create_graph: bool = False) -> None:
        """Raise AssertionError where formulas and code disagree.

        Parameters
        ----------
        forward, backward
            The op's formulas, or others to be tried in their place.
        create_graph
            Whether to compare with the recorded gradients, instead of the fused ones.
        """
        output = parse(forward)[0].operands[0].name
        result = self.run(backward, create_graph)
        for arrays in self.readings(output, *result):
            self.check_reading(output, forward, backward, arrays)

    def run(self, backward, create_graph):
        """Return output, its gradient, and the gradients of the inputs that have a formula."""
        tensors = {name: _tensors(array, name in backward) for name, array in self.inputs.items()}
        y = self.op()(*(t for group in tensors.values() for t in group))
        dy = np.random.default_rng(5).standard_normal(y.shape)
        wanted = [t for name in backward for t in tensors[name]]
        gradients = nnmed.grad(y, wanted, nnmed.Tensor(dy), create_graph=create_graph)
        found = iter([gradient.numpy() for gradient in gradients])
        by_name = {name: [next(found) for _ in tensors[name]] for name in backward}
        return y.numpy(), dy, {n: g if n == "arrays" else g[0] for n, g in by_name.items()}

    def readings(self, output, y, dy, gradients):
        """Yield what the symbols of arrays stand for, once or for each row."""
        arrays = {self.symbol(name): array for name, array in self.inputs.items()}
        arrays |= {output: y, rf"\partial {output}": dy}
        arrays |= {rf"\partial {self.symbol(n)}": gradient for n, gradient in gradients.items()}
        for name in arrays:
            view = self.views.get(name.removeprefix(r"\partial "))
            if view is not None:
                arrays[name] = view(arrays[name])
        if not self.rows:
            yield arrays
            return
        for row in range(len(arrays[output])):
            yield {name: _row(array, row) for name, array in arrays.items()}

    def check_reading(self, output, forward, backward, arrays):
        targets = [rf"\partial {self.symbol(name)}" for name in backward]
        stated, claimed = parse(forward), [parse(latex) for latex in backward.values()]
        values = {n: a for n, a in arrays.items() if n not in targets} | self.values
        before = {n: v for n, v in values.items() if n not in (output, rf"\partial {output}")}
        self.check_formula(output, stated, [], before, arrays[output])
        others = [*stated, *itertools.chain(*claimed)]
        for target, equations in zip(targets, claimed):
            self.check_formula(target, equations, others, values, arrays[target])

    def check_formula(self, target, equations, others, values, expected):
        """Check the equations of the target, and what those after them state.

        The other equations only say what further symbols are.
        """
        if not _states(equations[0], target):
            raise FormulaError(f"this is no formula of {target}: {equations[0].operands[0]}")
        definitions = [e for e in (*others, *equations) if _defines(e, {*values, target})]
        scope = Scope(
            values,
            dict(map(definition, definitions)),
            ranges_of([*equations, *others], {**values, target: expected}, self.ranges),
            self.outside,
        )
        main = [equation for equation in equations if _states(equation, target)]
        with np.errstate(all="ignore"):  # of cases that do not apply
            for result in evaluated(main, scope, expected):
                _compare(result, expected)
            for claim in equations:
                if claim not in main and claim not in definitions:
                    everywhere = list(scope.each(scope.free(claim)))
                    assert all(hold([claim], place) for place in everywhere), f"not so: {claim}"
                    if claim.operators == (r"\sim",):
                        _check_frequency(claim, everywhere)


def evaluated(equations, scope, like):
    """Yield the array that the equations make of their right-hand sides.

    Of ``y = a = b`` there are two. Several equations fill one array; what none fills is 0.
    """
    for choice in range(1, max(len(equation.operands) for equation in equations)):
        result = [np.zeros_like(a) for a in like] if isinstance(like, list) else np.zeros_like(like)
        for equation in equations:
            target, side = equation.operands[0], equation.operands[choice]
            if not target.subscripts:
                result = np.broadcast_to(side.value(scope), np.shape(like))
                continue
            for place in scope.each(scope.free(target.subscripts)):
                subscripts = [index.value(place) for index in target.subscripts]
                array, position = located(target.name, result, subscripts)
                if not is_inside(position, array.shape):
                    raise FormulaError(f"{target.name} has no element {position}")
                array[position] = side.value(place)
        yield result


def _check_frequency(claim, everywhere):
    """Check that samples are 1 as often as is claimed, to three standard deviations."""
    samples, chances = (
        np.array([side.value(place) for place in everywhere]) for side in claim.operands
    )
    deviation = np.sqrt((chances * (1 - chances)).sum())
    assert abs(samples.sum() - chances.sum()) <= 3 * deviation, f"not so often: {claim}"


def _tensors(array, has_gradient) -> list:
    arrays = array if isinstance(array, list) else [array]
    return [nnmed.Tensor(a).requires_grad_(has_gradient) for a in arrays]


def _row(array, row: int):
    return [part[row] for part in array] if isinstance(array, list) else array[row]


def _states(equation, target) -> bool:
    return equation.operands[0] is head(equation) and head(equation).name == target


def _defines(equation, known) -> bool:
    """Tell whether an equation says what a symbol is, and not that something holds."""
    return equation.operators[:1] == ("=",) and head(equation).name not in known


def _compare(result, expected):
    pairs = zip(result, expected) if isinstance(expected, list) else [(result, expected)]
    for found, wanted in pairs:
        np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)
