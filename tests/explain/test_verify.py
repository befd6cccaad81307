"""derivation.verify(): every op of nnmed passes, and wrong formulas do not."""

from __future__ import annotations

import functools
import importlib
from pathlib import Path

import numpy as np
import pytest

import nnmed
from nnmed.autograd import Op
from nnmed.explain.verify import check_step
from nnmed.ops.elementwise import Add, Cast, Cos, Exp, Sin
from tests.op_case import OpCase, output_gradient

CALLS = 6  # of one op, with different shapes
OPS = Path(__file__).parents[1] / "ops"


def cases():
    """Yield every case that the tests of the ops declare."""
    for path in sorted(OPS.glob("test_*.py")):
        module = importlib.import_module(f"tests.ops.{path.stem}")
        for value in vars(module).values():
            if isinstance(value, list) and value and isinstance(value[0], OpCase):
                yield from value


def losses(case):
    """Yield a scalar of the case's output, and one of its gradients, whose ops are others."""
    tensors = case.tensors(case.arrays(np.float32))
    y = case.call(tensors)
    if not y.requires_grad:
        return
    weights = nnmed.from_numpy(output_gradient(y.shape, y.dtype)).requires_grad_()
    yield (y * weights).sum()
    if case.second:
        inputs = [t for t in tensors.values() if t is not None and t.requires_grad]
        gradients = nnmed.grad(y, inputs, weights, create_graph=True, allow_unused=True)
        total = sum((g * g).sum() for g in gradients if g is not None)
        if total.requires_grad:
            yield total


@functools.cache
def checked():
    """Return the checks of all ops by name; of calls of one op with the same shapes, one."""
    checks: dict[str, dict] = {}
    for case in cases():
        for loss in losses(case):
            for step in nnmed.explain(loss):
                of_op = checks.setdefault(step.op_name, {})
                shapes = step.shape, *[item.shape for item in step.inputs]
                if shapes not in of_op and len(of_op) < CALLS:
                    of_op[shapes] = str(case), check_step(step)
    return checks


def all_ops():
    """Return the names of the ops of nnmed.ops that can be called."""
    for path in (Path(nnmed.__file__).parent / "ops").glob("*.py"):
        importlib.import_module(f"nnmed.ops.{path.stem}")
    waiting, names = [Op], set()
    while waiting:
        op = waiting.pop()
        waiting += op.__subclasses__()
        if op.__module__.startswith("nnmed.ops.") and op.forward_latex:
            names.add(op.__name__)
    return sorted(names)


ELSEWHERE = {"ToDevice", "Cast"}  # between devices; below


@pytest.mark.parametrize("name", [name for name in all_ops() if name not in ELSEWHERE])
def test_every_op_passes(name):
    assert name in checked(), "no declared case has this op in its graph"
    for case, check in checked()[name].values():
        assert check.verdict == "passed", (case, check)


@pytest.mark.parametrize(("source", "target"), [("float32", "float64"), ("float64", "float32")])
def test_a_cast_passes_in_the_precision_that_it_has(source, target):
    x = nnmed.from_numpy(np.array([0.1, 0.2], source)).requires_grad_()
    derivation = nnmed.explain(Cast(np.dtype(target))(x).sum()).verify()
    assert [step.check.verdict for step in derivation] == ["passed", "passed"]


@pytest.mark.parametrize("function", [nnmed.sin, nnmed.cos, lambda x: nnmed.sin(x * x)])
@pytest.mark.parametrize("shape", [(20,), (200, 200)])  # moved entry by entry, and all at once
@pytest.mark.parametrize("size", [1e3, 1e4])
def test_functions_that_turn_faster_than_x_grows_pass(function, shape, size):
    values = np.random.default_rng(0).uniform(0.5, 1.5, shape) * size
    x = nnmed.from_numpy(values).requires_grad_()
    derivation = nnmed.explain(function(x).sum()).verify()
    assert {step.check.verdict for step in derivation} == {"passed"}


@pytest.mark.parametrize(
    ("op", "function", "size"),
    [
        (Exp, nnmed.exp, 1e-6),
        (Cos, nnmed.cos, 1e-3),
        (Cos, nnmed.cos, 1e-6),
        (Add, lambda x: x + x.detach() * 1e6, 1e-6),
        (Add, lambda x: x + 1e3, 1e-4),
    ],
)
@pytest.mark.parametrize("factor", [0, 1.001, 2, -1])
def test_an_error_is_found_where_y_is_far_larger_than_its_change(
    op, function, size, factor, monkeypatch
):
    def wrong(node, dy):
        gradients = backward(node, dy)
        return gradients * factor if op is not Add else (gradients[0] * factor, gradients[1])

    backward = op.backward
    x = nnmed.from_numpy(np.linspace(0.5, 1.5, 20) * size).requires_grad_()
    assert nnmed.explain(function(x).sum()).verify()[1].check.verdict == "passed"
    monkeypatch.setattr(op, "backward", wrong)
    assert nnmed.explain(function(x).sum()).verify()[1].check.verdict == "failed"


@pytest.mark.parametrize("size", [1, 1e4, 1e6])
@pytest.mark.parametrize("factor", [-1, 1.001])
def test_an_error_in_them_is_found(size, factor, monkeypatch):
    backward = Sin.backward
    monkeypatch.setattr(Sin, "backward", lambda op, dy: backward(op, dy) * factor)
    x = nnmed.from_numpy(np.random.default_rng(0).uniform(0.5, 1.5, 20) * size).requires_grad_()
    check = nnmed.explain(nnmed.sin(x).sum()).verify()[1].check
    assert check.verdict == "failed"
    assert check.value == pytest.approx(factor * check.expected, rel=1e-4)
