"""The roofline: each kernel as a point under the ceilings of copying and of sgemm.

Williams et al., "Roofline: an insightful visual performance model for multicore
architectures", CACM 2009.
"""

from __future__ import annotations

import io
from pathlib import Path

from benchmarks.tables import number
from nnmed.backend.files import write_whole
from nnmed.errors import UsageError
from nnmed.report.figure import BLUE, GREEN, GREY, ORANGE, PURPLE, frame, new_figure

FORMATS = (".png", ".svg")
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, "#E69F00", "#000000")
MARKERS = {"forward": "o", "backward": "s", "step": "D"}


def check_name(path: Path) -> None:
    """Check that the figure can be written in the format that the name asks for.

    Raises
    ------
    UsageError
        If the ending is unknown.
    """
    if path.suffix not in FORMATS:
        raise UsageError(f"--plot writes {' or '.join(FORMATS)}, got {path}")


def draw(rows: list[dict], ceilings: dict, threads: int, path: Path) -> None:
    """Draw a panel for each family and device, with a numbered list of its kernels beside it."""
    panels = list(dict.fromkeys((row["family"], row["device"]) for row in rows))
    kernels = [
        list(dict.fromkeys(r["kernel"] for r in rows if (r["family"], r["device"]) == panel))
        for panel in panels
    ]
    heights = [max(3.6, 0.9 + 0.17 * len(names)) for names in kernels]
    figure = new_figure(12, sum(heights))
    grid = figure.subplots(
        len(panels), 2, squeeze=False, width_ratios=(2, 1), height_ratios=heights
    )
    for (axes, key), (family, device), names in zip(grid, panels, kernels):
        own = [r for r in rows if (r["family"], r["device"]) == (family, device)]
        title = f"{family}, {device}"
        if device == "cpu":
            title += f", {threads} thread" + ("s" if threads > 1 else "")
        axes.set_title(title, loc="left")
        _panel(axes, own, names, ceilings[device])
        key.axis("off")
        listing = "\n".join(f"{number:>2}  {name}" for number, name in enumerate(names, 1))
        key.text(0, 1, listing, va="top", fontsize=8, family="monospace", linespacing=1.3)
    save(figure, path)


def save(figure, path: Path) -> None:
    """Write `figure` in the format of the name's ending, whole or not at all."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix[1:])
    write_whole(path, buffer.getvalue())


def _panel(axes, rows, names, ceilings) -> None:
    from matplotlib.ticker import NullFormatter

    points = [r for r in rows if r["flops"] and r["pass"] in MARKERS]
    intensities = [r["flops"] / r["bytes"] for r in points] or [1.0]
    ridge = ceilings.sgemm / ceilings.copy
    left, right = min(*intensities, ridge) / 2, max(*intensities, ridge) * 3
    roof = [left * ceilings.copy / 1e9, ceilings.sgemm / 1e9, ceilings.sgemm / 1e9]
    axes.loglog([left, ridge, right], roof, color=GREY, linewidth=1.5)
    label = f"copy {number(ceilings.copy / 1e9)} GB/s, sgemm {number(ceilings.sgemm / 1e9)} GFLOP/s"
    axes.annotate(label, (right, roof[-1]), ha="right", va="bottom", fontsize=8, color=GREY)
    forms = list(dict.fromkeys(r["form"] for r in rows))
    for form, colour in zip(forms, COLOURS):
        for step, marker in MARKERS.items():
            own = [r for r in points if r["form"] == form and r["pass"] == step]
            if own:
                x = [r["flops"] / r["bytes"] for r in own]
                y = [r["gflops"] for r in own]
                axes.scatter(x, y, s=18, marker=marker, color=colour, label=f"{form}, {step}")
                _number_points(axes, own, x, y, names, colour)
    axes.set_xlim(left, right)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, position: f"{value:g}")
        axis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("operations a byte")
    axes.set_ylabel("GFLOP/s")
    frame(axes)
    if points:
        axes.legend(fontsize=7, loc="lower right")


def _number_points(axes, rows, x, y, names, colour) -> None:
    for row, horizontal, vertical in zip(rows, x, y):
        axes.annotate(
            str(names.index(row["kernel"]) + 1), (horizontal, vertical), (3, 2),
            textcoords="offset points", fontsize=7, color=colour,
        )  # fmt: skip
