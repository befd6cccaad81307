"""The rule sheet has every op, with formulas that can be drawn."""

from __future__ import annotations

import inspect

import pytest

import nnmed.ops.conv
from nnmed.autograd import Op

pytest.importorskip("sphinx")
rules = pytest.importorskip("pages.rules")
mathml = pytest.importorskip("pages.mathml")
OPS = rules.all_ops()


def test_no_op_is_missing_and_none_is_there_twice():
    names = [op.__name__ for op in OPS]
    assert len(names) == len(set(names))
    stated = {
        name
        for op in OPS
        for name, value in vars(inspect.getmodule(op)).items()
        if inspect.isclass(value) and issubclass(value, Op) and value.forward_latex
    }
    assert stated <= set(names)
    assert {"Conv", "Add", "BatchNorm", "CrossEntropy"} <= set(names)


def test_an_entry_has_formulas_docstring_and_place():
    text = rules.entry(nnmed.ops.conv.Conv)
    assert nnmed.ops.conv.Conv.forward_latex in text
    for name, latex in nnmed.ops.conv.Conv.backward_latex.items():
        assert f"**Gradient by** `{name}`\n\n$$\n{latex}\n$$" in text
    assert "Strictly it is a correlation" in text
    line = inspect.getsourcelines(nnmed.ops.conv.Conv)[1]
    assert f"nnmed/ops/conv.py, line {line}" in text


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.__name__)
def test_every_formula_can_be_drawn(op):
    for latex in (op.forward_latex, *op.backward_latex.values()):
        assert mathml.to_mathml(latex, "block").startswith("<math")
