"""A graph as SVG."""

from __future__ import annotations

from itertools import pairwise
from xml.sax.saxutils import escape, quoteattr

from nnmed.explain.drawing import labels
from nnmed.explain.drawing.layout import lay_out

_CHARACTER = 7.3  # width of a character in a monospaced font of 12 pixels
_LINE = 15
_PADDING = 10
_ARROW = 7
_NAME = ' class="name"'
LIGHT = """--paper: #ffffff; --ink: #1b1b1b; --soft: #5f6368; --line: #6b7177;
  --op: #eaf3fa; --op-line: #0072b2; --module: #e6f5f0; --module-line: #009e73;
  --parameter: #fdf0e7; --parameter-line: #d55e00; --input: #f6edf3; --input-line: #b0528a;
  --constant: #f3f3f3; --constant-line: #8a8a8a;"""
DARK = """--paper: #16181b; --ink: #ececec; --soft: #a9aeb4; --line: #989fa6;
  --op: #132a3a; --op-line: #56b4e9; --module: #12312a; --module-line: #2fc79c;
  --parameter: #3a2415; --parameter-line: #f09a5c; --input: #35222e; --input-line: #dc93ba;
  --constant: #2a2c2f; --constant-line: #8f959b;"""
_STYLE = (
    """
.nnmed-graph { LIGHT background: var(--paper);
  font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
@media (prefers-color-scheme: dark) { .nnmed-graph { DARK } }
.nnmed-graph text { fill: var(--soft); text-anchor: middle; }
.nnmed-graph .input-name { font-size: 10px; text-anchor: end; }
.nnmed-graph .name { fill: var(--ink); font-weight: bold; }
.nnmed-graph .edge path { fill: none; stroke: var(--line); stroke-width: 1.3; }
.nnmed-graph .edge .arrow { fill: var(--line); stroke: none; }
.nnmed-graph .edge.constant path { stroke-dasharray: 4 3; }
""".replace("LIGHT", LIGHT).replace("DARK", DARK)
    + "\n".join(
        f".nnmed-graph .{kind} rect {{ fill: var(--{kind}); stroke: var(--{kind}-line); }}"
        for kind in ("op", "module", "parameter", "input", "constant")
    )
)


def draw(graph) -> str:
    """Return the picture of a :class:`nnmed.explain.graph.Graph`.

    Nodes have the class ``node`` and the attribute ``data-order``, the number of their last op.
    """
    number = {node: index for index, node in enumerate(graph.nodes)}
    texts = [labels.lines(node) for node in graph.nodes]
    sizes = [_size(lines) for lines in texts]
    layout = lay_out(sizes, [(number[e.source], number[e.target]) for e in graph.edges])
    ops = sum(len(node.ops) for node in graph.nodes)
    width, height = round(layout.width), round(layout.height)
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" class="nnmed-graph" role="img" '
        f'aria-label="Computational graph" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}">',
        "<title>Computational graph</title>",
        f"<desc>{len(graph.nodes)} nodes with {ops} operations; data flow downward, "
        "gradients upward.</desc>",
        f"<style>{_STYLE}</style>",
        *[_edge(edge, points) for edge, points in zip(graph.edges, layout.lines)],
        *map(_node, graph.nodes, texts, sizes, layout.centres),
        "</svg>\n",
    ])  # fmt: skip


def _size(lines) -> tuple[float, float]:
    longest = max(map(len, lines))
    return longest * _CHARACTER + 2 * _PADDING, len(lines) * _LINE + _PADDING


def _node(node, lines, size, centre) -> str:
    (width, height), (x, y) = size, centre
    order = f' data-order="{node.ops[-1].order}"' if node.ops else ""
    radius = 4 if node.ops else height / 2
    top = y - height / 2
    texts = [
        f'<text{"" if index else _NAME} x="{x:.1f}" '
        f'y="{top + _PADDING / 2 + _LINE * (index + 0.75):.1f}">{escape(line)}</text>'
        for index, line in enumerate(lines)
    ]
    return (
        f'<g class="node {node.kind}"{order} aria-label={quoteattr(", ".join(lines))}>'
        f"<title>{escape(labels.description(node))}</title>"
        f'<rect x="{x - width / 2:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'rx="{radius:g}"/>{"".join(texts)}</g>'
    )


def _edge(edge, points) -> str:
    about = f"{edge.source.name} {edge.shape} to {edge.name} of {edge.target.name}"
    x, y = points[-1]
    arrow = f"M{x:.1f} {y:.1f}l-{_ARROW / 2} -{_ARROW}h{_ARROW}z"
    return (
        f'<g class="edge {edge.source.kind}"><title>{escape(about)}</title>'
        f'<path d="{_path(points)}"/><path class="arrow" d="{arrow}"/>{_input_name(edge, x, y)}</g>'
    )


def _input_name(edge, x, y) -> str:
    """Return what the op calls its input, for formulas; a parameter has that in its own name."""
    if edge.target.kind == "module" or edge.source.kind == "parameter":
        return ""
    return f'<text class="input-name" x="{x - 6:.1f}" y="{y - 3:.1f}">{escape(edge.name)}</text>'


def _path(points) -> str:
    """Return upright pieces, joined by curves that leave and arrive upright."""
    x, y = points[0]
    pieces = [f"M{x:.1f} {y:.1f}"]
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 == x1:
            pieces.append(f"V{y1:.1f}")
        else:
            middle = (y0 + y1) / 2
            pieces.append(f"C{x0:.1f} {middle:.1f} {x1:.1f} {middle:.1f} {x1:.1f} {y1:.1f}")
    return "".join(pieces)
