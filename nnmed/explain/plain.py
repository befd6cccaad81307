r"""Formulas as plain text: ``\frac{\partial L}{\partial y}\, \cos x`` is ``dL/dy * cos(x)``."""

from __future__ import annotations

import functools
import re

_TOKEN = re.compile(r"\\[A-Za-z]+\*?|\\.|\d+(?:\.\d+)?|\s+|.")
_FUNCTIONS = {"sin", "cos", "tan", "tanh", "ln", "max", "min", "arg", "sigma", "Phi"}
_PREFIXES = {"sum", "prod", "int", "reduce", "ext"}
_NAMES = {"epsilon": "eps", "varepsilon": "eps", "infty": "inf", "dots": "..."}
_SIGNS = {
    "le": "<=", "ge": ">=", "ne": "!=", "in": "in", "sim": "~", "approx": "~=", "cdot": "*",
    "times": "x", "to": "->", "quad": " ", "atop": ", ", "\\": ";",
}  # fmt: skip
_BRACKETS = {
    "lfloor": "floor(", "rfloor": ")", "lceil": "ceil(", "rceil": ")", "{": "{", "}": "}",
}  # fmt: skip
_LAYOUT = {"left", "right", ",", "!", ";"}
_OPERAND, _FUNCTION, _PREFIX, _OPEN, _CLOSE, _SIGN = range(6)
_MATRIX = re.compile(r"^(dL/d)?[ABXYW]$|\.T$")
_FACTOR = re.compile(r"[^ /]+|\w*\([^()]*\)")


@functools.cache
def plain(latex: str) -> str:
    """Return a formula of the ops as text that can be typed, products written out.

    One that ends too early is returned as it is.
    """
    try:
        return _Reader(latex).formula()
    except IndexError:
        return latex


class _Reader:
    """Reads LaTeX from left to right, in parts: a text and its kind.

    The kinds say what stands between two parts. An operand after a function is its argument; a
    prefix is a sum and the like; a sign is all that is not multiplied.
    """

    def __init__(self, latex: str):
        self.tokens = _TOKEN.findall(latex)
        self.at = 0

    def formula(self, end: str = "") -> str:
        """Read up to the token `end`."""
        parts: list[tuple[str, int]] = []
        while self.at < len(self.tokens) and self.tokens[self.at] != end:
            part = self.part()
            if part is not None:
                self.append(parts, *part)
        self.at += 1
        text = re.sub(r" +", " ", "".join([text for text, _ in parts])).strip()
        return text.replace("if else", "else").replace(" ;", ";")

    def append(self, parts, text, kind) -> None:
        """Add a part, with what stands between it and the one before."""
        before, kind_before = parts[-1] if parts else ("", _SIGN)
        if text == " - " and kind_before not in (_OPERAND, _CLOSE) and before != "|":
            text = "-"
        if kind_before == _FUNCTION and kind == _OPERAND:
            parts[-1] = f"{before}({text})", _OPERAND
            return
        if kind_before in (_OPERAND, _CLOSE) and kind not in (_CLOSE, _SIGN):
            matrices = _MATRIX.search(before) and _MATRIX.search(text)
            parts.append((" @ " if matrices else " * ", _SIGN))
        elif kind_before in (_FUNCTION, _PREFIX) and kind != _OPEN:
            parts.append((" ", _SIGN))
        parts.append((text, kind))

    def part(self):
        """Read one part with its exponent and index; None for what is only layout."""
        token = self.tokens[self.at]
        self.at += 1
        if token.isspace() or token[1:] in _LAYOUT:
            return None
        text, kind = self.command(token[1:]) if token[0] == "\\" else self.character(token)
        while self.at < len(self.tokens) and self.tokens[self.at] in ("^", "_"):
            text += self.script()
        return text, kind

    def character(self, token):
        """Read a part that begins with a character."""
        if token == "{":
            return self.formula("}"), _OPERAND
        if token in "([":
            return token, _OPEN
        if token in ")]":
            return token, _CLOSE
        if token.isalnum() or "." in token:
            return token, _OPERAND
        if token == "&":
            return " if ", _SIGN
        return {",": ", ", "|": "|", "/": "/"}.get(token, f" {token} "), _SIGN

    def command(self, name: str):
        """Read a part that begins with a command, with its arguments."""
        if name in ("frac", "tfrac"):
            above, below = (_factor(self.group()) for _ in range(2))
            return f"{above}/{below}", _OPERAND
        if name == "partial":
            return "d" + self.group(), _OPERAND
        if name == "sqrt":
            return f"sqrt({self.group()})", _OPERAND
        if name.startswith("operatorname"):
            name = self.raw()
            return name, _PREFIX if name in _PREFIXES else _FUNCTION
        if name == "hat":
            return f"{self.raw()}hat", _OPERAND
        if name in ("text", "mathsf", "mathrm"):
            return f" {self.raw()} ", _SIGN
        if name in ("begin", "end"):
            self.raw()
            return ("{", _OPEN) if name == "begin" else ("}", _CLOSE)
        if name in _BRACKETS:
            return _BRACKETS[name], _CLOSE if _BRACKETS[name] in ")}" else _OPEN
        if name in _SIGNS:
            return f" {_SIGNS[name]} ", _SIGN
        kind = _FUNCTION if name in _FUNCTIONS else _PREFIX if name in _PREFIXES else _OPERAND
        return _NAMES.get(name, name), kind

    def script(self) -> str:
        """Read an exponent or an index."""
        self.at += 1
        if self.tokens[self.at - 1] == "_":
            index = self.raw()
            return f"_{index}" if index.isalnum() else f"_{{{index}}}"
        exponent = self.group()
        if exponent == "T":
            return ".T"
        return f"^{exponent}" if exponent.isalnum() or exponent[0] == "(" else f"^({exponent})"

    def group(self) -> str:
        """Read one argument, in braces or of one part."""
        self.skip_space()
        if self.tokens[self.at] != "{":
            digits = self.tokens[self.at]
            if digits.isdigit() and len(digits) > 1:  # TeX takes one
                self.tokens[self.at : self.at + 1] = digits[0], digits[1:]
            while (part := self.part()) is None:
                pass
            return part[0].strip()
        self.at += 1
        return self.formula("}")

    def raw(self) -> str:
        """Read one argument in which letters side by side are no product, such as an index."""
        self.skip_space()
        depth, text = 0, ""
        while True:
            token = self.tokens[self.at]
            self.at += 1
            depth += (token == "{") - (token == "}")
            if token not in ("{", "}", r"\,", r"\text", r"\mathsf"):
                name = token.lstrip("\\")
                text += _SIGNS.get(name, _NAMES.get(name, name)) if token[0] == "\\" else token
            if depth == 0:
                return text.strip()

    def skip_space(self) -> None:
        """Go to the next token that is not blank."""
        while self.tokens[self.at].isspace():
            self.at += 1


def _factor(text: str) -> str:
    """Return a numerator or denominator, in brackets unless it is one factor."""
    return text if _FACTOR.fullmatch(text) else f"({text})"
