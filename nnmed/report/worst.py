"""The worst errors: the cases that were decided wrongly with the most confidence."""

from __future__ import annotations

import numpy as np

from nnmed.report.figure import BLUE, GREY, ORANGE
from nnmed.report.fonts import shorten, two_lines
from nnmed.report.thumbnails import Page, caption, show

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
    negative, positive = (shorten(name, 24) for name in classes)
    missed = (labels == 1) & ~decided
    alarms = (labels == 0) & decided
    kinds = [
        ("Missed", missed, probabilities, 1, (positive, negative), ORANGE),
        ("False alarms", alarms, -probabilities, 0, (negative, positive), BLUE),
    ]
    chosen = [_first(wrong, rank, rows * _COLUMNS) for _, wrong, rank, *_ in kinds]
    row_count = sum(-(-len(indices) // _COLUMNS) for indices in chosen)
    page = Page(_COLUMNS, row_count, lines=2 + sum(len(indices) == 0 for indices in chosen))
    page.heading(f"Worst errors at threshold {threshold:.3f}", dataset, synthetic)
    for (kind, wrong, _, label, (true, called), colour), indices in zip(kinds, chosen):
        total = int((labels == label).sum())
        page.line(f"{kind}: {int(wrong.sum())} of {total} {true} called {called}", colour)
        if len(indices) == 0:
            page.line("none", GREY)
        for start in range(0, len(indices), _COLUMNS):
            some = indices[start : start + _COLUMNS].tolist()
            for axes, i in zip(page.row(len(some)), some):
                show(axes, load(i))
                verdict = f"{shorten(true, 14)}, p = {probabilities[i]:.3f}"
                caption(axes, *two_lines(cases[i], 25), verdict)
    return page.figure


def _first(wrong, rank, count: int):
    """The `count` wrong cases of lowest rank; the earlier case first where they are equal."""
    chosen = np.flatnonzero(wrong)
    return chosen[np.argsort(rank[chosen], kind="stable")][:count]
