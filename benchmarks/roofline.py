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
PASSES = ("forward", "backward", "step")
ABOVE, BELOW = (0, 4), (0, -10)  # where a point's number stands, in points of print


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
    """Draw a line of panels for each family and device, with the list of its kernels.

    Kernels small enough for the reference form are left out where there are others: what
    they show is the cost of a call, a thousand times below the roof.
    """
    lines = {}
    for row in rows:
        lines.setdefault((row["family"], row["device"]), []).append(row)
    lines = {key: _without_small(own) for key, own in lines.items()}
    heights = [max(3.6, 0.9 + 0.17 * len(_names(own))) for own in lines.values()]
    figure = new_figure(15, sum(heights))
    grid = figure.subplots(
        len(lines), 3, squeeze=False, width_ratios=(5, 5, 4), height_ratios=heights
    )
    for axes, ((family, device), own) in zip(grid, lines.items()):
        title = f"{family}, {device}"
        if device == "cpu":
            title += f", {threads} thread" + ("s" if threads > 1 else "")
        passes = [name for name in PASSES if any(row["pass"] == name for row in own)]
        for panel, name in zip(axes, passes):
            panel.set_title(f"{title}: {name}", loc="left")
            _panel(panel, [row for row in own if row["pass"] == name], own, ceilings[device])
        for panel in axes[len(passes) :]:
            panel.axis("off")
        listing = "\n".join(f"{index:>2}  {name}" for index, name in enumerate(_names(own), 1))
        axes[2].text(0, 1, listing, va="top", fontsize=8, family="monospace", linespacing=1.3)
    save(figure, path)


def save(figure, path: Path) -> None:
    """Write `figure` in the format of the name's ending, whole or not at all."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix[1:])
    write_whole(path, buffer.getvalue())


def _names(rows) -> list[str]:
    return list(dict.fromkeys(row["kernel"] for row in rows))


def _without_small(rows) -> list[dict]:
    small = {row["kernel"] for row in rows if row["form"] == "reference"}
    return [row for row in rows if row["kernel"] not in small] or rows


def _panel(axes, rows, line, ceilings) -> None:
    """Draw the rows of one pass; all panels of a `line` have the same limits."""
    from matplotlib.ticker import NullFormatter

    intensities = [_intensity(r) for r in line if r["flops"]] or [1.0]
    ridge = ceilings.sgemm / ceilings.copy
    left, right = min(*intensities, ridge) / 2, max(*intensities, ridge) * 2
    roof = [left * ceilings.copy / 1e9, ceilings.sgemm / 1e9, ceilings.sgemm / 1e9]
    text = f"copy {number(ceilings.copy / 1e9)} GB/s, sgemm {number(ceilings.sgemm / 1e9)} GFLOP/s"
    axes.loglog([left, ridge, right], roof, color=GREY, linewidth=1.5, label=text)
    for form, colour in zip(dict.fromkeys(r["form"] for r in line), COLOURS):
        own = [r for r in rows if r["form"] == form and r["flops"]]
        if own:
            points = [_intensity(r) for r in own], [r["gflops"] for r in own]
            axes.scatter(*points, s=16, color=colour, label=form, zorder=3)
    _number_points(axes, rows, _names(line))
    axes.set_xlim(left, right)
    axes.set_ylim(min((r["gflops"] for r in line if r["flops"]), default=1) / 2, roof[-1] * 2)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(lambda value, position: f"{value:g}")
        axis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("operations a byte")
    axes.set_ylabel("GFLOP/s")
    frame(axes)
    axes.legend(fontsize=7, loc="lower right")


def _number_points(axes, rows, names) -> None:
    """Write each kernel's number at its fastest form, by turns above and below the point."""
    by_speed = sorted((row for row in rows if row["flops"]), key=lambda row: row["gflops"])
    best = {row["kernel"]: row for row in by_speed}  # the last of each stays
    ordered = sorted(best.values(), key=lambda row: (_intensity(row), row["gflops"]))
    for index, row in enumerate(ordered):
        axes.annotate(
            str(names.index(row["kernel"]) + 1), (_intensity(row), row["gflops"]),
            ABOVE if index % 2 else BELOW,
            textcoords="offset points", ha="center", fontsize=7,
        )  # fmt: skip


def _intensity(row) -> float:
    """Return the operations a byte."""
    return row["flops"] / row["bytes"]
