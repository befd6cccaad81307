"""Give every node a layer, and every long edge a vertex in each layer that it passes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise


@dataclass
class Layered:
    """A graph whose edges go from one layer to the next.

    Vertices are numbers: first the nodes of the graph, then the dummies that stand for long
    edges.

    Attributes
    ----------
    layers : list of list of int
        The vertices of each layer, from left to right.
    chains : list of list of int
        For each edge of the graph the vertices that it passes, with both ends.
    above, below : list of list of int
        The neighbours of each vertex in the layer above, and below.
    nodes : int
        How many vertices are nodes; all others are dummies.
    sources : set of int
        The nodes that nothing leads to.
    """

    layers: list[list[int]]
    chains: list[list[int]]
    above: list[list[int]]
    below: list[list[int]]
    nodes: int
    sources: set[int]

    def is_dummy(self, vertex: int) -> bool:
        """Tell whether a vertex is a place on a long edge."""
        return vertex >= self.nodes

    def positions(self) -> list[int]:
        """Return the place of each vertex in its layer."""
        positions = [0] * len(self.above)
        for layer in self.layers:
            for position, vertex in enumerate(layer):
                positions[vertex] = position
        return positions


def in_layers(count: int, edges: list[tuple[int, int]]) -> Layered:
    """Put nodes on layers.

    Parameters
    ----------
    count : int
        Number of nodes.
    edges : list of (int, int)
        From a smaller to a greater number.
    """
    level = _levels(count, edges)
    layers = [[] for _ in range(max(level, default=-1) + 1)]
    for node in range(count):
        layers[level[node]].append(node)
    chains, vertices = [], count
    for source, target in edges:
        passed = range(level[source] + 1, level[target])
        chain = list(range(vertices, vertices + len(passed)))
        for dummy, place in zip(chain, passed):
            layers[place].append(dummy)
        vertices += len(chain)
        chains.append([source, *chain, target])
    above, below = [[] for _ in range(vertices)], [[] for _ in range(vertices)]
    for chain in chains:
        for upper, lower in pairwise(chain):
            below[upper].append(lower)
            above[lower].append(upper)
    sources = {node for node in range(count) if not above[node]}
    return Layered(layers, chains, above, below, count, sources)


def _levels(count, edges) -> list[int]:
    """Return the longest path to each node, those that feed little moved down to their users."""
    inputs, users = [[] for _ in range(count)], [[] for _ in range(count)]
    for source, target in edges:
        inputs[target].append(source)
        users[source].append(target)
    level = [0] * count
    for node in range(count):
        level[node] = max([level[source] + 1 for source in inputs[node]], default=0)
    for node in reversed(range(count)):
        # Sources move along, so their edges do not grow.
        longer = sum(bool(inputs[source]) for source in inputs[node])
        if users[node] and longer <= len(users[node]):
            level[node] = min(level[user] for user in users[node]) - 1
    return level
