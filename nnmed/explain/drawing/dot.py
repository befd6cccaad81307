"""A graph in the language of Graphviz."""

from __future__ import annotations

from nnmed.explain.drawing import labels

_SHAPES = {"op": "box", "module": "box3d"}


def draw(graph) -> str:
    """Return the graph as DOT, which ``dot -Tsvg`` draws."""
    number = {node: f"n{index}" for index, node in enumerate(graph.nodes)}
    nodes = [
        f"  {number[node]} [label={_quoted(labels.lines(node))}, "
        f"shape={_SHAPES.get(node.kind, 'ellipse')}, "
        f"tooltip={_quoted(labels.description(node).splitlines())}];"
        for node in graph.nodes
    ]
    edges = [
        f"  {number[edge.source]} -> {number[edge.target]} "
        f"[label={_quoted([str(edge.shape)])}, tooltip={_quoted([edge.name])}];"
        for edge in graph.edges
    ]
    return "\n".join(["digraph {", '  node [fontname="monospace"];', *nodes, *edges, "}\n"])


def _quoted(lines) -> str:
    escaped = [line.replace("\\", "\\\\").replace('"', '\\"') for line in lines]
    return '"' + "\\n".join(escaped) + '"'
