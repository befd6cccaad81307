"""Formulas as text, and the chain rule with the numbers put in."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed import functional as F
from nnmed.autograd import Notation, Op
from nnmed.errors import UsageError
from nnmed.explain.formula.spelling import formula_text


@pytest.mark.parametrize(
    ("latex", "text"),
    [
        (r"\frac{\partial L}{\partial x} = -\frac{\partial L}{\partial y}\, \sin x",
         "dL/dx = -dL/dy * sin(x)"),
        (r"y = \frac{a}{b^2}", "y = a/b^2"),
        (r"\frac{1}{2 y}", "1/(2 * y)"),
        (r"b\, a^{b-1}", "b * a^(b - 1)"),
        (r"\frac{\partial L}{\partial B} = A^{\mathsf{T}}\, \frac{\partial L}{\partial Y}",
         "dL/dB = A.T @ dL/dY"),
        (r"y_{noi} = b_o + \sum_{c,u} w_{ocu}\, x_{nc,\,is+ud-p}",
         "y_noi = b_o + sum_{c,u} w_ocu * x_{nc,is+ud-p}"),
        (r"\begin{cases} x & x > 0 \\ a\, x & x \le 0 \end{cases}",
         "{x if x > 0; a * x if x <= 0}"),
        (r"\hat{x}_{i} \operatorname{sign} x", "xhat_i * sign(x)"),
        (r"\frac{1", r"\frac{1"),
        (r"\dots", r"\dots"),
        (r"y = \frac{1}{0}", "y = 1/0"),
        ("(" * 3000, "(" * 3000),
    ],
)  # fmt: skip
def test_latex_becomes_text(latex, text):
    assert formula_text(latex) == text


def test_the_chain_rule_of_the_first_lesson():
    x, y = nnmed.Tensor(2.0, requires_grad=True), nnmed.Tensor(3.0, requires_grad=True)
    a = x * y
    b = nnmed.sin(x)
    derivation = nnmed.explain(a + b)
    assert derivation.chain_rule("x") == (
        "dL/dx = dL/da * y + dL/db * cos(x) = 1 * 3 + 1 * cos(2) = 2.583853"
    )
    assert derivation.chain_rule("y") == "dL/dy = dL/da * x = 1 * 2 = 2"
    assert derivation.tensor("a").numbers.splitlines() == [
        "a = x * y = 2 * 3 = 6",
        "dL/dx on this path = dL/da * y = 1 * 3 = 3",
        "dL/dy = dL/da * x = 1 * 2 = 2",
    ]


def test_constants_and_parameters_are_put_in():
    x = nnmed.Tensor(-3.0, requires_grad=True)
    square, twice = nnmed.explain((x * 2.0) ** 2)
    assert square.numbers == "L = y1^2 = (-6)^2 = 36\ndL/dy1 = dL/dL * 2 * y1 = " + (
        "1 * 2 * (-6) = -12"
    )
    assert twice.numbers.splitlines()[0] == "y1 = x * 2 = (-3) * 2 = -6"


def test_negative_numbers_stand_in_brackets():
    x = nnmed.Tensor(2.0, requires_grad=True)
    power, product = nnmed.explain((x * -3.0) ** -1)
    assert power.numbers.splitlines()[0] == "L = y1^(-1) = (-6)^(-1) = -0.1666667"
    assert product.numbers.splitlines()[0] == "y1 = x * (-3) = 2 * (-3) = -6"


def test_matrices_and_sums_are_written_out():
    A = nnmed.Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    v = nnmed.Tensor([[1.0], [-1.0]])
    derivation = nnmed.explain((A @ v).sum())
    assert derivation.chain_rule("A") == (
        "dL/dA = dL/dy1 @ B.T = [[1], [1]] @ [[1], [-1]].T = [[1, -1], [1, -1]]"
    )
    product, by_matrix = derivation[1].numbers.splitlines()
    assert product == (
        "y1 = A @ B = [[1, 2], [3, 4]] @ [[1], [-1]] = "
        "[[1 * 1 + 2 * (-1)], [3 * 1 + 4 * (-1)]] = [[-1], [-1]]"
    )
    assert by_matrix.endswith("= [[1 * 1, 1 * (-1)], [1 * 1, 1 * (-1)]] = [[1, -1], [1, -1]]")
    assert derivation[0].numbers == (
        "L = sum_i y1_i = (-1) + (-1) = -2\n"
        "dL/dy1_i = dL/dL = [[1], [1]]"
    )  # fmt: skip


def test_large_arrays_are_left_in_symbols():
    x = nnmed.Tensor([[0.5] * 10], requires_grad=True)
    derivation = nnmed.explain((x * x).sum())
    assert [step.numbers for step in derivation] == ["", ""]
    assert derivation.chain_rule("x") == "dL/dx = dL/dy1 * x + dL/dy1 * x"


def test_a_name_that_the_caller_did_not_give_is_numbered():
    derivation = nnmed.explain(F.relu(nnmed.Tensor(2.0, requires_grad=True)))
    assert derivation.leaves[0].name == "leaf 0"
    assert derivation.chain_rule("leaf 0") == "dL/dleaf 0 = dL/dL * [L > 0] = 1 * [2 > 0] = 1"


def test_an_op_of_ones_own_needs_no_formula():
    class Twice(Op):
        def forward(self, x):
            return x * 2

        def backward(self, dy):
            return dy * 2.0

    x = nnmed.Tensor(2.0, requires_grad=True)
    derivation = nnmed.explain(Twice()(x)).verify()
    assert derivation[0].check.verdict == "passed"
    assert derivation.chain_rule("x") == "dL/dx = ? = 2"


def test_what_the_formula_says_of_a_symbol_is_put_in_for_it():
    x = nnmed.Tensor(1.0, requires_grad=True)
    (step,) = nnmed.explain(F.mish(x))
    assert step.numbers.splitlines()[:2] == [
        "t = tanh(ln(1 + e^x)) = tanh(ln(1 + e^1)) = 0.8650984",
        "L = x * t = 1 * 0.8650984 = 0.8650984",
    ]


def test_an_op_of_ones_own_that_is_called_as_one_of_nnmed_is_its_own():
    class Softmax(Op):
        forward_latex = "y_i = 2 x_i"
        backward_latex = {
            "x": r"\frac{\partial L}{\partial x_i} = 2 \frac{\partial L}{\partial y_i}"
        }

        def forward(self, x):
            return x * 2

        def backward(self, dy):
            return dy * 2.0

    x = nnmed.Tensor([3.0, 4.0], requires_grad=True)
    step = nnmed.explain(Softmax()(x).sum())[1]
    assert step.numbers.splitlines() == [
        "y1_i = 2 * x_i = [2 * 3, 2 * 4] = [6, 8]",
        "dL/dx_i = 2 * dL/dy1_i = [2 * 1, 2 * 1] = [2, 2]",
    ]


def test_numbers_added_and_subtracted_are_written_out():
    x = nnmed.Tensor(2.0, requires_grad=True)
    derivation = nnmed.explain(1.0 - (x + 3.0))
    assert "= 1 - 5 = -4" in derivation[0].numbers
    assert "= 2 + 3 = 5" in derivation[1].numbers


class Shifted(Op):
    """y = 2 x + s, with whatever formulas."""

    def __init__(self, shift):
        self.shift = shift

    def notation(self):
        return Notation({"s": self.shift})

    def forward(self, x):
        return x * 2 + self.shift

    def backward(self, dy):
        return dy * 2.0


def shifted(forward, backward):
    """Return the step of an op of one's own with these formulas, at 3 and 4."""

    class Mine(Shifted):
        forward_latex = forward
        backward_latex = {"x": r"\frac{\partial L}{\partial x} = " + backward}

    x = nnmed.Tensor([3.0, 4.0], requires_grad=True)
    return nnmed.explain(Mine(1.5)(x).sum()).verify()[1]


TWICE = r"2 \frac{\partial L}{\partial y}"


def test_an_op_of_ones_own_says_what_its_symbols_are():
    step = shifted("y = 2 x + s", TWICE)
    assert step.check.verdict == "passed"
    assert step.numbers.splitlines() == [
        "y1 = 2 * x + 1.5 = [2 * 3 + 1.5, 2 * 4 + 1.5] = [7.5, 9.5]",
        "dL/dx = 2 * dL/dy1 = [2 * 1, 2 * 1] = [2, 2]",
    ]


def test_a_false_formula_is_told_from_what_the_code_does():
    step = shifted("y = 3 x + s", r"\frac{\partial L}{\partial y}\, x")
    forward, backward = step.numbers.splitlines()
    numbers = "y1 = 3 * x + 1.5 = [3 * 3 + 1.5, 3 * 4 + 1.5] = [10.5, 13.5]"
    assert forward == f"{numbers}, but the code gives [7.5, 9.5]"
    numbers = "dL/dx = dL/dy1 * x = [1 * 3, 1 * 4] = [3, 4]"
    assert backward == f"{numbers}, but the code gives [2, 2]"
    assert step.notes == [
        "the formula of y gives [10.5, 13.5], the code [7.5, 9.5]",
        "the formula of the gradient of x gives [3, 4], the code [2, 2]",
    ]
    assert step.check.verdict == "failed"
    assert step.check.message.endswith(step.notes[0])


def test_a_false_formula_of_the_gradient_alone_fails_the_check():
    step = shifted("y = 2 x + s", r"3 \frac{\partial L}{\partial y}")
    assert step.check.verdict == "failed"
    assert step.check.message.endswith("x gives [3, 3], the code [2, 2]")


@pytest.mark.parametrize(
    "formula",
    [
        "y = 2 x + q",
        "y = (2 x",
        "y",
        "y_i = 2 x_j + s",
        "y_{ij} = x_{ij}",
        "y = s_i x",
        r"\foo{",
        r"\dots",
        "2 = x",
        "",
        r"y = t, \quad t = t + x",
        "y = |",
        "y = [x",
        "y = x_{",
        r"y = \frac 1",
    ],
)
def test_a_formula_that_cannot_be_read_is_left_in_symbols(formula):
    forward, backward = shifted(formula, TWICE).numbers.splitlines()
    assert forward.endswith("= [7.5, 9.5]")
    assert "3" not in forward
    assert backward.endswith("= [2, 2]")


def test_rounding_makes_no_formula_false():
    x = nnmed.Tensor(np.float32([[1e4], [1e4 + 0.01]]), requires_grad=True)
    y = F.batch_norm(x, None, None, training=True)
    lines = "\n".join(step.numbers for step in nnmed.explain((y * y).sum()))
    assert "xhat_nci" in lines
    assert "but the code" not in lines


def test_the_left_side_has_the_index_of_the_formula():
    x = nnmed.Tensor([[1.0, 2.0]], requires_grad=True)
    (step,) = nnmed.explain((x.T * nnmed.Tensor([[3.0], [4.0]])).sum())["Permute"]
    assert step.numbers.splitlines() == [
        "y2_{i_pi} = x_i = [[1], [2]]",
        "dL/dx_i = dL/dy2_{i_pi} = [[3, 4]]",
    ]


@pytest.mark.parametrize(("forward", "backward"), [(None, {}), ("y = x", None), ("y = x", "dx")])
def test_formulas_of_another_kind_are_named(forward, backward):
    class Odd(Shifted):
        forward_latex, backward_latex = forward, backward

    x = nnmed.Tensor([3.0, 4.0], requires_grad=True)
    with pytest.raises(UsageError, match="Odd: forward_latex must be a string"):
        nnmed.explain(Odd(1.5)(x).sum())


@pytest.mark.parametrize(
    ("formula", "value"), [(r"y = \frac12 x", "[1.5, 2]"), ("y = x^22", "[18, 32]")]
)
def test_without_braces_tex_takes_one_digit(formula, value):
    step = shifted(formula, TWICE)
    assert f"the formula of y gives {value}" in step.notes[0]


def test_where_an_argument_ends_is_not_guessed():
    step = shifted(r"y = \sin 2x", TWICE)
    assert "where does the argument of \\sin end" in step.notes[0]
    assert step.check.verdict == "passed"  # of an op of one's own
