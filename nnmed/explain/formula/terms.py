"""Numbers that remember how they came about: the arithmetic of formulas, in values and in text.

What is known before any number of an array is put in, such as an index, a condition on indices
or a parameter, is *fixed*: sums of it are done and not written, factors of 1 and terms of 0 left
out, as one does on paper.
"""

from __future__ import annotations

import contextlib
import functools
import math
import operator

import numpy as np

from nnmed.explain.numerals import number_text

_NO_MATHEMATICS = (
    ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError,
)  # fmt: skip
# How tightly a text holds together: what is looser than its surroundings gets brackets.
ALONE, SUM, PRODUCT, POWER, ATOM = range(5)  # a negative number gets them in every formula


class FormulaError(Exception):
    """A formula cannot be read, or says nothing that could be computed."""


@contextlib.contextmanager
def mathematics():
    """Raise FormulaError for what is none, such as an index where no array is."""
    try:
        yield
    except _NO_MATHEMATICS as error:
        raise FormulaError(f"the formula says nothing: {error}") from error


class Matrix(np.ndarray):
    """A stack of matrices, whose product is that of matrices."""

    def __mul__(self, other):
        return self @ other if isinstance(other, Matrix) else super().__mul__(other)


class Term:
    """A number (or matrix, position, set, truth), and how it is written.

    Without a text it is written as the number that it is.
    """

    def __init__(self, value, text: str = "", level: int = ATOM, is_fixed: bool = False):
        self.value, self.is_fixed = value, is_fixed
        self._text, self._level = text, level

    @property
    def text(self) -> str:
        """What stands on paper."""
        return self._text or number_text(self.value)

    @property
    def level(self) -> int:
        """How tightly the text holds together."""
        if self._text:
            return self._level
        return ALONE if self.text[0] == "-" else POWER if "e" in self.text else ATOM

    def is_(self, number) -> bool:
        """Tell whether this is fixed, and that number."""
        return self.is_fixed and np.ndim(self.value) == 0 and self.value == number

    def within(self, level: int) -> str:
        """Return the text, in brackets if it is looser than its surroundings."""
        return self.text if self.level >= level else f"({self.text})"

    # Of arrays of terms the products are NumPy's.

    def __add__(self, other: Term) -> Term:
        return add(self, other)

    def __sub__(self, other: Term) -> Term:
        return subtract(self, other)

    def __neg__(self) -> Term:
        return negative(self)

    def __mul__(self, other: Term) -> Term:
        return multiply(self, other)


def fixed(value) -> Term:
    """Return what is known beforehand."""
    return Term(value, is_fixed=True)


ZERO, ONE = fixed(0), fixed(1)


def _done_if_fixed(compute):
    """Let an operation on terms be computed, and not written, if all of them are fixed."""

    def decorate(write):
        @functools.wraps(write)
        def operation(*terms):
            if all(term.is_fixed for term in terms):
                value = compute(*[term.value for term in terms])
                if np.all(np.isfinite(value)):
                    return fixed(value)
            return write(*terms)

        return operation

    return decorate


def _power(a, b):
    # A float, since NumPy refuses a negative power of integers.
    return np.asarray(a, np.float64)[()] ** b


@_done_if_fixed(operator.add)
def add(a: Term, b: Term) -> Term:
    """Return a + b."""
    if a.is_(0) or b.is_(0):
        return b if a.is_(0) else a
    right = b.within(SUM)
    text = f" - {right[1:]}" if right[0] == "-" else f" + {right}"
    return Term(a.value + b.value, a.within(SUM) + text, SUM)


@_done_if_fixed(operator.sub)
def subtract(a: Term, b: Term) -> Term:
    """Return a - b."""
    if a.is_(0) or b.is_(0):
        return negative(b) if a.is_(0) else a
    return Term(a.value - b.value, f"{a.within(SUM)} - {b.within(PRODUCT)}", SUM)


@_done_if_fixed(operator.neg)
def negative(a: Term) -> Term:
    """Return -a, of 0 no other 0."""
    if np.ndim(a.value) == 0 and a.value == 0 and not a._text:
        return Term(0.0)
    return Term(-a.value, f"-{a.within(PRODUCT)}", SUM)


@_done_if_fixed(operator.mul)
def multiply(a: Term, b: Term) -> Term:
    """Return a b."""
    if (a.is_(0) or b.is_(0)) and np.all(np.isfinite(a.value) & np.isfinite(b.value)):
        return ZERO
    if a.is_(1) or b.is_(1):
        return b if a.is_(1) else a
    are_matrices = isinstance(a.value, Matrix) and isinstance(b.value, Matrix)
    sign = "@" if are_matrices else "*"
    return Term(a.value * b.value, f"{a.within(PRODUCT)} {sign} {b.within(PRODUCT)}", PRODUCT)


def divide(a: Term, b: Term) -> Term:
    """Return a / b."""
    if a.is_(0) or b.is_(1):
        return a
    value = np.true_divide(a.value, b.value)
    are_fixed = a.is_fixed and b.is_fixed
    if are_fixed and (np.ndim(value) or float(value).is_integer()):
        return fixed(value)
    return Term(value, f"{a.within(POWER)}/{b.within(POWER)}", PRODUCT, are_fixed)


@_done_if_fixed(_power)
def power(a: Term, b: Term) -> Term:
    """Return a to the power b."""
    if b.is_(0) or b.is_(1):
        return a if b.is_(1) else ONE
    return Term(_power(a.value, b.value), f"{a.within(ATOM)}^{b.within(ATOM)}", POWER)


def transpose(a: Term) -> Term:
    """Return the transpose of matrices."""
    return Term(a.value.swapaxes(-1, -2), f"{a.within(ATOM)}.T")


def truth(condition: Term) -> Term:
    """Return 1 where a condition holds, else 0."""
    value = condition.value * 1
    return fixed(value) if condition.is_fixed else Term(value * 1.0, f"[{condition.text}]")


def size(a: Term) -> Term:
    """Return how many elements a set has, or the absolute value of a number."""
    if isinstance(a.value, list):
        return fixed(len(a.value))
    return fixed(abs(a.value)) if a.is_fixed else Term(np.abs(a.value), f"|{a.text}|")


def extremum(name: str, *terms: Term) -> Term:
    """Return the largest or smallest of some terms; infinity says nothing beside others."""
    if not terms:
        raise FormulaError(f"a {name} of nothing")
    choose, least = (np.maximum, -math.inf) if name == "max" else (np.minimum, math.inf)
    terms = [term for term in terms if not term.is_(least)] or terms[:1]
    value = functools.reduce(choose, [term.value for term in terms])
    return terms[0] if len(terms) == 1 else Term(value, f"{name}({_listed(terms)})")


def call(name: str, function, *terms: Term) -> Term:
    """Return a function of terms."""
    return Term(function(*[term.value for term in terms]), f"{name}({_listed(terms)})")


def _listed(terms) -> str:
    return ", ".join(term.text for term in terms)
