"""The worst errors: the cases that were decided wrongly with the most confidence."""

from __future__ import annotations

import numpy as np

from nnmed.report.figure import BLUE, ORANGE, heading, new_figure, note
from nnmed.report.fonts import shorten, write
from nnmed.report.thumbnails import show

_COLUMNS = 6


def worst_errors(
    cases,
    labels,
    probabilities,
    threshold: float,
    images,
    *,
    classes=("negative", "positive"),
    rows: int = 1,
    dataset: str = "",
    synthetic: bool = False,
):
    """Draw the positives of lowest and the negatives of highest probability among the errors.

    Parameters
    ----------
    cases : sequence of n names
    labels, probabilities : (n,) arrays
        Label 0 or 1, and the predicted probability of 1.
    threshold : float
        Positive means probability >= threshold.
    images : callable or sequence
        ``images(i)`` or ``images[i]`` is the image of case i, (H, W) or (C, H, W). Only what
        is shown is asked for.
    rows : int
        Rows of six pictures for each kind of error.

    Returns
    -------
    matplotlib.figure.Figure
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, np.float64)
    decided = probabilities >= threshold
    load = images if callable(images) else images.__getitem__
    figure = new_figure(12, 1.1 + 2 * (0.35 + 2.45 * rows))
    parts = figure.subfigures(2, 1)
    negative, positive = classes
    kinds = [
        ("Missed", positive, negative, (labels == 1) & ~decided, probabilities, ORANGE),
        ("False alarms", negative, positive, (labels == 0) & decided, -probabilities, BLUE),
    ]
    for part, (kind, true, called, wrong, rank, colour) in zip(parts, kinds):
        chosen = np.flatnonzero(wrong)
        chosen = chosen[np.argsort(rank[chosen], kind="stable")][: rows * _COLUMNS]
        total = int((labels == (true is positive)).sum())
        share = f"{int(wrong.sum())} of {total} cases of {shorten(true, 24)} called"
        write(part.suptitle, f"{kind}: {share} {shorten(called, 24)}", fontsize=11, color=colour)
        grid = part.subplots(rows, _COLUMNS, squeeze=False).ravel()
        _row(grid, chosen, cases, true, probabilities, load)
        if len(chosen) == 0:
            note(grid[_COLUMNS // 2], "none")
    title = f"Worst errors at threshold {threshold:.3f}"
    heading(figure, title, dataset, synthetic)
    return figure


def _row(grid, chosen, cases, true, probabilities, load) -> None:
    for axes in grid:
        axes.axis("off")
    for axes, case in zip(grid, chosen):
        show(axes, load(int(case)))
        lines = (shorten(cases[case], 24), f"{shorten(true, 14)}, p = {probabilities[case]:.3f}")
        write(axes.set_title, *lines, fontsize=9, y=-0.02, va="top")
