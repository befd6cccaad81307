"""Order the vertices within their layers, so that few edges cross."""

from __future__ import annotations

from bisect import bisect, insort

from nnmed.explain.drawing.layers import Layered

_SWEEPS = 24


def order(graph: Layered) -> None:
    """Sort each layer by the mean places of the neighbours: Sugiyama's barycentres.

    Sweeps go down and up by turns; the best order of all is taken.
    """
    best, fewest = [list(layer) for layer in graph.layers], crossings(graph)
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        if sweep % 2:
            _sweep(graph.layers[-2::-1], graph.below, graph.positions())
        else:
            _sweep(graph.layers[1:], graph.above, graph.positions())
        count = crossings(graph)
        if count < fewest:
            best, fewest = [list(layer) for layer in graph.layers], count
    graph.layers = best


def crossings(graph: Layered) -> int:
    """Return how many pairs of edges cross."""
    positions, count = graph.positions(), 0
    for layer in graph.layers:
        ends: list[int] = []  # of the edges further left
        for vertex in layer:
            own = [positions[lower] for lower in graph.below[vertex]]
            count += sum(len(ends) - bisect(ends, end) for end in own)
            for end in own:
                insort(ends, end)
    return count


def _sweep(layers, neighbours, positions) -> None:
    for layer in layers:
        middle = {
            vertex: _mean([positions[other] for other in neighbours[vertex]], positions[vertex])
            for vertex in layer
        }
        layer.sort(key=middle.__getitem__)
        for position, vertex in enumerate(layer):
            positions[vertex] = position


def _mean(places, default) -> float:
    return sum(places) / len(places) if places else default
