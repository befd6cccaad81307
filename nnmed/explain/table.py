"""A derivation as a table for the terminal."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np

from nnmed.explain.formula.spelling import formula_text
from nnmed.explain.numerals import number_text

GRADIENT_COLUMNS = ("gradient by", "shape", "norm", "min", "mean", "max", "zeros")
_NARROWEST, _WIDEST = 80, 120


def draw(derivation, columns: int) -> str:
    """Return a table of the steps, then the leaves, then the numbers or at least the rules.

    A row has the norm of the gradient that comes in, and where the op sends gradients: to other
    steps and to leaves.

    Parameters
    ----------
    derivation : Derivation
    columns : int
        Width of the terminal; the table has 80 to 120.
    """
    width = min(max(columns, _NARROWEST), _WIDEST)
    lines = [_wrapped(summary(derivation), width), ""]
    rows = [_row(step) for step in derivation]
    if rows:
        header = ("step", "op", "where", "shape", "norm", "gradients to", "check")
        drawn = _aligned([header, *rows], width)
        lines += [drawn[0], "-" * width]
        for step, line in zip(derivation, drawn[1:]):
            lines += [line, *[_cut(f"      {note}", width) for note in step.notes]]
        lines.append("")
    lines += [_cut(_leaf_line(leaf), width) for leaf in derivation.leaves]
    lines += ["\n" + _wrapped(s.check.message, width) for s in derivation if _failed(s)]
    written = numbers(derivation) or _rules(derivation)
    lines += ["", *[_wrapped(line, width) for line in written.splitlines()]]
    return "\n".join(lines).rstrip()


def summary(derivation) -> str:
    """Return in one line what is derived, and what it takes."""
    flops = sum(step.flops for step in derivation)
    # Memory that several steps save counts for the last of them.
    saved = sum(s.nbytes for step in derivation for s in step.saved if s.until == step.index)
    return (
        f"steps: {len(derivation)}, leaves: {len(derivation.leaves)}, FLOP of forward: {flops:,}, "
        f"bytes saved for backward: {saved:,}"
    )


def numbers(derivation) -> str:
    """Return the numbers of all steps, if they are all small, and then of all leaves."""
    if not len(derivation) or not all(step.numbers for step in derivation):
        return ""
    parts = [f"step {step.index}: {step.op_name}\n{_indented(step.numbers)}" for step in derivation]
    rules = [derivation.chain_rule(leaf.name) for leaf in derivation.leaves]
    return "\n".join([*parts, "together:", _indented("\n".join(rules))])


def _rules(derivation) -> str:
    """Return the formulas of each op that occurs, once."""
    lines = []
    for name, step in {step.op_name: step for step in derivation}.items():
        lines += [f"{name}:", *[f"  {formula_text(formula)}" for formula in step.formulas]]
    return "\n".join(lines)


def gradient_rows(step) -> list[tuple[str, ...]]:
    """Return the cells of :data:`GRADIENT_COLUMNS` for each gradient that comes in or goes out."""
    gradients = [("y", step), *[(i.name, i) for i in step.inputs if i.gradient is not None]]
    rows = []
    for name, item in gradients:
        s = item.statistics
        numbers = [f"{number:.4g}" for number in (s.norm, s.min, s.mean, s.max)]
        rows.append((name, shape_text(item.shape), *numbers, f"{s.zeros:.1%}"))
    return rows


def shape_text(shape: tuple) -> str:
    """Return a shape without blanks."""
    return str(tuple(shape)).replace(" ", "")


def _row(step) -> tuple[str, ...]:
    to = [_destination(step, item) for item in step.inputs if item.gradient is not None]
    where = step.layer or f"{Path(step.file).name}:{step.line}"
    verdict = step.check.verdict if step.check else ""
    norm = f"{step.statistics.norm:.4g}"
    shape = shape_text(step.shape)
    return str(step.index), step.op_name, where, shape, norm, ", ".join(to), verdict


def _destination(step, item) -> str:
    """Say where the gradient of an input goes."""
    if item.leaf is None:
        return f"{item.name} -> {item.source}"
    # The parameters of the layer that the row names need no second mention of it.
    own = step.layer and item.leaf.name == f"{step.layer}.{item.name}"
    return item.name if own else f"{item.name} -> {item.leaf.name}"


def _aligned(rows, width) -> list[str]:
    """Return the rows as lines; the two columns of free text share what the others leave."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    excess = sum(widths) + 2 * (len(widths) - 1) - width
    for _ in range(excess):  # negative where all fits
        widest = max((2, 5), key=widths.__getitem__)  # the columns of free text
        widths[widest] -= 1
    return [
        "  ".join(
            _cut(text, w).rjust(w) if i in (0, 4) else _cut(text, w).ljust(w)
            for i, (text, w) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    ]


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def _leaf_line(leaf) -> str:
    steps = ", ".join(f"step {step}" for step, _ in leaf.contributions) or "L itself"
    norm = number_text(np.float64(leaf.statistics.norm))
    return f"{leaf.name} {shape_text(leaf.shape)}: |dL/d{leaf.name}| = {norm}, from {steps}"


def _failed(step) -> bool:
    return step.check is not None and step.check.verdict == "failed"


def _wrapped(line: str, width: int) -> str:
    """Break a line; what follows is indented."""
    return "\n".join(textwrap.wrap(line, width, subsequent_indent="      "))


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
