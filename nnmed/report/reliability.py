"""Reliability diagram: do the predicted probabilities come true."""

from __future__ import annotations

import numpy as np

from nnmed.report.figure import BLUE, GREY, ORANGE, frame, heading, new_figure, note


def reliability_diagram(
    curve: dict, scores: dict | None = None, *, dataset: str = "", synthetic: bool = False
):
    """Draw frequency against probability, and below it how the cases spread over the bins.

    Parameters
    ----------
    curve : dict
        As :func:`nnmed.metrics.reliability_curve` returns it.
    scores : dict, optional
        As :func:`nnmed.metrics.evaluate_binary` returns it: Brier score and calibration
        error stand in the legend.

    Returns
    -------
    matplotlib.figure.Figure
    """
    figure = new_figure(5.8, 6.8)
    upper, lower = figure.subplots(2, 1, height_ratios=[3, 1], sharex=True)
    for axes in (upper, lower):
        frame(axes)
    upper.set(ylabel="share of positive cases", xlim=(0, 1), ylim=(-0.02, 1.02))
    lower.set(xlabel="predicted probability of the positive class", ylabel="cases")
    heading(figure, "Reliability", dataset, synthetic)
    filled = curve["count"] > 0
    if not filled.any():
        note(upper, "no cases")
        return figure
    upper.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="perfect")
    points = (curve["probability"][filled], curve["frequency"][filled])
    area = 25 + 175 * curve["count"][filled] / curve["count"].max()
    label = "cases of one bin (area: number of cases)"
    upper.plot(*points, color=BLUE, linewidth=1.2, alpha=0.6)
    style = {"color": BLUE, "edgecolor": "white", "zorder": 3, "clip_on": False}
    upper.scatter(*points, s=area, label=label, **style)
    for name, text in (("expected_calibration_error", "calibration error"), ("brier", "Brier")):
        if scores and name in scores:
            upper.plot([], [], linestyle="none", label=f"{text} {scores[name]}")
    upper.legend(loc="best", fontsize=9, framealpha=0.9)
    _histogram(lower, curve, filled)
    return figure


def _histogram(axes, curve, filled) -> None:
    edges, count = curve["edges"], curve["count"]
    positive = np.where(filled, count * np.where(filled, curve["frequency"], 0), 0)
    bars = {"width": 0.92 * np.diff(edges), "align": "center"}
    centres = (edges[1:] + edges[:-1]) / 2
    axes.bar(centres, count - positive, color=BLUE, label="negative", **bars)
    axes.bar(
        centres, positive, bottom=count - positive, color=ORANGE, label="positive",
        hatch="///", edgecolor="white", linewidth=0, **bars,
    )  # fmt: skip
    axes.set_ylim(0, 1.05 * count.max())
    axes.legend(fontsize=9, framealpha=0.9)
