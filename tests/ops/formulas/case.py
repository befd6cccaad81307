"""One op, its formulas, and what the formulas must agree with: forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

import nnmed
from nnmed.autograd import Op
from nnmed.explain.formula.nodes import hold
from nnmed.explain.formula.parser import parse, split
from nnmed.explain.formula.reading import Reading
from nnmed.explain.formula.scope import head


@dataclass
class Case:
    """An op, and what it is put to.

    Attributes
    ----------
    op
        Makes the op; an op is one node of a graph, so each run needs its own.
    inputs
        Name of forward's argument to an array, in order; ``arrays`` to a list of them.
    label
        Tells two cases of one op apart.
    """

    op: Callable[[], Op]
    inputs: dict
    label: str = ""

    def __str__(self):
        return "-".join(part for part in (type(self.op()).__name__, self.label) if part)

    def run(self) -> SimpleNamespace:
        """Return the op that has run, its tensors by name, its output, and a gradient for that."""
        op = self.op()
        tensors = {
            name: [
                nnmed.Tensor(array).requires_grad_(name in op.backward_latex)
                for array in (arrays if isinstance(arrays, list) else [arrays])
            ]
            for name, arrays in self.inputs.items()
        }
        y = op(*(tensor for group in tensors.values() for tensor in group))
        dy = np.random.default_rng(5).standard_normal(y.shape)
        return SimpleNamespace(op=op, tensors=tensors, y=y, dy=dy)

    def check(self, changed: str = "", change=None, create_graph: bool = False) -> None:
        """Raise AssertionError where formulas and code disagree.

        Parameters
        ----------
        changed
            ``"forward"``, or the name of the input, whose formula is replaced by `change` of it.
        create_graph
            Whether to compare with the recorded gradients, instead of the fused ones.
        """
        ran = self.run()
        forward, backward = ran.op.latex()
        if changed == "forward":
            forward = change(forward)
        elif changed:
            backward = {**backward, changed: change(backward[changed])}
        reading = Reading(ran.op, self.inputs, ran.y.numpy(), ran.dy, forward, backward)
        names = [name for name in self.inputs if name in reading.backward_latex]
        wanted = [tensor for name in names for tensor in ran.tensors[name]]
        gradients = nnmed.grad(
            ran.y, wanted, nnmed.Tensor(ran.dy), retain_graph=True, create_graph=create_graph
        )
        with np.errstate(all="ignore"):  # of cases that do not apply
            for side in _sides(reading.forward_latex):
                _compare(reading.forward(side)[-1].value, ran.y.numpy())
            found = iter(gradients)
            for name in names:
                first = list(self.inputs).index(name)
                for position in range(len(ran.tensors[name])):
                    expected = next(found).numpy()
                    for side in _sides(reading.backward_latex[name]):
                        written = reading.backward(name, first + position, side)
                        _compare(written[-1].value, expected)
            _check_claims(reading, ran)


def _sides(latex: str) -> range:
    """Return the numbers of the right sides of a formula: of ``y = a = b`` there are two."""
    return range(1, len(parse(split(latex)[0])[0].operands))


def _compare(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def _check_claims(reading: Reading, ran) -> None:
    """Check what a forward formula states beside what the output is."""
    latex = reading.forward_latex
    arrays = {name: reading.viewed(name, array) for name, array in reading.before.items()}
    numbers = reading.viewed(reading.target, ran.y.numpy())
    for equation in parse(latex)[1:]:
        scope = reading.scope(reading.target, (latex,), arrays, numbers)
        if head(equation).name in (reading.target, *scope.definitions):
            continue
        everywhere = list(scope.each(scope.free(equation)))
        assert all(hold([equation], place) for place in everywhere), f"not so: {equation}"
        if equation.operators == (r"\sim",):
            _check_frequency(equation, everywhere)


def _check_frequency(claim, everywhere):
    """Check that samples are 1 as often as is claimed, to three standard deviations."""
    samples, chances = (
        np.array([side.read(place).value for place in everywhere]) for side in claim.operands
    )
    deviation = np.sqrt((chances * (1 - chances)).sum())
    assert abs(samples.sum() - chances.sum()) <= 3 * deviation, f"not so often: {claim}"
