"""Scores as a table of plain text for the terminal."""

from __future__ import annotations

import math

from nnmed.metrics import Score

NAMES = {
    "roc_auc": "ROC-AUC",
    "average_precision": "PR-AUC (average precision)",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "sensitivity": "sensitivity (recall)",
    "specificity": "specificity",
    "precision": "precision (PPV)",
    "negative_predictive_value": "negative predictive value",
    "f1": "F1",
    "matthews_correlation": "Matthews correlation",
    "sensitivity_at_90_specificity": "sensitivity at 90% specificity",
    "sensitivity_at_95_specificity": "sensitivity at 95% specificity",
    "brier": "Brier score (0 is best)",
    "expected_calibration_error": "calibration error (0 is best)",
    "macro_f1": "macro F1",
    "macro_roc_auc": "macro ROC-AUC",
}


def summary_table(scores: dict[str, Score], title: str = "") -> str:
    """Return the scores as lines of text: name, value, 95% interval, n, and any remark.

    Examples
    --------
    >>> print(summary_table({"f1": Score(0.75, 0.7, 0.8, 120)}))
    score  value  95% interval      n
    F1     0.750  [0.700, 0.800]  120
    """
    rows = [("score", "value", "95% interval", "n", "")]
    for name, score in scores.items():
        bounds = f"[{figure_text(score.low)}, {figure_text(score.high)}]"
        rows.append((
            NAMES.get(name, name.replace("_", " ")),
            figure_text(score.value),
            "-" if math.isnan(score.low) else bounds,
            f"{score.n}",
            score.reason or "",
        ))  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [title] if title else []
    for name, value, bounds, n, reason in rows:
        line = f"{name:<{widths[0]}}  {value:>{widths[1]}}  {bounds:<{widths[2]}}  {n:>{widths[3]}}"
        lines.append(f"{line}  {reason}".rstrip())
    return "\n".join(lines)


def figure_text(value: float) -> str:
    """Return a score with three decimals, ``-`` where it is undefined."""
    return "-" if math.isnan(value) else f"{value:.3f}"
