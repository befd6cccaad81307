"""Tables that read well in a terminal and are Markdown too."""

from __future__ import annotations

import math
from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Return a Markdown table with padded columns.

    Parameters
    ----------
    head : sequence of str
    rows : sequence of sequence of str
    left : int
        So many columns hold text and go to the left; the others hold numbers.
    """
    widths = [max(len(cell) for cell in column) for column in zip(head, *rows)]

    def line(cells):
        padded = (
            cell.ljust(width) if index < left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(cells, widths))
        )
        return f"| {' | '.join(padded)} |"

    rule = (
        "-" * (width + 2) if index < left else "-" * (width + 1) + ":"
        for index, width in enumerate(widths)
    )
    return "\n".join([line(head), f"|{'|'.join(rule)}|", *map(line, rows)])


def number(value: float | None) -> str:
    """Return `value` with three digits that matter, or a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "-" if value is None or math.isnan(value) else str(value)
    size = abs(value)
    if size == 0 or size >= 100:
        return f"{value:.0f}"
    if size < 0.001:
        return f"{value:.0e}"
    return f"{value:.{2 - math.floor(math.log10(size))}f}"


def percent(value: float | None) -> str:
    """Return a share as whole percents."""
    return "-" if value is None else f"{100 * value:.0f}%"
