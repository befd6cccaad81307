"""Training curves from the rows of history.csv."""

from __future__ import annotations

import math

from nnmed.report.figure import BLUE, GREEN, GREY, ORANGE, PURPLE, frame, heading, new_figure, note

_LEFT_OUT = ("epoch", "step", "time", "seconds", "wall")
_RATES = ("lr", "learning_rate")
_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, "#56B4E9", "#E69F00", GREY)


def training_curves(rows, *, best_epoch=None, dataset: str = "", synthetic: bool = False):
    """Draw loss, scores and learning rate over the epochs.

    Parameters
    ----------
    rows : sequence of dict
        A row an epoch: column to number, or to text as read from a CSV file; what is empty
        or no number is a gap. Columns whose name holds "loss" go to the first panel, "lr"
        to the third, times are left out and all others are scores.
    best_epoch : number, optional
        The epoch whose weights were kept; marked by a line.

    Returns
    -------
    matplotlib.figure.Figure
    """
    rows = list(rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: [_number(row.get(name)) for row in rows] for name in names}
    columns = {k: v for k, v in columns.items() if not all(map(math.isnan, v))}
    epochs = columns.get("epoch", list(range(1, len(rows) + 1)))
    shown = [n for n in columns if not any(part in n.lower() for part in _LEFT_OUT)]
    losses = [name for name in shown if "loss" in name.lower()]
    rates = [name for name in shown if name.lower() in _RATES]
    panels = [
        ("loss", losses),
        ("score on validation", [n for n in shown if n not in losses + rates]),
        ("learning rate", rates),
    ]
    panels = [panel for panel in panels if panel[1]] or [("loss", [])]
    figure = new_figure(max(6.0, 4.6 * len(panels)), 4.2)
    for axes, (title, chosen) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels):
        _panel(axes, title, epochs, {name: columns[name] for name in chosen}, best_epoch)
    heading(figure, "Training", dataset, synthetic)
    return figure


def _panel(axes, title, epochs, curves, best_epoch) -> None:
    from matplotlib.ticker import MaxNLocator

    frame(axes)
    axes.set_xlabel("epoch")
    axes.set_ylabel(title)
    if not curves:
        note(axes, "no epoch finished")
        return
    marker = "o" if len(epochs) <= 30 else None
    for (name, values), colour in zip(curves.items(), _COLOURS * len(curves)):
        label = name.replace("_", " ")
        axes.plot(epochs, values, color=colour, marker=marker, markersize=3.5, label=label)
    if best_epoch is not None:
        axes.axvline(best_epoch, color=GREY, linestyle=":", label=f"kept: epoch {best_epoch}")
    first, last = min(epochs), max(epochs)
    if first == last:
        axes.set_xlim(first - 1, last + 1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if title == "learning rate":
        axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    axes.legend(fontsize=9, framealpha=0.85)


def _number(value) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return math.nan
    return number if math.isfinite(number) else math.nan
