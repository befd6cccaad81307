"""Every op states its formulas; they are data that derivations and docs are made of."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest

import nnmed.ops
from nnmed.autograd import Op

for module in pkgutil.iter_modules(nnmed.ops.__path__):
    importlib.import_module(f"nnmed.ops.{module.name}")


def all_ops(base=Op):
    for op in base.__subclasses__():
        if op.__module__.startswith("nnmed."):
            if op.forward_latex or not op.__subclasses__():  # else a shared base
                yield op
            yield from all_ops(op)


OPS = sorted(set(all_ops()), key=lambda op: op.__name__)
# Inputs that are no numbers to differentiate by: conditions, labels, masks.
CONSTANT_INPUTS = {"condition", "target", "mask", "indices"}


def test_there_are_ops():
    assert len(OPS) > 30


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.__name__)
def test_an_op_states_its_formulas(op):
    assert op.__doc__
    assert "=" in op.__doc__
    assert op.forward_latex
    names = [p.name for p in inspect.signature(op.forward).parameters.values()][1:]
    missing = set(names) - set(op.backward_latex) - CONSTANT_INPUTS
    assert not missing, f"{op.__name__} has no gradient formula for {missing}"
    assert not set(op.backward_latex) - set(names)
    for formula in (op.forward_latex, *op.backward_latex.values()):
        assert formula.count("{") == formula.count("}")
        assert formula.count(r"\left") == formula.count(r"\right")
