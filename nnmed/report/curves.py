"""ROC and precision-recall curves with the operating point and their bootstrap bands."""

from __future__ import annotations

import numpy as np

from nnmed.report.figure import BLUE, GREY, ORANGE, frame, heading, new_figure, note
from nnmed.report.summary import figure_text


def roc_and_pr(curves: dict, scores: dict | None = None, *, dataset="", synthetic=False):
    """Draw both curves side by side.

    Parameters
    ----------
    curves : dict
        As :func:`nnmed.metrics.binary_curves` returns it.
    scores : dict, optional
        As :func:`nnmed.metrics.evaluate_binary` returns it; the areas stand in the legend.

    Returns
    -------
    matplotlib.figure.Figure
    """
    scores = scores or {}
    figure = new_figure(11, 5.4)
    left, right = figure.subplots(1, 2)
    point = curves["operating_point"]
    _roc(left, curves["roc"], point, scores.get("roc_auc"))
    _precision_recall(
        right, curves["pr"], point, curves["prevalence"], scores.get("average_precision")
    )
    heading(figure, "ROC and precision-recall curves", dataset, synthetic)
    return figure


def _roc(axes, roc, point, score) -> None:
    _square(axes, "1 - specificity (false-positive rate)", "sensitivity (true-positive rate)")
    axes.set_title("ROC", fontsize=11)
    if np.isnan(roc["fpr"]).any() or np.isnan(roc["tpr"]).any():
        note(axes, _why(score))
        return
    _band(axes, roc)
    axes.plot(roc["fpr"], roc["tpr"], color=BLUE, linewidth=1.8, label=_area("area", score))
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="chance")
    found = f"sensitivity {point['tpr']:.3f}, specificity {1 - point['fpr']:.3f}"
    _operating_point(axes, point["fpr"], point["tpr"], point["threshold"], found)
    axes.legend(loc="lower right", fontsize=9, framealpha=0.9)


def _precision_recall(axes, pr, point, prevalence, score) -> None:
    _square(axes, "recall (sensitivity)", "precision (positive predictive value)")
    axes.set_title("Precision-recall", fontsize=11)
    if np.isnan(pr["recall"]).any() or len(pr["thresholds"]) == 0:
        note(axes, _why(score))
        return
    _band(axes, pr)
    # Each precision holds for the recall gained at its step, so the area is drawn as summed.
    recall, precision = pr["recall"][::-1], pr["precision"][::-1]
    label = _area("average precision", score)
    axes.step(recall, precision, where="pre", color=BLUE, linewidth=1.8, label=label)
    label = f"chance: prevalence {prevalence:.3f}"
    axes.axhline(prevalence, color=GREY, linestyle="--", linewidth=1, label=label)
    found = f"recall {point['tpr']:.3f}, precision {point['precision']:.3f}"
    _operating_point(axes, point["tpr"], point["precision"], point["threshold"], found)
    axes.legend(loc="lower left", fontsize=9, framealpha=0.9)


def _square(axes, x: str, y: str) -> None:
    frame(axes)
    axes.set(xlabel=x, ylabel=y, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")


def _band(axes, curve) -> None:
    if not np.isnan(curve["low"]).any():
        label = "95% band over patients"
        band = (curve["grid"], curve["low"], curve["high"])
        axes.fill_between(*band, color=BLUE, alpha=0.16, linewidth=0, label=label)


def _operating_point(axes, x, y, threshold, found) -> None:
    if np.isnan(x) or np.isnan(y):
        return
    style = {"marker": "o", "color": ORANGE, "markeredgecolor": "white", "linestyle": "none"}
    label = f"threshold {figure_text(threshold)}:\n{found}"
    axes.plot([x], [y], markersize=9, zorder=5, clip_on=False, label=label, **style)


def _area(name, score) -> str:
    if score is None:
        return name
    # Why there may be no interval stands in the table of scores; here it would not fit.
    return f"{name} {figure_text(score.value)}" if np.isnan(score.low) else f"{name} {score}"


def _why(score) -> str:
    return f"undefined: {score.reason}" if score is not None and score.reason else "undefined"
