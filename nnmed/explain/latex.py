r"""A derivation as a LaTeX document, for pdflatex with amsmath."""

from __future__ import annotations

import re

from nnmed.explain import table

_DOCUMENT = r"""\documentclass{article}
\usepackage{amsmath}
\usepackage[margin=2.5cm]{geometry}
\begin{document}
\section*{Derivation}
%s
\end{document}
"""
_ESCAPES = {
    "\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"''",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}  # fmt: skip


def write(derivation) -> str:
    """Return a document with a section for each step."""
    parts = [escaped(table.summary(derivation)), *map(_step, derivation)]
    rules = [derivation.chain_rule(leaf.name) for leaf in derivation.leaves]
    parts += [r"\section*{Leaves}", _lines(rules)]
    return _DOCUMENT % "\n\n".join(parts)


def escaped(text: str) -> str:
    """Return `text` with LaTeX's own characters escaped, and what pdflatex cannot set left out."""
    text = "".join(_ESCAPES.get(character, character) for character in text)
    return text.encode("ascii", "replace").decode()


def _step(step) -> str:
    layer = f" in {step.layer}" if step.layer else ""
    parts = [
        rf"\section*{{Step {step.index}: {escaped(step.op_name + layer)}}}",
        rf"\texttt{{{escaped(step.source or step.file)}}} (line {step.line})",
        _formulas(step.formulas),
        _gradients(step),
        *map(escaped, step.notes),
    ]
    if step.numbers:
        parts.append(_lines(step.numbers.splitlines()))
    if step.check is not None:
        parts.append(escaped(f"Check: {step.check.verdict}. {step.check.message}"))
    return "\n\n".join(parts)


def _formulas(formulas) -> str:
    lines = ",\\\\\n".join(formulas)
    return f"\\begin{{gather*}}\n{lines}\n\\end{{gather*}}" if lines else ""


def _gradients(step) -> str:
    rows = [table.GRADIENT_COLUMNS, *table.gradient_rows(step)]
    lines = [" & ".join(map(escaped, row)) + r" \\" for row in rows]
    return "\n".join([r"\noindent\begin{tabular}{llrrrrr}", *lines, r"\end{tabular}"])


def _lines(lines) -> str:
    """Set lines as they are, broken where they are too long."""
    return "\n\n".join(rf"\medskip\noindent\texttt{{\small {_breakable(line)}}}" for line in lines)


def _breakable(line: str) -> str:
    return re.sub(r" (=|\+|\*) ", r" \1\\allowbreak{} ", escaped(line))
