"""Every op states its formulas, and every formula equals the code.

Formulas are data that derivations, the rule sheet and the docs are made of. They are read here as
mathematics, computed with small arrays, and held against forward and backward.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import numpy as np
import pytest

import nnmed.ops
from nnmed.autograd import Op
from nnmed.explain.formula.parser import parse
from nnmed.explain.formula.scope import Scope, definition
from nnmed.explain.formula.spelling import formula_text
from nnmed.explain.formula.terms import FormulaError
from tests.ops.formulas.all_cases import CASES

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
# Ops whose formulas cannot be computed, each with the reason.
WITHOUT_CASE: dict[str, str] = {}

by_name = pytest.mark.parametrize("case", CASES, ids=str)


def test_there_are_ops():
    assert len(OPS) > 80


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


def test_every_op_has_a_case():
    tested = {type(case.op()).__name__ for case in CASES}
    assert {op.__name__ for op in OPS} - tested == set(WITHOUT_CASE)


@by_name
def test_formulas_equal_the_code(case):
    case.check()
    case.check(create_graph=True)


@by_name
def test_a_node_states_its_formulas_with_its_parameters(case):
    forward, backward = case.run().op.latex()
    every = " ".join([forward, *backward.values()])
    assert "reduce" not in every
    assert "ext" not in every.replace(r"\text", "")
    label = str(case)
    if "-mean" in label and "BCE" in label:
        assert r"\frac{1}{n} \sum_i" in forward
    if label.endswith("-none"):
        assert forward.startswith("y_i = ")
        assert "{n}" not in every
    if "-all" in label:
        assert "j" not in every
    if label.startswith("Pad-"):
        assert ("cases" in forward) == ("constant" in label)


@by_name
def test_a_formula_is_written_in_symbols(case):
    forward, backward = case.run().op.latex()
    for latex in (forward, *backward.values()):
        text = formula_text(latex)
        assert "\\" not in text
        assert "nan" not in text
        assert text.count("(") == text.count(")")


@by_name
def test_a_wrong_sign_is_seen(case):
    for name in {"forward", *case.op().backward_latex} & {"forward", *case.inputs}:
        with pytest.raises(AssertionError):
            case.check(name, _negative)


def _negative(formula: str) -> str:
    """Return a formula with the sign of its first term turned."""
    left, right = formula.split(" = ", 1)
    return f"{left} = {right[1:]}" if right.startswith("-") else f"{left} = -{right}"


@pytest.mark.parametrize(
    ("case", "name", "right", "wrong"),
    [
        ("Conv-groups1", "forward", "is+ud-p", "is+ud+p"),
        ("Conv-groups2", "weight", "is+ud-p", "is+u-p"),
        ("ConvTranspose-groups1", "forward", "is+ud-p", "i+ud-p"),
        ("Unfold", "x", "is+ud-p", "is+ud"),
        ("MaxPool2d", "x", "is+ud-p", "is+ud"),
        ("AvgPool2d-padFalse", "x", r"\frac{1}{q_i}", r"\frac{1}{q_u}"),
        ("AdaptiveMaxPool2d", "forward", "(i+1)H", "iH + 1"),
        ("AdaptiveAvgPool2d", "forward", r"\frac{1}{|R_i|}", r"\frac{1}{O_0}"),
        ("BatchNorm", "x", r"\frac{\hat{x}_{nci}}{m}", r"\hat{x}_{nci}"),
        ("GroupNorm", "x", "G_k=G_c", "k=c"),
        ("LayerNorm", "forward", r"(x_{ri} - \mu_r)^2", r"x_{ri}^2"),
        ("Softmax", "x", r"}\, y_k", r"}\, y_c"),
        ("CrossEntropy-mean", "forward", r"\frac{\varepsilon}{C}", r"\varepsilon"),
        ("CrossEntropy-mean", "input", r"\frac{1}{n} ", ""),
        ("Focal-mean", "input", r"\gamma - 1", r"\gamma"),
        ("MSELoss-none", "input", "2 (x_i", "(x_i"),
        ("Einsum-ni,oij,nj->no", "arrays", r"k \ne m", r"k > m"),
        ("MatMul-stack", "forward", "A B", "A B - A B"),
        ("Maximum", "a", "[a = b]", "[a < b]"),
        ("LeakyRelu", "x", "x > 0", "x > 1"),
        ("Relu", "x", "y > 0", r"y \ge 0"),
        ("Gelu", "x", r"\sqrt{2\pi}", r"\sqrt{\pi}"),
        ("Erf", "forward", r"\int_0", r"\int_1"),
        ("Dropout", "forward", "(1-p)", "(p)"),
        ("Dropout", "forward", "(1-p)", "(1-p/2)"),
        ("Selu", "forward", "1.0507", "1.0517"),
        ("Where", "forward", r"\{0, 1\}", r"\{0, 2\}"),
        ("Extremum-max-kept", "x", r"\sum_k [x_{kj} = y_j]", "1"),
        ("Interpolate", "x", "i_a k_a", "k_a i_a"),
        ("Permute", "x", r"i_\pi", "i"),
        ("Concatenate", "arrays", "o_k+i", "o_k+i+1"),
        ("GetItem", "x", "i_k=j", "i_k=j+1"),
        ("Pad-constant-after", "forward", "0 \\le r_i", "0 < r_i"),
    ],
)
def test_a_wrong_factor_index_or_condition_is_seen(case, name, right, wrong):
    (found,) = [c for c in CASES if str(c) == case]

    def change(formula):
        assert right in formula
        return formula.replace(right, wrong)

    with pytest.raises((AssertionError, FormulaError)):
        found.check(name, change)


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        (r"y = 7 - 2 - 1", 4),
        (r"y = -2^2 + 2 \cdot 3", 2),
        (r"y = 8 / 2 / 2", 2),
        (r"y = \frac{1}{2 a}", 0.125),
        (r"y = a^{-1/2}", 0.5),
        (r"y = \sqrt{a} + \sqrt 9", 5),
        (r"y = \sum_i i^2 + 1", 6),
        (r"y = 2 \sum_{i:\,i>0} \sum_j i j", 6),
        (r"y = \prod_{i:\,i \ne 0,\,i<2} 5", 5),
        (r"y = \max_{i,j} (i - j)", 2),
        (r"y = \max(a, 5)", 5),
        (r"y = |-3| + |\{(i, j) : i < 2\}|", 7),
        (r"y = [1 < 2 \le 2] - [2 < 2]", 1),
        (r"y = \begin{cases} 1 & a > 5 \\ b & a = 4 \\ 3 & \text{else} \end{cases}", 2),
        (r"y = \lfloor \tfrac{7}{2} \rfloor \lceil \tfrac{7}{2} \rceil", 12),
        (r"y = \ln e^a + \tanh^2 0", 4),
        (r"y = \int_0^a 3 t^2 \mathrm{d}t", 64),
        (r"y = f_1 + f_b, \quad f_i = 10 i", 30),
        (r"y = \sigma^2, \quad \sigma^2 = a + 5", 9),
        (r"y = x_{1,\,a-3} + x_{0,\,a}", 4),
    ],
)
def test_notation_is_read_as_in_textbooks(formula, value):
    x = np.array([[1, 2], [3, 4]])
    equations = parse(formula)
    definitions = dict(map(definition, equations[1:]))
    scope = Scope({"x": x}, {"a": 4, "b": 2}, definitions, {"i": 3, "j": 2})
    assert equations[0].operands[1].read(scope).value == pytest.approx(value)


@pytest.mark.parametrize(
    "formula", ["y = (1", r"y = \frac{1}{", "y = 1)", "y = +", "y = q", "y = \\sum_q 1", "y = x_0"]
)
def test_what_cannot_be_read_is_an_error(formula):
    scope = Scope({"x": np.zeros((2, 2))}, {}, {}, {})
    with pytest.raises(FormulaError):
        parse(formula)[0].operands[1].read(scope)
