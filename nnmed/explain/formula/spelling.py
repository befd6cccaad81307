"""Formulas as text in symbols: with the names of tensors, and parameters put in.

Terms without a value: sums and factors of parameters are done here too, as on paper.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

import numpy as np

from nnmed.explain.formula import nodes
from nnmed.explain.formula.parser import parse
from nnmed.explain.formula.terms import (
    ATOM,
    PRODUCT,
    SUM,
    FormulaError,
    Matrix,
    Term,
    fixed,
    mathematics,
)

_UNKNOWN = np.nan
_WORD = re.compile(r"[A-Za-z]+|\d+")
_SIGNS = {r"\le": "<=", r"\ge": ">=", r"\ne": "!=", r"\in": "in", r"\approx": "~=", r"\sim": "~"}
_PLAIN = {r"\varepsilon": "eps", r"\epsilon": "eps", r"\else": "else"}
_AS_THEY_ARE = {
    r"\lfloor": "floor", r"\lceil": "ceil", r"\reshape": "reshape", r"\Bernoulli": "Bernoulli",
}  # fmt: skip


@functools.cache
def formula_text(latex: str) -> str:
    r"""Return a formula as text that can be typed: ``y = \frac{a}{b}`` is ``y = a/b``.

    Sketches, with ``\dots``, are left out. A formula that cannot be read is returned as it is.
    """
    speller = Speller(plain_name)
    try:
        with mathematics(), np.errstate(all="ignore"):  # 1/0 is text too
            return ", ".join(speller.spell(equation).text for equation in parse(latex)) or latex
    except FormulaError:
        return latex


def plain_name(symbol: str) -> str:
    r"""Return a symbol as text: ``\hat{x}`` as xhat, ``\partial x`` as dL/dx."""
    if symbol.startswith(r"\partial "):
        return "dL/d" + plain_name(symbol.removeprefix(r"\partial "))
    if symbol.startswith(r"\hat"):
        return f"{symbol.removeprefix(chr(92) + 'hat')}hat"
    return _PLAIN.get(symbol, symbol.removeprefix("\\"))


def with_index(name: str, index: str) -> str:
    """Return a name with its index, which stands before a square: ``sigma_c^2``."""
    return f"{name.removesuffix('^2')}{index}^2" if name.endswith("^2") else name + index


class Speller:
    """Writes the parts of formulas.

    Parameters
    ----------
    names : callable
        From a symbol of the formulas to its name, or to a number.
    """

    def __init__(self, names: Callable[[str], str | float]):
        self.names = names

    def equation(self, relation: nodes.Relation) -> str:
        """Return all right sides of an equation."""
        return " = ".join(self.spell(side).text for side in relation.operands[1:])

    def index(self, symbol: nodes.Symbol) -> str:
        """Return the indices of a symbol: ``_noi``, ``_{nc,is+ud-p}``."""
        if not symbol.subscripts:
            return ""
        texts = [_compact(part) for part in symbol.subscripts]
        if all(len(text) == 1 for text in texts) or (len(texts) == 1 and _WORD.fullmatch(texts[0])):
            return "_" + "".join(texts)
        joined = functools.reduce(lambda a, b: a + b if len(a[-1:] + b) == 2 else f"{a},{b}", texts)
        return f"_{{{joined}}}"

    def spell(self, node) -> Term:
        """Return the term of a part, with its text and without a value."""
        return getattr(self, f"_{type(node).__name__.lower()}")(node)

    def _number(self, node) -> Term:
        return fixed(node.number)

    def _symbol(self, node) -> Term:
        name = self.names(node.name)
        if not isinstance(name, str):
            return fixed(name)
        is_matrix = node.name[-1].isupper() and not node.subscripts
        value = np.full((1, 1), _UNKNOWN).view(Matrix) if is_matrix else _UNKNOWN
        return Term(value, with_index(name, self.index(node)))

    def _call(self, node) -> Term:
        arguments = [self.spell(argument) for argument in node.arguments]
        if node.function == "*" and isinstance(node.arguments[0], nodes.Fold):
            arguments[0] = Term(_UNKNOWN, f"({arguments[0].text})")  # what follows is not in it
        if node.function in _AS_THEY_ARE:
            return Term(_UNKNOWN, f"{_AS_THEY_ARE[node.function]}({arguments[0].text})")
        return nodes.FUNCTIONS[node.function](*arguments)

    def _tuple(self, node) -> Term:
        return Term(_UNKNOWN, f"({', '.join(self.spell(item).text for item in node.items)})")

    def _relation(self, node) -> Term:
        first, *others = [self.spell(operand) for operand in node.operands]
        if not others:
            return first
        pairs = zip(node.operators, others)
        text = "".join(f" {_SIGNS.get(sign, sign)} {side.text}" for sign, side in pairs)
        return Term(_UNKNOWN, first.text + text)

    def _setof(self, node) -> Term:
        items = ", ".join(self.spell(item).text for item in node.items)
        return Term(_UNKNOWN, f"{{{items}{self._conditions(node.conditions)}}}")

    def _conditions(self, conditions) -> str:
        texts = [self.spell(condition).text for condition in conditions]
        return f" : {', '.join(texts)}" if texts else ""

    def _fold(self, node) -> Term:
        inside = ",".join(map(plain_name, node.indices))
        if node.source is not None:
            inside += f" in {self.spell(node.source).text}"
        if node.conditions:
            inside += f": {','.join(map(_compact, node.conditions))}"
        below = inside if len(inside) == 1 else f"{{{inside}}}"
        return Term(
            _UNKNOWN, f"{node.kind[1:]}_{below} {self.spell(node.body).within(PRODUCT)}", PRODUCT
        )

    def _cases(self, node) -> Term:
        rows = [
            f"{self.spell(value).text} if {self.spell(condition).text}"
            for value, condition in node.rows
        ]
        return Term(_UNKNOWN, f"{{{'; '.join(rows).replace('if else', 'else')}}}")

    def _integral(self, node) -> Term:
        lower, upper, body = map(self.spell, (node.lower, node.upper, node.body))
        bounds = f"_{lower.within(ATOM)}^{upper.within(ATOM)}"
        text = f"int{bounds} {body.within(PRODUCT)} d{node.variable}"
        return Term(_UNKNOWN, text, SUM)


def _compact(node) -> str:
    """Return indices, or a condition on them, as they stand below: ``is+ud-p=a``."""
    return Speller(plain_name).spell(node).text.replace(" * ", "").replace(" ", "")
