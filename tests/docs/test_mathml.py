"""Formulas of the site: what latex2mathml makes of them, and what it would make wrong."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

pytest.importorskip("sphinx")
mathml = pytest.importorskip("pages.mathml")


def words(latex: str, display: str = "inline") -> str:
    """Return the text of a formula, after parsing it as XML."""
    return "".join(ElementTree.fromstring(mathml.to_mathml(latex, display)).itertext())


@pytest.mark.parametrize(
    ("latex", "expected"),
    [
        (r"\frac{a}{b}", "ab"),
        (r"\sum_{i} x_i", "∑ixi"),
        (r"\arg\max_{k} x_k", "argmaxkxk"),
        (r"\begin{aligned} a &= b \\ c &= d \end{aligned}", "a=bc=d"),
    ],
)
def test_a_formula_becomes_mathml(latex, expected):
    assert words(latex).replace("\N{NO-BREAK SPACE}", "") == expected


def test_a_display_is_a_block():
    assert 'display="block"' in mathml.to_mathml("x", "block")


def test_a_function_without_brackets_keeps_a_distance():
    assert "mspace" in mathml.to_mathml(r"\ln x", "inline")
    assert "mspace" not in mathml.to_mathml(r"\ln(x)", "inline")
    assert "mspace" not in mathml.to_mathml(r"\tanh\left(x\right)", "inline")


def test_signs_are_set_as_tex_does():
    assert mathml.to_mathml("a / b", "inline").count('lspace="0"') == 1
    assert mathml.to_mathml("|x|", "inline").count('lspace="0"') == 2
    assert mathml.to_mathml("y = -x", "inline").count('form="prefix"') == 1
    assert "prefix" not in mathml.to_mathml("(a) - b - c", "inline")
    assert "msup" not in mathml.to_mathml("f'(x)", "inline")


@pytest.mark.parametrize("latex", [r"x^a^b", r"\notacommand x", "a & b"])
def test_a_mistake_is_told(latex):
    with pytest.raises(ValueError, match="formula"):
        mathml.to_mathml(latex, "inline")
