"""What all figures share: size, colours, heading, and a PNG written whole or not at all.

Figures are plain ``matplotlib.figure.Figure`` objects, never pyplot's: nothing global is
kept or changed, and no display is needed.
"""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path

from nnmed.backend.files import write_whole
from nnmed.errors import DataError
from nnmed.report.fonts import shorten, width, write

DPI = 110
# Okabe and Ito's colours, which people with any kind of colour vision tell apart (2008).
BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#767676"
SYNTHETIC = "synthetic data, no real patients"


def new_figure(inches_wide: float, inches_high: float, layout: str | None = "constrained"):
    """Return an empty figure, at 110 dots an inch."""
    from matplotlib.figure import Figure

    return Figure(figsize=(inches_wide, inches_high), dpi=DPI, layout=layout)


def heading(figure, title: str, dataset: str, synthetic: bool, **place) -> None:
    """Write the title, and below it the data set's name and whether it is synthetic.

    `place` are arguments of ``suptitle``.
    """
    columns = int(figure.get_size_inches()[0] * 8.5)
    lines = [shorten(title, columns), *filter(None, [shorten(dataset, columns)])]
    if synthetic:
        joined = f"{dataset} · {SYNTHETIC}"
        lines[1:] = [joined] if dataset and width(joined) <= columns else [*lines[1:], SYNTHETIC]
    write(figure.suptitle, *lines, fontsize=12, **place)


def frame(axes) -> None:
    """Draw light grid lines and only the left and lower border."""
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def note(axes, text: str) -> None:
    """Write `text` in the middle of `axes`, where there is nothing to draw."""
    centre = {"transform": axes.transAxes, "ha": "center", "va": "center"}
    write(partial(axes.text, 0.5, 0.5), text, fontsize=11, color=GREY, **centre)


def save(figure, path) -> Path:
    """Write `figure` to `path` as PNG, whole or not at all.

    Raises
    ------
    DataError
        If the file cannot be written.
    """
    path = Path(path)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    try:
        write_whole(path, buffer.getvalue())
    except OSError as error:
        raise DataError(
            f"{path}: the figure cannot be written: {error.strerror}; "
            "check that the folder exists, may be written to and has room"
        ) from error
    return path
