"""The confusion matrix: counts, and what share of each true class they are."""

from __future__ import annotations

import numpy as np

from nnmed.errors import ShapeError
from nnmed.report.figure import heading, new_figure
from nnmed.report.fonts import families, plain, shorten


def confusion_figure(
    matrix, classes, *, threshold=None, dataset: str = "", synthetic: bool = False
):
    """Draw a ``(K, K)`` confusion matrix, true class by row.

    Parameters
    ----------
    classes : sequence of K names
    threshold : float, optional
        Named in the title.

    Returns
    -------
    matplotlib.figure.Figure
    """
    matrix = np.asarray(matrix)
    count = len(classes)
    if matrix.shape != (count, count):
        raise ShapeError(f"matrix must be {(count, count)} for {count} classes: {matrix.shape}")
    totals = matrix.sum(axis=1, keepdims=True)
    share = np.divide(matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)
    size = max(5.2, 2.4 + 0.8 * count)
    figure = new_figure(size + 0.8, size)
    axes = figure.subplots()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row in range(count):
        for column in range(count):
            text = f"{matrix[row, column]:,}"
            if totals[row, 0]:
                text += f"\n{100 * share[row, column]:.1f}%"
            colour = "white" if share[row, column] > 0.5 else "black"
            size = 15 if count <= 3 else 11 if count <= 6 else 8
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=size)
    names = [shorten(name, 20) for name in classes]
    _name_ticks(axes, names, [int(total) for total in totals[:, 0]])
    bar = figure.colorbar(image, ax=axes, shrink=0.75)
    bar.set_label("share of the true class")
    title = "Confusion matrix"
    if threshold is not None:
        title += f", threshold {threshold:.3f}"
    heading(figure, title, dataset, synthetic)
    return figure


def _name_ticks(axes, names, totals) -> None:
    family = families("".join(names))
    long = len(names) > 3 or max(map(len, names)) > 12
    turned = {"rotation": 40, "ha": "right"} if long else {}
    positions = range(len(names))
    axes.set_xticks(positions, [plain(name) for name in names], fontfamily=family, **turned)
    rows = [f"{plain(name)}\n(n = {total:,})" for name, total in zip(names, totals)]
    axes.set_yticks(positions, rows, fontfamily=family)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
