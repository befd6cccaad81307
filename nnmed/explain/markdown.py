"""A derivation as Markdown."""

from __future__ import annotations

from nnmed.explain import table


def write(derivation) -> str:
    """Return a section for each step, with its formulas between dollar signs."""
    parts = ["# Derivation", table.summary(derivation), *map(_step, derivation)]
    parts.append("## Leaves")
    parts += [f"- `{derivation.chain_rule(leaf.name)}`" for leaf in derivation.leaves]
    return "\n\n".join(parts) + "\n"


def _step(step) -> str:
    layer = f" in `{step.layer}`" if step.layer else ""
    parts = [
        f"## Step {step.index}: {step.op_name}{layer}",
        f"`{step.source or step.file}` (line {step.line})",
        *[f"$${formula}$$" for formula in _formulas(step) if formula],
        _arrays(step),
        *step.notes,
    ]
    if step.numbers:
        parts.append(f"```\n{step.numbers}\n```")
    if step.check is not None:
        parts.append(f"Check: **{step.check.verdict}**. {step.check.message}".rstrip())
    return "\n\n".join(parts)


def _formulas(step) -> list[str]:
    return [step.forward_latex, *(i.formula for i in step.inputs if i.gradient is not None)]


def _arrays(step) -> str:
    rows = [("y", step.shape, step.statistics)]
    rows += [(i.name, i.shape, i.statistics) for i in step.inputs if i.gradient is not None]
    lines = [
        "| gradient by | shape | norm | min | mean | max | zeros |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, shape, s in rows:
        numbers = " | ".join(f"{n:.4g}" for n in (s.norm, s.min, s.mean, s.max))
        lines.append(f"| {name} | {table.shape_text(shape)} | {numbers} | {s.zeros:.1%} |")
    return "\n".join(lines)
