"""From boxes and edges to places on a page."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from nnmed.explain.drawing.layers import Layered, in_layers
from nnmed.explain.drawing.ordering import order
from nnmed.explain.drawing.placement import place

MARGIN = 16
BESIDE = 22  # between boxes of a layer
BETWEEN = 40  # between layers
_THICKNESS = 2  # of a line that passes a layer
_CORNER = 12  # lines do not end nearer to the end of a box's side
_PARALLEL = 14  # between lines that join the same boxes


@dataclass
class Layout:
    """Where everything is, in pixels from the upper left corner.

    Attributes
    ----------
    width, height : float
    centres : list of (float, float)
        Of each box.
    lines : list of list of (float, float)
        For each edge the points between which it bends: upright pieces, and from the end of
        one to the beginning of the next a curve.
    """

    width: float
    height: float
    centres: list[tuple[float, float]]
    lines: list[list[tuple[float, float]]]


def lay_out(sizes: list[tuple[float, float]], edges: list[tuple[int, int]]) -> Layout:
    """Place boxes in layers, from the top to the bottom, and lines that touch no other box.

    Parameters
    ----------
    sizes : list of (float, float)
        Width and height of each box.
    edges : list of (int, int)
        The boxes that each edge joins, the first one's number being smaller.
    """
    graph = in_layers(len(sizes), edges)
    order(graph)
    widths = [width for width, _ in sizes] + [_THICKNESS] * (len(graph.above) - len(sizes))
    x = place(graph, lambda one, other: (widths[one] + widths[other]) / 2 + BESIDE)
    shift = MARGIN - min(x[v] - widths[v] / 2 for v in range(len(x)))
    x = [value + shift for value in x]
    bands = _bands(graph, sizes)
    level = {v: band for layer, band in zip(graph.layers, bands) for v in layer}
    centres = [(x[node], sum(level[node]) / 2) for node in range(len(sizes))]
    return Layout(
        width=max(x[v] + widths[v] / 2 for v in range(len(x))) + MARGIN,
        height=bands[-1][1] + MARGIN,
        centres=centres,
        lines=_lines(graph, sizes, centres, x, level),
    )


def _bands(graph: Layered, sizes) -> list[tuple[float, float]]:
    """Return the upper and lower border of each layer."""
    bands, top = [], float(MARGIN)
    for layer in graph.layers:
        height = max([sizes[v][1] for v in layer if not graph.is_dummy(v)], default=0)
        bands.append((top, top + height))
        top += height + BETWEEN
    return bands


def _lines(graph: Layered, sizes, centres, x, level) -> list:
    starts = _starts(graph, x)
    ends = _ends(graph, sizes, x, starts)
    lines = []
    for chain, start, end in zip(graph.chains, starts, ends):
        source, target = chain[0], chain[-1]
        points = [(start, centres[source][1] + sizes[source][1] / 2), (start, level[source][1])]
        for dummy in chain[1:-1]:
            points += [(x[dummy], level[dummy][0]), (x[dummy], level[dummy][1])]
        points += [(end, level[target][0]), (end, centres[target][1] - sizes[target][1] / 2)]
        lines.append(points)
    return lines


def _starts(graph: Layered, x) -> list[float]:
    """Return where lines leave: in the middle, or beside it if several join the same boxes."""
    several = Counter(tuple(chain) for chain in graph.chains)  # long ones have own dummies
    seen: Counter = Counter()
    starts = []
    for chain in map(tuple, graph.chains):
        starts.append(x[chain[0]] + _PARALLEL * (seen[chain] - (several[chain] - 1) / 2))
        seen[chain] += 1
    return starts


def _ends(graph: Layered, sizes, x, starts) -> list[float]:
    """Return where lines arrive: right below where they come from, as far as the box reaches."""
    arriving: dict[int, list[tuple[float, int]]] = {}
    for index, chain in enumerate(graph.chains):
        came = starts[index] if len(chain) == 2 else x[chain[-2]]
        arriving.setdefault(chain[-1], []).append((came, index))
    ends = [0.0] * len(graph.chains)
    for target, lines in arriving.items():
        reach, last = sizes[target][0] / 2 - _CORNER, len(lines) - 1
        apart = min(_PARALLEL, reach / max(last, 1))
        for turn, (came, index) in enumerate(sorted(lines)):
            left = x[target] - reach + turn * apart
            right = x[target] + reach - (last - turn) * apart
            ends[index] = min(max(came, left), right)
    return ends
