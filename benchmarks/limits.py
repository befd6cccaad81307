"""Whether NumPy could be faster: kernels that miss their mark, beside the bare calls they need.

    python -m benchmarks limits

For each kernel the fewest NumPy calls that do its arithmetic run with nothing around them
(benchmarks/subjects/bare_calls.py), beside nnmed's kernel and PyTorch's. Where even the bare
calls are slower than the mark allows, no kernel made of them can meet it: it would take fewer
passes over memory than we know; where they are faster, there is something left to gain. Ratios
are PyTorch's time in the better of its two layouts, divided by that of the calls or of nnmed,
forward and backward together: medians over interleaved rounds.
"""

from __future__ import annotations

import argparse

import numpy as np

from benchmarks import cases, machine, measure, options
from benchmarks.kernels import SECONDS
from benchmarks.subjects.bare_calls import LIMITS, BareCalls
from benchmarks.subjects.nnmed_ops import NnmedOp
from benchmarks.tables import number, table
from nnmed.errors import UsageError

HEAD = (
    "family", "kernel", "bare calls ms", "nnmed ms", "PyTorch ms", "ratio, bare calls",
    "ratio, nnmed", "wanted",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    options.add_arguments(parser, repeat=9)


def run(parsed: argparse.Namespace) -> list[str]:
    """Measure, print and write; nothing here can be wrong.

    Raises
    ------
    UsageError
        If more threads than one are wanted.
    """
    from tqdm import tqdm

    if parsed.threads > 1:
        raise UsageError("limits: the bare calls run on one thread: leave out --threads")
    chosen = [case for case in cases.CASES if (case.family, case.name) in LIMITS]
    chosen = chosen[:: len(chosen) // 2] if parsed.quick else chosen
    with options.equal_threads(parsed) as torch:
        timing = dict(rounds=parsed.rounds, clock=measure.cpu_clock(1), seconds=SECONDS)
        bar = tqdm(chosen, "limits", leave=False, disable=None, unit="kernel")
        rows = [measure_case(case, torch, timing) for case in bar]
        description = machine.describe(torch)
    print(table(HEAD, [_cells(row, parsed) for row in rows], left=2))
    options.write_json(parsed, machine=description, rows=rows)
    return []


def measure_case(case, torch, timing) -> dict:
    """Measure the bare calls, nnmed and PyTorch."""
    subjects = [BareCalls(case), NnmedOp(case)]
    if torch is not None:
        from benchmarks.subjects.torch_ops import in_layouts

        subjects += in_layouts(case)
    times = measure.interleaved([op.steps for op in subjects], **timing).sum(axis=2)
    calls, ours, *theirs = np.median(times, axis=0).tolist()
    row = {"family": case.family, "kernel": case.name, "wanted": LIMITS[case.family, case.name][0]}
    row |= {"calls_s": calls, "nnmed_s": ours, "pytorch_s": min(theirs, default=None)}
    for name, own in (("ratio_calls", times[:, :1]), ("ratio_nnmed", times[:, 1:2])):
        ratios = np.median(times[:, 2:] / own, axis=0)
        row[name] = float(ratios.min()) if theirs else None
    return row


def _cells(row, parsed) -> list[str]:
    milliseconds = [number(row[name] * 1e3) for name in ("calls_s", "nnmed_s")]
    theirs = options.without_torch(parsed)
    if row["pytorch_s"] is not None:
        theirs = number(row["pytorch_s"] * 1e3)
    ratios = [number(row[name]) for name in ("ratio_calls", "ratio_nnmed", "wanted")]
    return [row["family"], row["kernel"], *milliseconds, theirs, *ratios]
