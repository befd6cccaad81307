r"""From LaTeX to a tree: a scanner, and a parser by recursive descent.

Of textbook notation this much is understood::

    formula     equation, \quad equation, ...      the first is the formula, the others say what
                                                   its symbols are; one with \dots is a sketch,
                                                   and is left out
    equation    sum = sum = ...                    or with < > \le \ge \ne \in \approx \sim
    sum         product + product - ...
    product     factor factor / factor ...         \sum, \prod, \max, ... take all that follows
    factor      atom^exponent
    subscripts  x_{nc,\,is+ud-p}                   letters side by side are several indices;
                x^{(k)}_i                          index k, then i
"""

from __future__ import annotations

import functools
import re

from nnmed.explain.formula.nodes import (
    FUNCTIONS,
    RELATIONS,
    Call,
    Cases,
    Fold,
    Integral,
    Number,
    Relation,
    SetOf,
    Symbol,
    Tuple,
)
from nnmed.explain.formula.terms import FormulaError

# What only matters to the eye goes, and a command with its argument becomes one token.
REWRITES = [
    (r"\\(left|right|cdot)(?![A-Za-z])|\\[,;!]", " "),
    (r"\\(operatorname\*?|text)\{\s*(\w+)\s*\}", r"\\\2 "),
    (r"\\hat\{(\w)\}", r"\\hat\1 "),
    (r"\\mathsf\{T\}", r"\\T "),
    (r"\\mathrm\{d\}", r"\\d "),
    (r"\\arg\\max", r"\\argmax "),
    (r"\\(begin|end)\{cases\}", r"\\\1cases "),
    (r"\\tfrac", r"\\frac"),
]
TOKEN = re.compile(r"\\[A-Za-z]+|\\[\\{}]|\d+(?:\.\d+)?|[A-Za-z]|\S")
FOLD_NAMES = {r"\sum", r"\prod", r"\max", r"\min", r"\argmax"}  # what takes indices below
CLOSING = {"", ")", "]", "}", r"\}", ",", ":", "&", r"\\", r"\endcases", r"\rfloor", r"\rceil"}
NO_FACTOR = CLOSING | set(RELATIONS) | {"+", "-", "/", r"\d"}
NAMES = {name for name in FUNCTIONS if name[0] == "\\"} - {r"\lfloor", r"\lceil"}
# Functions before a parenthesis only: a sigma may be a standard deviation, for example.
AMBIGUOUS = {r"\sigma", r"\Phi", r"\max", r"\min"}


@functools.cache
def parse(latex: str) -> tuple[Relation, ...]:
    """Return the equations of a formula.

    Raises
    ------
    FormulaError
        Where the notation is none of the above.
    """
    return tuple([Parser(part).whole() for part in split(latex) if r"\dots" not in part])


def split(latex: str) -> list[str]:
    """Return the LaTeX of each equation of a formula."""
    return re.split(r",\s*\\quad\s*", latex)


class Parser:
    """Reads one equation."""

    def __init__(self, latex: str):
        text = latex
        for pattern, replacement in REWRITES:
            text = re.sub(pattern, replacement, text)
        self.latex, self.tokens, self.place = latex, TOKEN.findall(text), 0
        self.in_bars = False  # whether | ends something

    # -- tokens ----------------------------------------------------------------------

    def peek(self, ahead: int = 0) -> str:
        place = self.place + ahead
        return self.tokens[place] if place < len(self.tokens) else ""

    def next(self) -> str:
        self.place += 1
        return self.peek(-1)

    def take(self, *expected: str) -> bool:
        """Go past the expected tokens if they come next."""
        found = all(self.peek(i) == token for i, token in enumerate(expected))
        self.place += len(expected) * found
        return found

    def expect(self, token: str) -> None:
        if not self.take(token):
            rest = " ".join(self.tokens[self.place :]) or "the end"
            raise FormulaError(f"expected {token!r} before {rest!r} in {self.latex}")

    # -- from large to small -----------------------------------------------------------

    def whole(self) -> Relation:
        relation = self.relation()
        if self.peek():
            self.expect("the end")
        return relation

    def relation(self) -> Relation:
        operands, operators = [self.sum()], []
        while self.peek() in RELATIONS:
            operators.append(self.next())
            operands.append(self.sum())
        return Relation(tuple(operands), tuple(operators))

    def sum(self):
        if self.take("-"):
            return self.more_of_sum(Call("negative", (self.product(),)))
        return self.more_of_sum(self.product())

    def more_of_sum(self, left):
        while self.peek() in ("+", "-"):
            left = Call(self.next(), (left, self.product()))
        return left

    def product(self):
        return multiplied(self.factors())

    def factors(self) -> list:
        factors = [self.factor()]
        while not isinstance(factors[-1], Fold):  # its body is all that follows
            if self.take("/"):
                factors[-1] = Call("/", (factors[-1], self.factor()))
            elif self.peek() in NO_FACTOR or (self.peek() == "|" and self.in_bars):
                break
            else:
                factors.append(self.factor())
        return factors

    def factor(self):
        return self.power(self.atom())

    def power(self, base):
        if not self.take("^"):
            return base
        if self.take("{", r"\T", "}"):
            return Call("transpose", (base,))
        return Call("^", (base, self.argument()))

    def argument(self):
        """Read what is in braces, or a single letter or digit without."""
        if not self.take("{"):
            digits = self.peek()
            if digits.isdigit() and len(digits) > 1:
                self.tokens[self.place : self.place + 1] = digits[0], digits[1:]
            return self.letter_or_number()
        inside = self.sum()
        self.expect("}")
        return inside

    def letter_or_number(self):
        token = self.next()
        if token[:1].isdigit():
            return Number(float(token) if "." in token else int(token))
        if not re.fullmatch(r"[A-Za-z]|\\[A-Za-z]+", token):
            raise FormulaError(f"{token!r} is no symbol, in {self.latex}")
        return Symbol(token)

    def atom(self):
        token = self.peek()
        if token in FOLD_NAMES and self.peek(1) == "_":
            return self.fold()
        if token in NAMES and (token not in AMBIGUOUS or self.peek(1) == "("):
            return self.function()
        opening = {
            "(": self.parenthesis,
            "|": self.bars,
            "[": lambda: self.enclosed("[]", "]", self.relation),
            r"\lfloor": lambda: self.enclosed(r"\lfloor", r"\rfloor", self.sum),
            r"\lceil": lambda: self.enclosed(r"\lceil", r"\rceil", self.sum),
            r"\{": self.set_of,
            r"\frac": self.fraction,
            r"\begincases": self.cases,
            r"\int": self.integral,
        }
        if token in opening:
            self.next()
            return opening[token]()
        atom = self.letter_or_number()
        return atom if isinstance(atom, Number) else self.subscripted(atom)

    # -- atoms -------------------------------------------------------------------------

    def enclosed(self, name, closing, inside):
        content = inside()
        self.expect(closing)
        return Call(name, (content,))

    def parenthesis(self):
        items = self.listed(self.sum)
        self.expect(")")
        return items[0] if len(items) == 1 else Tuple(items)

    def listed(self, read) -> tuple:
        items = [read()]
        while self.take(","):
            items.append(read())
        return tuple(items)

    def bars(self):
        outer, self.in_bars = self.in_bars, True
        content = self.enclosed("|", "|", self.sum)
        self.in_bars = outer
        return content

    def set_of(self):
        items = self.listed(self.sum)
        conditions = self.listed(self.relation) if self.take(":") else ()
        self.expect(r"\}")
        return SetOf(items, conditions)

    def fraction(self):
        if self.take("{", r"\partial", "L", "}", "{", r"\partial"):
            symbol = self.subscripted(self.letter_or_number())
            self.expect("}")
            return Symbol(rf"\partial {symbol.name}", symbol.subscripts)
        return Call("/", (self.argument(), self.argument()))

    def cases(self):
        rows = []
        while not self.take(r"\endcases"):
            value = self.sum()
            self.expect("&")
            rows.append((value, self.relation()))
            self.take(r"\\")
        return Cases(tuple(rows))

    def integral(self):
        self.expect("_")
        lower = self.argument()
        self.expect("^")
        upper = self.argument()
        body = self.product()
        self.expect(r"\d")
        return Integral(lower, upper, body, self.next())

    def function(self):
        """Read ``\\ln x``, ``\\max(a, b)``, ``\\tanh^2 x`` or ``\\sqrt{x}``."""
        name = self.next()
        exponent = self.argument() if self.take("^") else None
        if name == r"\sqrt":
            return Call(name, (self.argument(),))
        arguments = (self.factor(),) if self.peek() != "(" else self.arguments()
        if isinstance(arguments[0], Number) and self.peek() not in NO_FACTOR:
            raise FormulaError(f"where does the argument of {name} end, in {self.latex}?")
        call = Call(name, arguments)
        return call if exponent is None else Call("^", (call, exponent))

    def arguments(self) -> tuple:
        self.expect("(")
        arguments = self.listed(self.sum)
        self.expect(")")
        return arguments

    def fold(self):
        """Read ``\\sum_{(i,u):\\,is+ud-p=a} ...`` or ``\\max_{(a,b) \\in R_{ij}} ...``."""
        kind = self.next()
        self.expect("_")
        braces = self.take("{")
        indices = []
        while self.peek() not in ("}", ":", r"\in") and (braces or not indices):
            token = self.next()
            indices += [] if token in ("(", ")", ",") else [token]
        source = self.sum() if self.take(r"\in") else None
        conditions = self.listed(self.relation) if self.take(":") else ()
        if braces:
            self.expect("}")
        return Fold(kind, tuple(indices), source, conditions, self.product())

    def subscripted(self, symbol: Symbol) -> Symbol:
        indices = []
        if self.take("^", "{", "("):
            indices.append(self.sum())
            self.expect(")")
            self.expect("}")
        if self.take("_"):
            if self.take("{"):
                indices += self.subscripts()
            else:
                indices.append(self.letter_or_number())
        return Symbol(symbol.name, tuple(indices))

    def subscripts(self) -> list:
        indices = []
        while not self.take("}"):
            factors = self.factors()
            if self.peek() in ("+", "-"):
                indices.append(self.more_of_sum(multiplied(factors)))
            else:
                for factor in factors:
                    indices += factor.items if isinstance(factor, Tuple) else [factor]
            self.take(",")
        return indices


def multiplied(factors):
    """Return the product of factors, from left to right."""
    result, *others = factors
    for factor in others:
        result = Call("*", (result, factor))
    return result
