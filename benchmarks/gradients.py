"""How accurate each form of each kernel is: output and gradients against float64.

    python -m benchmarks gradients --family conv
    python -m benchmarks gradients --family conv --only 256
    python -m benchmarks gradients --family conv --device gpu --tf32

Each form runs in float32; the truth is computed in float64 from the very same numbers: by the
reference form's loops where the input is small, else by the fast form, which tests hold to the
loops. Maximum and mean error are in standard deviations of the true result; y is the output
(of an optimizer the worst of its parameters), dx and dw are the gradients of input and weight,
and --json has the others too.
"""

from __future__ import annotations

import argparse

import numpy as np

from benchmarks import agreement, cases, machine, options
from benchmarks.kernels import DEVICES, TOLERANCES
from benchmarks.subjects import nnmed_ops
from benchmarks.tables import table
from nnmed.backend import cuda, precision

HEAD = ("kernel", "form", "y max", "y mean", "dx max", "dx mean", "dw max", "dw mean")
SHOWN = ("input", "weight")  # of the gradients


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    options.add_arguments(parser, repeat=None)
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


def run(parsed: argparse.Namespace) -> list[str]:
    """Measure, print and write; return what was wrong."""
    from tqdm import tqdm

    chosen = cases.chosen(parsed.family, parsed.only, parsed.quick)
    if "gpu" in parsed.device:
        cuda.cupy()  # or the error that says what is missing
    rows = []
    with options.equal_threads(parsed) as torch, options.equal_products(parsed, torch):
        for case in tqdm(chosen, "gradients", leave=False, disable=None, unit="kernel"):
            if not case.random:
                rows += measure_case(case, parsed.device, torch)
        description = machine.describe(torch)
    for family in dict.fromkeys(row["family"] for row in rows):
        own = [row for row in rows if row["family"] == family]
        print(f"\n### {family}\n")
        print(table(HEAD, _lines(own), left=2))
    if torch is None:
        print(f"\nPyTorch: {options.without_torch(parsed)}")
    options.write_json(parsed, machine=description, rows=rows)
    return [
        f"{row['kernel']}, {row['form']}: the {row['result']} is {row['max_error']:.1e} "
        "standard deviations off"
        for row in rows
        if row["wrong"]
    ]


def measure_case(case, devices, torch) -> list[dict]:
    """Return a row for each form and result."""
    form = "reference" if "reference" in nnmed_ops.forms(case) else "cpu"
    truths = nnmed_ops.NnmedOp(case, form, dtype=np.float64).results()
    subjects = [(op.name, op) for device in devices for op in nnmed_ops.applicable(case, device)]
    if torch is not None:
        from benchmarks.subjects.torch_ops import TorchOp

        subjects += [(f"PyTorch, {device}", TorchOp(case, device=device)) for device in devices]
    rows, tolerance = [], TOLERANCES[precision.current()]
    for form, op in subjects:
        results = op.results()
        for name, truth in truths.items():
            error = agreement.error(results[name], truth)
            rows.append({
                "family": case.family, "kernel": case.name, "form": form, "result": name,
                "max_error": error.largest, "mean_error": error.mean,
                "wrong": not error.largest <= tolerance,
            })  # fmt: skip
    return rows


def _lines(rows) -> list[list[str]]:
    """Return a line for each kernel and form."""
    lines = []
    for kernel, form in dict.fromkeys((row["kernel"], row["form"]) for row in rows):
        own = {r["result"]: r for r in rows if (r["kernel"], r["form"]) == (kernel, form)}
        mark = " (WRONG)" if any(row["wrong"] for row in own.values()) else ""
        results = [row for name, row in own.items() if not name.startswith("gradient of ")]
        worst = max(results, key=lambda row: row["max_error"])  # an optimizer has many
        shown = [worst, *(own.get(f"gradient of {name}") for name in SHOWN)]
        lines.append([kernel + mark, form, *(cell for row in shown for cell in _errors(row))])
    return lines


def _errors(row: dict | None) -> tuple[str, str]:
    if row is None:
        return "-", "-"
    return f"{row['max_error']:.1e}", f"{row['mean_error']:.1e}"
