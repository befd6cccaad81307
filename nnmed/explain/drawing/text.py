"""A graph as lines of text, in the manner of ``git log --graph``."""

from __future__ import annotations

from nnmed.explain.drawing import labels

_UP, _DOWN, _LEFT, _RIGHT = 1, 2, 4, 8
_BOX = " ╵╷│╴╯╮┤╶╰╭├─┴┬┼"  # by the sides that a line leaves through


def draw(graph) -> str:
    """Return the graph from the output down to the tensors, in the order of backward.

    A line an op; lines in the margin lead to its inputs. Tensors that one op uses stand in
    that op's line.
    """
    users, inputs = {}, {}
    for edge in graph.edges:
        users.setdefault(edge.source, set()).add(edge.target)
        inputs.setdefault(edge.target, []).append(edge)
    inline = {node for node, own in users.items() if not node.ops and len(own) == 1}
    nodes = [node for node in reversed(graph.nodes) if node not in inline]
    margin = _Margin()
    lines = []
    for node in nodes:
        sources = dict.fromkeys(edge.source for edge in inputs.get(node, []))
        rows = margin.rows(node, [source for source in sources if source not in inline])
        own = [edge for edge in inputs.get(node, []) if edge.source in inline]
        lines.append(f"{rows[0]}  {_line(node, own)}".rstrip())
        lines += rows[1:]
    return "\n".join(lines)


def _line(node, own) -> str:
    tensors = ", ".join(f"{e.source.name} {e.shape}" for e in own)
    place = labels.place(node)
    name = f"{labels.title(node)} {node.shape}"
    parts = [name, place, tensors and f"<- {tensors}"]
    return "  ".join([part for part in parts if part])


class _Margin:
    """The lines left of the text: a column for each node that is still to come."""

    def __init__(self):
        self.columns: list = []

    def rows(self, node, inputs) -> list[str]:
        """Return the row of a node, and the one below it if lines branch or join there."""
        while self.columns and self.columns[-1] is None:
            self.columns.pop()
        if node not in self.columns:
            self._wait(node)
        own = self.columns.index(node)
        marks = ["│" if waiting else " " for waiting in self.columns]
        marks[own] = "●"
        came = [waiting is not None for waiting in self.columns]
        self.columns[own] = None
        for source in inputs:
            if source not in self.columns:
                self._wait(source, own)
        ends = [self.columns.index(source) for source in inputs]
        rows = [" ".join(marks)]
        if set(ends) - {own}:
            came += [False] * (len(self.columns) - len(came))
            rows.append(self._branches(own, ends, came))
        return rows

    def _wait(self, node, wanted=0) -> None:
        """Give a node a column: the one that is wanted, or another free one, or a new one."""
        free = [column for column, waiting in enumerate(self.columns) if waiting is None]
        if wanted in free:
            self.columns[wanted] = node
        elif free:
            self.columns[free[0]] = node
        else:
            self.columns.append(node)

    def _branches(self, own, ends, came) -> str:
        """Return a row that leads from a column to others; lines that it passes stay whole."""
        low, high = min(own, *ends), max(own, *ends)
        row = ""
        for column, waiting in enumerate(self.columns):
            sides = _UP * came[column] | _DOWN * (waiting is not None)
            if column in (own, *ends) or not sides:
                sides |= _LEFT * (low < column <= high) | _RIGHT * (low <= column < high)
            row += _BOX[sides] + ("─" if low <= column < high else " ")
        return row.rstrip()
