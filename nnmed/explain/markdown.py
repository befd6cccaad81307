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
        *[f"$${formula}$$" for formula in step.formulas],
        _gradients(step),
        *step.notes,
    ]
    if step.numbers:
        parts.append(f"```\n{step.numbers}\n```")
    if step.check is not None:
        parts.append(f"Check: **{step.check.verdict}**. {step.check.message}".rstrip())
    return "\n\n".join(parts)


def _gradients(step) -> str:
    columns = table.GRADIENT_COLUMNS
    rows = [columns, ["---"] * len(columns), *table.gradient_rows(step)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
