"""Time and memory against work: batch, image size, channels and threads.

    python -m benchmarks scaling
    python -m benchmarks scaling --axis batch,threads --network unet --json scaling.json

A training step of one network, each point in a process of its own; along one axis all else
stays as usual. The exponent a of time ~ x^a is the slope of a straight line through the
logarithms, by least squares: x is the work in operations, 1 would be in proportion to it; for
threads x is their number, and -1 would be ideal.
"""

from __future__ import annotations

import argparse

import numpy as np

from benchmarks import machine, memory, networks, options
from benchmarks.tables import number, table
from nnmed.backend.threads import get_num_threads

AXES = {
    "batch": (1, 2, 4, 8, 16, 32),
    "size": (32, 64, 128, 256),
    "channels": (4, 8, 16, 32, 64),
    "threads": (1, 2, 4, 8, 16, 32, 64, 128),
}
QUICK = {"batch": (1, 2), "size": (16, 32), "channels": (2, 4), "threads": (1, 2)}
BATCH, QUICK_BATCH = 8, 2
HEAD = ("axis", "side", "value", "GFLOP", "ms", "images/s", "MB")
FIT_HEAD = ("axis", "against", "side", "time ~ x^", "memory ~ x^")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    options.add_arguments(parser, repeat=7)
    parser.add_argument(
        "--axis", type=options.names_of(AXES), default=list(AXES), metavar="NAME[,NAME]",
        help=f"of {', '.join(AXES)} (default: all)",
    )  # fmt: skip
    parser.add_argument("--network", choices=sorted(networks.NETWORKS), default="detector")


def run(parsed: argparse.Namespace) -> list[str]:
    """Measure, print and write; nothing is checked here."""
    from tqdm import tqdm

    torch = options.find_torch(parsed)
    sides = ["nnmed"] if torch is None else ["nnmed", "default", "channels_last"]
    points = [(axis, value, side) for axis in parsed.axis for value in _values(axis, parsed)
              for side in sides]  # fmt: skip
    rows = [
        measure_point(*point, parsed)
        for point in tqdm(points, "scaling", leave=False, disable=None, unit="process")
    ]
    _share_work(rows)
    fits = [fit(rows, axis, side) for axis in parsed.axis for side in sides]
    print(f"{parsed.network}, a training step; default and channels_last are PyTorch's\n")
    print(table(HEAD, [_cells(row) for row in rows], left=2))
    print()
    print(table(FIT_HEAD, [_fit_cells(line) for line in fits], left=3))
    if torch is None:
        print(f"\nPyTorch: {options.without_torch(parsed)}")
    options.write_json(parsed, machine=machine.describe(torch), rows=rows, fits=fits)
    return []


def _values(axis: str, parsed) -> list[int]:
    values = QUICK[axis] if parsed.quick else AXES[axis]
    if axis == "threads":
        return [n for n in values if n <= get_num_threads()]
    return list(values)


def measure_point(axis: str, value: int, side: str, parsed) -> dict:
    """Run one point in a process of its own."""
    batch = QUICK_BATCH if parsed.quick else BATCH
    workload, threads = networks.workload(parsed.network, batch, parsed.quick), parsed.threads
    if axis == "threads":
        threads = value
    else:
        workload = workload.with_(**{"width" if axis == "channels" else axis: value})
    wall = axis == "threads"
    figures = memory.alone(side, workload, "training", threads, parsed.rounds, wall)
    median = float(np.median(figures["seconds"]))
    return {
        "axis": axis, "value": value, "side": side, "flops": figures["flops"],
        "median_s": median, "images_per_s": workload.batch / median,
        "peak_bytes": figures["peak_bytes"], "threads": threads, **workload.as_dict(),
    }  # fmt: skip


def _share_work(rows) -> None:
    """Give PyTorch's rows the operations that nnmed counted at the same point."""
    counted = {(r["axis"], r["value"]): r["flops"] for r in rows if r["side"] == "nnmed"}
    for row in rows:
        row["flops"] = counted[row["axis"], row["value"]]


def fit(rows, axis: str, side: str) -> dict:
    """Return the exponents of time and memory along one axis."""
    own = [r for r in rows if r["axis"] == axis and r["side"] == side]
    against = "threads" if axis == "threads" else "flops"
    x = [r["value"] if axis == "threads" else r["flops"] for r in own]
    return {
        "axis": axis, "against": against, "side": side,
        "time_exponent": exponent(x, [r["median_s"] for r in own]),
        "memory_exponent": exponent(x, [r["peak_bytes"] for r in own]),
    }  # fmt: skip


def exponent(x, y) -> float | None:
    """Return the slope of log y over log x, by least squares; None with fewer than two x.

    Points where nothing was measured (y = 0) are left out.
    """
    points = np.array([(a, b) for a, b in zip(x, y) if b > 0], float)
    if len(points) < 2 or len(set(points[:, 0])) < 2:
        return None
    logs = np.log(points)
    return float(np.polyfit(logs[:, 0], logs[:, 1], 1)[0])


def _cells(row) -> list[str]:
    return [
        row["axis"], row["side"], str(row["value"]), number(row["flops"] / 1e9),
        number(row["median_s"] * 1e3), number(row["images_per_s"]),
        number(row["peak_bytes"] / 1e6),
    ]  # fmt: skip


def _fit_cells(line) -> list[str]:
    exponents = (number(line["time_exponent"]), number(line["memory_exponent"]))
    return [line["axis"], line["against"], line["side"], *exponents]
