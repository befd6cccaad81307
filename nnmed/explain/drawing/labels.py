"""What is written in a node, and what it tells when it is pointed at."""

from __future__ import annotations

from nnmed.explain.formula.spelling import formula_text
from nnmed.explain.names import place_of


def title(node) -> str:
    """Return the name of a node, behind that of the variable which holds its output."""
    return f"{node.variable} = {node.name}" if node.ops and node.variable else node.name


def place(node) -> str:
    """Return the user's line of an op, and how many ops a module has."""
    if node.kind == "module":
        count = len(node.ops)
        return f"{count} op{'s' * (count > 1)}"
    return place_of(node.ops[0]) if node.ops else ""


def lines(node) -> list[str]:
    """Return the lines that stand in the box of a node."""
    return [line for line in (title(node), str(node.shape), place(node)) if line]


def description(node) -> str:
    """Return formulas and whereabouts of a node, over several lines."""
    if not node.ops:
        return f"{node.kind} {node.name}, shape {node.shape}"
    if node.kind == "module":
        return "\n".join([f"{node.name}:", *[f"  {op.name} {op.location}" for op in node.ops]])
    (op,) = node.ops
    forward, backward = op.latex()
    inputs = ", ".join(map(str, op.input_shapes))
    parts = [
        f"{op.name} {inputs} -> {node.shape}",
        node.layer and f"in {node.layer}",
        op.location,
        formula_text(forward),
        *[formula_text(formula) for formula in backward.values()],
    ]
    return "\n".join([part for part in parts if part])
