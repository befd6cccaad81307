"""The figures of this room."""

from __future__ import annotations

import math

import numpy as np

from nnmed.explain.memory import ARRIVED, PASSING, SAVED
from nnmed.report.figure import BLUE, GREEN, GREY, ORANGE, PURPLE, frame, heading, new_figure, save

_DTYPES = {"float64": BLUE, "float32": ORANGE}
_MODULES = (BLUE, ORANGE, GREEN, PURPLE, "#56B4E9", "#E69F00", "#F0E442", "#882255")
_FLOW = {  # title, whether in powers of ten, colours, limits
    "gradient_norm": ("norm of the gradient", True, "viridis", (None, None)),
    "weight_norm": ("norm of the weights", True, "viridis", (None, None)),
    "update_ratio": ("update / weights (healthy: $10^{-3}$)", True, "RdBu_r", (-5, -1)),
    "sign_balance": ("mean sign of the gradient", False, "RdBu_r", (-1, 1)),
    "dead": ("share of dead units", False, "Reds", (0, 1)),
}


def gradient_flow(rows: list[dict], path):
    """Draw the rows of a :class:`GradientFlow`: layers by steps, a panel for each number."""
    layers = len({row["layer"] for row in rows})
    figure = new_figure(18, max(3.5, 1.8 + 0.2 * layers))
    for axes, column in zip(figure.subplots(1, len(_FLOW)), _FLOW):
        _flow_panel(figure, axes, column, rows)
    heading(figure, "Gradient flow", "", synthetic=False)
    return save(figure, path)


def _flow_panel(figure, axes, column, rows) -> None:
    title, powers, colours, (low, high) = _FLOW[column]
    table, layers, steps = _table(column, rows)
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("step")
    axes.set_facecolor("#eeeeee")
    axes.set_yticks(np.arange(len(layers)) + 0.5, [name or "model" for name in layers], fontsize=7)
    if not layers:
        return
    if powers:
        table = np.log10(np.where(table > 0, table, np.nan))
    edges = [*steps, 2 * steps[-1] - steps[-2] if len(steps) > 1 else steps[-1] + 1]
    rows_at = np.arange(len(layers) + 1)
    drawn = axes.pcolormesh(edges, rows_at, table, cmap=colours, vmin=low, vmax=high)
    label = "power of ten" if powers else None
    figure.colorbar(drawn, ax=axes, location="bottom", label=label, aspect=30)
    axes.invert_yaxis()


def _table(column, rows):
    """Return an array of layers by steps, and their names: of those that have a number."""
    rows = [row for row in rows if not math.isnan(row[column])]
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    steps = sorted({row["step"] for row in rows})
    table = np.full((len(layers), len(steps)), np.nan)
    for row in rows:
        table[layers.index(row["layer"]), steps.index(row["step"])] = row[column]
    return table, layers, steps


def v_curve(curve, path):
    """Draw a :class:`VCurve` with both slopes."""
    figure = new_figure(7.5, 5)
    axes = figure.subplots()
    frame(axes)
    for dtype, errors in curve.errors.items():
        step, error = curve.best(dtype)
        label = f"{dtype}: best h = {step:.0e}, error {error:.0e}"
        shown = np.where(errors > 0, errors, np.nan)  # a logarithm has no place for 0
        axes.loglog(curve.steps, shown, ".-", color=_DTYPES[dtype], label=label)
        rounding = np.finfo(dtype).eps / curve.steps
        axes.loglog(curve.steps, rounding, ":", color=_DTYPES[dtype], linewidth=1)
    axes.loglog(curve.steps, curve.steps**2, "--", color=GREY, label="$h^2$: truncation")
    axes.plot([], [], ":", color=GREY, label="$\\epsilon / h$: rounding")
    axes.set(xlabel="step size h", ylabel="relative error", ylim=(1e-14, 1e3))
    axes.legend(fontsize=9, framealpha=0.9)
    heading(figure, "Central differences against the gradient", "", synthetic=False)
    return save(figure, path)


def memory(timeline, path):
    """Draw a :class:`MemoryTimeline`: saved arrays by module, and the gradients."""
    groups = _groups(timeline)
    usage = [timeline.usage(held) / 2**20 for held in groups.values()]
    figure = new_figure(10, 5)
    axes = figure.subplots()
    frame(axes)
    colours = [*_MODULES[: len(groups) - 2], GREY, "#333333"]
    axes.stackplot(range(timeline.moments), usage, labels=groups, colors=colours, step="mid")
    peak, moment = timeline.peak / 2**20, timeline.peak_moment
    text = f"peak: {peak:.3g} MiB"
    axes.annotate(text, (moment, peak), (0, 8), textcoords="offset points", ha="center")
    axes.axvline(timeline.moments / 2 - 0.5, color=GREY, linestyle=":")
    turns = f"{timeline.moments // 2} ops forward, then backward"
    axes.set(xlabel=turns, ylabel="MiB", ylim=(0, 1.15 * max(peak, 1e-9)))
    axes.legend(loc="upper left", fontsize=8, framealpha=0.9)
    heading(figure, "Memory of a training step", "", synthetic=False)
    return save(figure, path)


def _groups(timeline) -> dict[str, list]:
    """Return saved arrays by the first part of their module's name, small groups in one."""
    groups: dict[str, list] = {}
    for item in timeline.held:
        if item.kind == SAVED:
            groups.setdefault(item.layer.partition(".")[0] or "no module", []).append(item)
    largest = sorted(groups, key=lambda name: -sum(item.nbytes for item in groups[name]))
    shown = largest[: len(_MODULES) - (len(groups) > len(_MODULES))]
    result = {name: held for name, held in groups.items() if name in shown}
    others = [item for name in largest[len(shown) :] for item in groups[name]]
    if others:
        result["other modules"] = others
    for kind in (PASSING, ARRIVED):
        result[kind] = [item for item in timeline.held if item.kind == kind]
    return result


def rooflines(roofs, path):
    """Draw several :class:`Roofline` side by side, with the longest passes named."""
    figure = new_figure(7.5 * len(roofs), 5.5)
    for axes, roof in zip(figure.subplots(1, len(roofs), squeeze=False)[0], roofs):
        _roof_panel(axes, roof)
    heading(figure, "Roofline of a training step", "", synthetic=False)
    return save(figure, path)


def _roof_panel(axes, roof) -> None:
    frame(axes)
    ridge = roof.ceilings.flops / roof.ceilings.bytes
    intensities = [point.intensity for point in roof.points] or [ridge]
    left, right = min(*intensities, ridge) / 2, max(*intensities, ridge) * 2
    heights = [left * roof.ceilings.bytes, roof.ceilings.flops, roof.ceilings.flops]
    label = f"{roof.ceilings.flops / 1e9:.3g} GFLOP/s, {roof.ceilings.bytes / 1e9:.3g} GB/s"
    axes.loglog([left, ridge, right], np.array(heights) / 1e9, color=GREY, label=label)
    for direction, colour in (("forward", BLUE), ("backward", ORANGE)):
        points = [point for point in roof.points if point.direction == direction]
        total = sum(point.seconds for point in points)
        x, y = [p.intensity for p in points], [p.achieved / 1e9 for p in points]
        size = [10 + 400 * point.seconds / max(total, 1e-12) for point in points]
        label = f"{direction}: {total * 1e3:.3g} ms"
        axes.scatter(x, y, size, color=colour, alpha=0.6, linewidth=0, label=label)
    for point in _longest(roof.points):
        place = point.intensity, point.achieved / 1e9
        text = f"{point.op} {point.seconds * 1e3:.2g} ms"
        axes.annotate(text, place, (5, 5), textcoords="offset points", fontsize=7)
    axes.set(xlabel="operations a byte", ylabel="GFLOP/s", title=roof.device, xlim=(left, right))
    axes.legend(fontsize=8, loc="lower right")


def _longest(points) -> list:
    """Return the longest pass of each of the five ops that took the most."""
    longest: dict = {}
    for point in sorted(points, key=lambda point: point.seconds):
        longest[point.op, point.direction] = point
    return sorted(longest.values(), key=lambda point: -point.seconds)[:5]
