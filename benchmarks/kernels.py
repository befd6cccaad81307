"""Each kernel in each of its forms, beside PyTorch and beside the machine's ceilings.

    python -m benchmarks kernels --family conv
    python -m benchmarks kernels --family conv --only "at 64" --threads 2 --repeat 30
    python -m benchmarks kernels --family pooling,loss --json pooling.json --plot roofline.png

Measured are forward and backward as training runs them, with the graph of one call. The
ratio is PyTorch's time divided by nnmed's, the median over rounds: 1 is as fast, 0.5 takes
twice as long. PyTorch runs in its default layout (NCHW) and in channels_last; "better" is
the faster of the two. "of ceiling" is the time that the work takes at the nearer ceiling of
the machine (sgemm, copy), divided by the time it took.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import numpy as np

from benchmarks import agreement, cases, machine, measure, options, work
from benchmarks.measure import Spread
from benchmarks.subjects import nnmed_ops
from benchmarks.tables import number, percent, table
from nnmed.backend import cuda, precision

DEVICES = ("cpu", "gpu")
# In standard deviations of the result: far above float32's rounding and Winograd's, or tfloat32's.
TOLERANCES = {"float32": 1e-3, "tfloat32": 3e-2}
# A case takes at most about this long, but for the least number of rounds.
SECONDS = 10.0
HEAD = (
    "kernel", "form", "pass", "ms", "quartiles", "GFLOP/s", "GB/s", "of ceiling",
    "PyTorch ms", "ratio, default", "ratio, better",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    options.add_arguments(parser, repeat=15)
    parser.add_argument(
        "--family", type=options.names_of(cases.FAMILIES), default=list(cases.FAMILIES),
        metavar="NAME[,NAME]", help=f"of {', '.join(cases.FAMILIES)} (default: all)",
    )  # fmt: skip
    parser.add_argument("--only", default="", metavar="TEXT", help="kernels with this in the name")
    parser.add_argument(
        "--device", type=options.names_of(DEVICES), default=["cpu"], metavar="cpu,gpu",
        help="(default: cpu)",
    )  # fmt: skip
    options.add_tf32_argument(parser)
    parser.add_argument("--plot", type=Path, metavar="FILE", help="roofline, as .png or .svg")


def run(parsed: argparse.Namespace) -> list[str]:
    """Measure, print and write; return what was wrong."""
    from benchmarks import roofline

    if parsed.plot is not None:
        roofline.check_name(parsed.plot)
    chosen = cases.chosen(parsed.family, parsed.only, parsed.quick)
    if "gpu" in parsed.device:
        cuda.cupy()  # or the error that says what is missing
    with options.equal_threads(parsed) as torch, options.equal_products(parsed, torch):
        ceilings, rows = {}, []
        for device in parsed.device:
            clock = measure.gpu_clock() if device == "gpu" else measure.cpu_clock(parsed.threads)
            ceilings[device] = _ceilings(device, clock, parsed)
            rows += _measure_all(chosen, device, clock, ceilings[device], torch, parsed)
        description = machine.describe(torch)
    _print(rows, ceilings, parsed)
    options.write_json(
        parsed,
        machine=description,
        ceilings={device: c._asdict() for device, c in ceilings.items()},
        rows=rows,
    )
    if parsed.plot is not None:
        roofline.draw(rows, ceilings, parsed.threads, parsed.plot)
    wrong = [row for row in rows if row["wrong"]]
    return sorted({f"{row['kernel']}, {row['form']}: {row['wrong']}" for row in wrong})


def _ceilings(device, clock, parsed) -> machine.Ceilings:
    if device == "gpu":
        return machine.gpu_ceilings(clock, parsed.quick)
    return machine.cpu_ceilings(parsed.threads, clock, parsed.quick)


def _measure_all(chosen, device, clock, ceilings, torch, parsed) -> list[dict]:
    from tqdm import tqdm

    # A single thread of PyTorch's leaves none behind that could spin.
    pause = measure.PAUSE if torch is not None and parsed.threads > 1 and not parsed.quick else 0
    rows = []
    bar = tqdm(chosen, f"kernels, {device}", leave=False, disable=None, unit="kernel")
    for case in bar:
        bar.set_postfix_str(str(case))
        timing = dict(rounds=parsed.rounds, clock=clock, pause=pause, seconds=SECONDS)
        rows += measure_case(case, device, ceilings, torch, timing)
    return rows


def measure_case(case, device, ceilings, torch, timing) -> list[dict]:
    """Measure one kernel in all its forms beside PyTorch: a row for each form and pass."""
    ours, theirs = nnmed_ops.applicable(case, device), []
    if torch is not None:
        from benchmarks.subjects.torch_ops import in_layouts

        theirs = in_layouts(case, device)
    judge = theirs[0] if theirs else next((op for op in ours if op.name == "reference"), ours[0])
    expected = judge.results()
    wrong = {op.name: found_wrong(op, expected) for op in ours if op is not judge}
    times = measure.interleaved([op.steps for op in (*ours, *theirs)], **timing)
    passes = list(zip(("forward", "backward"), work.of(case), times.transpose(2, 0, 1)))
    if len(passes) == 2:
        passes.append(("both", passes[0][1] + passes[1][1], times.sum(axis=2)))
    else:
        passes = [("step", *passes[0][1:])]
    rows = []
    for index, op in enumerate(ours):
        for name, amount, seconds in passes:
            row = {"family": case.family, "kernel": case.name, "form": op.name, "pass": name}
            row |= {"device": device, "wrong": wrong.get(op.name), "rounds": len(seconds)}
            row |= _figures(seconds[:, index], amount, ceilings)
            row |= _beside(seconds[:, index], seconds[:, len(ours) :], [t.name for t in theirs])
            rows.append(row)
    return rows


def found_wrong(op, expected: dict) -> str | None:
    """Return what is wrong with the results of `op`, or None."""
    if op.case.random:
        return None
    size, name = agreement.worst(op.results(), expected)
    if size <= TOLERANCES[precision.current()]:
        return None
    return f"the {name} is {size:.1e} standard deviations off"


def _figures(seconds, amount: work.Work, ceilings) -> dict:
    spread = Spread.of(seconds)
    return {
        **{f"{name}_s": value for name, value in spread._asdict().items()},
        "flops": amount.flops,
        "bytes": amount.moved,
        "gflops": amount.flops / spread.median / 1e9,
        "gbytes": amount.moved / spread.median / 1e9,
        "of_ceiling": ceilings.least_seconds(*amount) / spread.median,
    }


def _beside(seconds, others, names) -> dict:
    """Return PyTorch's medians and the ratios to them, in each layout and the better one."""
    medians = {name: float(np.median(t)) for name, t in zip(names, others.T)}
    ratios = {name: float(np.median(t / seconds)) for name, t in zip(names, others.T)}
    better = min(ratios, key=ratios.get, default=None)
    return {
        "pytorch_s": medians,
        "ratios": ratios,
        "ratio_default": ratios.get("default"),
        "ratio_better": ratios.get(better),
        "better_layout": better,
    }


def _print(rows, ceilings, parsed) -> None:
    for device, ceiling in ceilings.items():
        threads = f", {parsed.threads} threads" if device == "cpu" and parsed.threads > 1 else ""
        print(
            f"Ceilings, {device}{threads}: sgemm {number(ceiling.sgemm / 1e9)} GFLOP/s, "
            f"copy {number(ceiling.copy / 1e9)} GB/s"
        )
        for family in dict.fromkeys(row["family"] for row in rows):
            own = [r for r in rows if r["family"] == family and r["device"] == device]
            print(f"\n### {family}, {device}\n")
            print(table(HEAD, [_cells(row, parsed) for row in own], left=3))
            print(f"\n{_summary(own)}", end="")
    print()


def _cells(row, parsed) -> list[str]:
    quartiles = f"{number(row['lower_s'] * 1e3)}..{number(row['upper_s'] * 1e3)}"
    cells = [
        row["kernel"] + (" (WRONG)" if row["wrong"] else ""), row["form"], row["pass"],
        number(row["median_s"] * 1e3), quartiles,
        number(row["gflops"]), number(row["gbytes"]), percent(row["of_ceiling"]),
    ]  # fmt: skip
    if row["better_layout"] is None:
        return [*cells, options.without_torch(parsed), "-", "-"]
    theirs = row["pytorch_s"][row["better_layout"]] * 1e3
    return [*cells, number(theirs), number(row["ratio_default"]), number(row["ratio_better"])]


def _summary(rows) -> str:
    """Return the geometric mean of the whole kernels' ratios, form by form."""
    lines = []
    for form in dict.fromkeys(row["form"] for row in rows):
        whole = [r for r in rows if r["form"] == form and r["pass"] in ("both", "step")]
        if whole[0]["ratio_better"] is not None:
            means = [
                number(statistics.geometric_mean(r[key] for r in whole))
                for key in ("ratio_default", "ratio_better")
            ]
            lines.append(
                f"{form}: {len(whole)} kernels, geometric mean of the ratios {means[0]} to the "
                f"default layout, {means[1]} to the better one.\n"
            )
    return "".join(lines)
