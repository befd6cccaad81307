"""What is measured: every function that has kernels, at sizes from real networks."""

from __future__ import annotations

from benchmarks.cases import conv, maps, optimizer, pointwise
from benchmarks.cases.case import Case, output_gradient
from nnmed.errors import UsageError

CASES = [*conv.CASES, *maps.CASES, *pointwise.CASES, *optimizer.CASES]
FAMILIES = tuple(dict.fromkeys(case.family for case in CASES))
QUICK = 2  # cases of each family in a quick run


def chosen(families, text: str = "", quick: bool = False) -> list[Case]:
    """Return the cases of `families` whose names contain `text`.

    A quick run takes the first two of each family, shrunk.

    Raises
    ------
    UsageError
        If no case is left.
    """
    cases = [case for case in CASES if case.family in families and text in case.name]
    if not cases:
        raise UsageError(f"no kernel of {', '.join(families)} has {text!r} in its name")
    if not quick:
        return cases
    return [c.shrunk() for f in families for c in [c for c in cases if c.family == f][:QUICK]]


__all__ = ["CASES", "FAMILIES", "Case", "chosen", "output_gradient"]
