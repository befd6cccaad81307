"""Reads what ``explain`` writes out in numbers, and does the sums."""

from __future__ import annotations

import ast
import functools
import itertools
import math
import operator
import re

import numpy as np

OPERATORS = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.power,
    ast.MatMult: operator.matmul,
}
COMPARISONS = {
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
}
erf = np.vectorize(math.erf, otypes=[float])
FUNCTIONS = {
    "abs": np.abs,
    "cos": np.cos,
    "erf": erf,
    "ln": np.log,
    "max": lambda *values: functools.reduce(np.maximum, values),
    "min": lambda *values: functools.reduce(np.minimum, values),
    "sigma": lambda x: 1 / (1 + np.exp(-x)),
    "sign": np.sign,
    "sin": np.sin,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
    "tanh_ln": lambda x: np.tanh(np.log(x)),
    "tanh_squared": lambda x: np.tanh(x) ** 2,
    "Phi": lambda x: (1 + erf(x / math.sqrt(2))) / 2,
    "cases": lambda *rows: np.select(rows[1::2], rows[::2]),
}
CONSTANTS = {"e": math.e, "pi": math.pi, "inf": math.inf, "otherwise": True}
# How a function is written on paper, and how it is called here.
REWRITES = [
    (r"tanh ln\(", "tanh_ln("),
    (r"tanh\^2\(", "tanh_squared("),
    (r"\|([^|]*)\|", r"abs(\1)"),
    (r"\{([^{}]*)\}", lambda match: f"cases({_rows(match[1])})"),
    (r"\^", "**"),
]


def value(text: str):
    """Return the number or array that an expression is.

    Raises KeyError or SyntaxError for what is not an expression in numbers.
    """
    for pattern, replacement in REWRITES:
        text = re.sub(pattern, replacement, text)
    with np.errstate(all="ignore"):  # of cases that do not apply
        return _value(ast.parse(text.strip(), mode="eval").body)


def _rows(text: str) -> str:
    """Return ``a if b; c else`` as arguments: values and their conditions."""
    rows = [row.replace(" else ", " if otherwise") for row in text.split(";")]
    return ", ".join(f"({part})" for row in rows for part in row.split(" if "))


def _value(node):
    match node:
        case ast.Constant():
            return float(node.value)
        case ast.Name():
            return CONSTANTS[node.id]
        case ast.UnaryOp(op=ast.USub()):
            return -_value(node.operand)
        case ast.BinOp():
            return OPERATORS[type(node.op)](_value(node.left), _value(node.right))
        case ast.Call():
            return FUNCTIONS[node.func.id](*map(_value, node.args))
        case ast.Attribute(attr="T"):
            return np.swapaxes(_value(node.value), -1, -2)
        case ast.List(elts=[ast.Compare() as condition]):  # 1 where it holds
            return np.multiply(_value(condition), 1.0)
        case ast.List():
            return np.array(list(map(_value, node.elts)))
        case ast.Compare():
            sides = [*map(_value, [node.left, *node.comparators])]
            signs = [COMPARISONS[type(sign)] for sign in node.ops]
            holds = (sign(*pair) for sign, pair in zip(signs, itertools.pairwise(sides)))
            return functools.reduce(np.logical_and, holds)
    raise KeyError(type(node).__name__)
