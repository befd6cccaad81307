"""Find the horizontal places of vertices whose order is known.

After Brandes and Köpf, "Fast and simple horizontal coordinate assignment", Graph Drawing 2001.
Vertices are aligned into straight blocks with the median of their neighbours, blocks are moved
together, and that four times: aligned with those above or below, the leftmost or the rightmost
first. The four places are averaged. The blocks are moved as longest paths, which is
simpler than the classes of the paper.
"""

from __future__ import annotations

from collections.abc import Callable
from graphlib import TopologicalSorter
from itertools import pairwise

from nnmed.explain.drawing.layers import Layered

Gap = Callable[[int, int], float]


def place(graph: Layered, gap: Gap) -> list[float]:
    """Return the horizontal place of the middle of each vertex.

    Parameters
    ----------
    graph : Layered
        In its final order.
    gap : callable (int, int) -> float
        The least distance between the middles of two neighbours; symmetric.
    """
    straight = _straight_segments(graph)
    up, down = [[] for _ in graph.above], [[] for _ in graph.above]
    for upper, lower in straight:
        up[lower].append(upper)
        down[upper].append(lower)
    candidates = []
    for layers, neighbours in ((graph.layers, up), (graph.layers[::-1], down)):
        candidates.append(_compact(graph.layers, _align(layers, neighbours), gap))
        mirrored = [layer[::-1] for layer in layers]
        blocks = _align(mirrored, neighbours)
        flipped = _compact([layer[::-1] for layer in graph.layers], blocks, gap)
        candidates.append([-x for x in flipped])
    places = _averaged(candidates)
    _pull_sources(graph, places, gap)
    return places


def _straight_segments(graph: Layered) -> set[tuple[int, int]]:
    """Return the segments that may be drawn upright: none crosses one between two dummies.

    The end of a long edge, or a tensor that is only used here, must not bend the chain of ops: a
    segment counts only if neither end has a better neighbour.
    """
    rank = {v: 0 if graph.is_dummy(v) else 1 for v in range(len(graph.above))}
    rank.update(dict.fromkeys(graph.sources, -1))
    positions, segments = graph.positions(), set()
    for layer in graph.layers:
        own = [(upper, lower) for upper in layer for lower in graph.below[upper]]
        inner = [(u, v) for u, v in own if graph.is_dummy(u) and graph.is_dummy(v)]
        for u, v in own:
            best = rank[u] == max(rank[other] for other in graph.above[v]) and (
                rank[v] == max(rank[other] for other in graph.below[u])
            )
            crossed = any(
                (positions[u] - positions[a]) * (positions[v] - positions[b]) < 0 for a, b in inner
            )
            if (u, v) in inner or (best and not crossed):
                segments.add((u, v))
    return segments


def _align(layers, neighbours) -> list[int]:
    """Return for each vertex the first vertex of its block, the layers being visited in turn."""
    root = list(range(len(neighbours)))
    position: dict[int, int] = {}
    for layer in layers:
        taken = -1
        for vertex in layer:
            others = sorted([position[other], other] for other in neighbours[vertex])
            for place, other in others[(len(others) - 1) // 2 : len(others) // 2 + 1]:
                if root[vertex] == vertex and place > taken:
                    root[vertex], taken = root[other], place
        position = {vertex: place for place, vertex in enumerate(layer)}
    return root


def _compact(layers, root, gap: Gap) -> list[float]:
    """Return places as far to the left as the gaps allow, blocks then pulled to the right."""
    left: dict[int, list[tuple[int, float]]] = {block: [] for block in root}
    right: dict[int, list[tuple[int, float]]] = {block: [] for block in root}
    for layer in layers:
        for one, other in pairwise(layer):
            left[root[other]].append((root[one], gap(one, other)))
            right[root[one]].append((root[other], gap(one, other)))
    order = list(
        TopologicalSorter({b: [o for o, _ in before] for b, before in left.items()}).static_order()
    )
    x: dict[int, float] = {}
    for block in order:
        x[block] = max([x[other] + least for other, least in left[block]], default=0.0)
    for block in reversed(order):
        x[block] = max(x[block], min([x[o] - g for o, g in right[block]], default=x[block]))
    return [x[block] for block in root]


def _averaged(candidates) -> list[float]:
    """Return the mean of the two middle places, the candidates moved over the narrowest.

    Those of which the leftmost were aligned first are moved by their left borders.
    """
    if not candidates[0]:
        return []
    narrowest = min(candidates, key=lambda places: max(places) - min(places))
    moved = []
    for index, places in enumerate(candidates):
        border = max if index % 2 else min
        shift = border(narrowest) - border(places)
        moved.append([x + shift for x in places])
    return [sum(sorted(four)[1:3]) / 2 for four in zip(*moved)]


def _pull_sources(graph: Layered, places: list[float], gap: Gap) -> None:
    """Move tensors that one op uses as near to it as their neighbours let them."""
    for layer in graph.layers:
        for vertices, sign in ((layer, 1), (layer[::-1], -1)):
            for index, vertex in enumerate(vertices):
                if vertex not in graph.sources or len(graph.below[vertex]) != 1:
                    continue
                wanted = sign * places[graph.below[vertex][0]]
                for other in vertices[index + 1 : index + 2]:
                    wanted = min(wanted, sign * places[other] - gap(vertex, other))
                for other in vertices[:index][-1:]:
                    wanted = max(wanted, sign * places[other] + gap(other, vertex))
                places[vertex] = sign * wanted
