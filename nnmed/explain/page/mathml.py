"""Formulas as MathML, which browsers draw by themselves."""

from __future__ import annotations

import re

from latex2mathml.converter import convert

# What latex2mathml does not know, in words that it does.
REPLACEMENTS = {
    r"\arg\max": r"\operatorname{arg\,max}",
    r"\arg\min": r"\operatorname{arg\,min}",
    r"{aligned}": r"{align*}",
}
# TeX leaves a thin space between a function and its argument, if that has no brackets.
BARE_FUNCTION = re.compile(r"\\(arccos|cos|exp|ln|log|sin|tan|tanh)\b(?!\s*(?:[(^_]|\\left|\\big))")
# How TeX would set what browsers set otherwise, as patterns of MathML and what replaces them.
SPACING = [
    # No space beside a slash or a bar.
    (r"<mo([^>]*)>(/|&#x0002F;|&#x0007C;)</mo>", r'<mo\1 lspace="0" rspace="0">\2</mo>'),
    # After another sign that closes nothing, a minus is a sign of what follows.
    (
        r"(<mo[^>]*>(?!&#x00029;|&#x0005D;|&#x0007D;|&#x0007C;)[^<]*</mo>)<mo>&#x02212;</mo>",
        r'\1<mo form="prefix">&#x02212;</mo>',
    ),
    # A prime is raised by its font already.
    (
        r"<msup>(<mi>[^<]*</mi>)<mi>(&#x0203[234];)</mi></msup>",
        r'<mrow>\1<mo lspace="0" rspace="0">\2</mo></mrow>',
    ),
]


def to_mathml(latex: str, display: str) -> str:
    """Return a formula as a ``math`` element.

    Parameters
    ----------
    latex : str
    display : {"inline", "block"}

    Raises
    ------
    ValueError
        If the formula has a mistake or a command that latex2mathml does not know.
    """
    for unknown, known in REPLACEMENTS.items():
        latex = latex.replace(unknown, known)
    latex = BARE_FUNCTION.sub(r"\\\1\\,", latex)
    try:
        mathml = convert(latex, display=display)
    except Exception as error:  # each mistake is a class of its own, without a common base
        raise ValueError(f"{type(error).__name__} in the formula {latex}") from error
    if left := re.search(r">(\\\w+|&(?=<))", mathml):  # latex2mathml passes it on as text
        raise ValueError(f"{left[1]} is unknown in the formula {latex}")
    for pattern, replacement in SPACING:
        mathml = re.sub(pattern, replacement, mathml)
    return mathml
