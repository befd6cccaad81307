"""Whole training steps and inference of the reference networks, beside PyTorch.

    python -m benchmarks training
    python -m benchmarks training --networks unet --batch 8 --threads 2
    python -m benchmarks training --device gpu --batch 8,128 --tf32

The networks: the small detector (three pairs of conv-bn-relu with 16, 32 and 64 channels,
1 x 128 x 128), ResNet-18 (3 x 64 x 64) and a U-Net (16 base channels, 1 x 128 x 128). A training
step is gradients to zero, forward, cross-entropy, backward, AdamW. PyTorch runs the same
weights, eagerly, and must first give the same loss, gradients and scores: in float64 on two
images to 1e-6 standard deviations, in float32 on the batch to 0.05 in the mean.

Ratios are images a second of nnmed divided by PyTorch's: 1 is as fast. Memory is the
peak of a fresh process, above what its imports and a first tiny step took; on a GPU what it has
taken of the card in the end, with all that its pools keep.
"""

from __future__ import annotations

import argparse

import numpy as np

from benchmarks import agreement, machine, measure, memory, networks, options
from benchmarks.measure import Spread
from benchmarks.subjects.nnmed_networks import NnmedNetwork
from benchmarks.tables import number, table
from nnmed.backend import cuda

MODES = ("training", "inference")
LAYOUTS = ("default", "channels_last")
# In standard deviations. In float64 two sides differ by rounding alone. In float32 they put
# some values near zero on either side of relu's kink, which changes single entries of a
# gradient: PyTorch's two layouts differ from each other by 0.3 at most and 0.01 in the mean.
EXACT, MEAN_FLOAT32 = 1e-6, 0.05
EXACT_BATCH = 2
SECONDS = 120.0
HEAD = (
    "network", "pass", "batch", "ms", "quartiles", "images/s", "default", "channels_last",
    "ratio, default", "ratio, better", "MB", "MB, default", "MB, channels_last",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    options.add_arguments(parser, repeat=7)
    known = list(networks.NETWORKS)
    parser.add_argument(
        "--networks", type=options.names_of(known), default=known, metavar="NAME[,NAME]",
        help=f"of {', '.join(known)} (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--batch", type=options.numbers, metavar="N[,N]", help="(default: 8,32; quick: 2)"
    )
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu", help="(default: cpu)")
    options.add_tf32_argument(parser)


def run(parsed: argparse.Namespace) -> list[str]:
    """Check, measure, print and write; return what was wrong."""
    from tqdm import tqdm

    batches = parsed.batch or ([2] if parsed.quick else [8, 32])
    if parsed.device == "gpu":
        cuda.cupy()  # or the error that says what is missing
    rows = []
    with options.equal_threads(parsed) as torch, options.equal_products(parsed, torch):
        workloads = [
            networks.workload(name, batch, parsed.quick)
            for name in parsed.networks
            for batch in batches
        ]
        for workload in tqdm(workloads, "training", leave=False, disable=None, unit="network"):
            rows += measure_workload(workload, torch, parsed)
        description = machine.describe(torch)
    print("PyTorch's columns: images a second in its two layouts; MB: peak memory of a process.\n")
    print(table(HEAD, [_cells(row, parsed) for row in rows], left=2))
    options.write_json(parsed, machine=description, rows=rows)
    return sorted({f"{row['network']}: {row['wrong']}" for row in rows if row["wrong"]})


def measure_workload(workload, torch, parsed) -> list[dict]:
    """Return a row for training and one for inference."""
    ours, theirs, wrong = NnmedNetwork(workload, device=parsed.device), [], None
    if torch is not None:
        theirs, wrong = _checked_twins(workload, ours, parsed)
    on_gpu = parsed.device == "gpu"
    clock = measure.gpu_clock() if on_gpu else measure.cpu_clock(parsed.threads)
    spins = theirs and parsed.threads > 1 and not on_gpu and not parsed.quick
    rows = []
    for mode in MODES:
        times = measure.interleaved(
            [[network.steps[mode]] for network in (ours, *theirs)],
            parsed.rounds, clock, measure.PAUSE if spins else 0, SECONDS,
        )[:, :, 0]  # fmt: skip
        row = {**workload.as_dict(), "device": parsed.device, "pass": mode}
        row |= {"wrong": wrong, "rounds": len(times)}
        row |= {f"{n}_s": value for n, value in Spread.of(times[:, 0])._asdict().items()}
        row["images_per_s"] = workload.batch / row["median_s"]
        row |= _beside(workload.batch, times, [network.name for network in theirs])
        sides = ["nnmed", *(network.name for network in theirs)]
        row["peak_bytes"] = {
            side: memory.alone(
                side, workload, mode, parsed.threads, device=parsed.device
            )["peak_bytes"]
            for side in sides
        }  # fmt: skip
        rows.append(row)
    return rows


def _checked_twins(workload, ours, parsed):
    """Return PyTorch's network in both layouts, and what differs from nnmed's, or None."""
    from benchmarks.subjects.torch_networks import TorchNetwork

    small = workload.with_(batch=EXACT_BATCH)
    exact = NnmedNetwork(small, np.float64, parsed.device)
    exact_twin = TorchNetwork(small, "default", exact.state(), parsed.device)
    wrong = found_wrong(exact.results(), exact_twin.results(), "largest", EXACT)
    state, results = ours.state(), ours.results()
    twins = [TorchNetwork(workload, layout, state, parsed.device) for layout in LAYOUTS]
    for twin in twins:
        wrong = wrong or found_wrong(results, twin.results(), "mean", MEAN_FLOAT32)
    return twins, wrong


def found_wrong(results: dict, expected: dict, measure: str, tolerance: float) -> str | None:
    """Return which result has a larger error than `tolerance` by that measure, or None."""
    for name, truth in expected.items():
        size = getattr(agreement.error(results[name], truth), measure)
        if not size <= tolerance:
            return (
                f"the {name} differs from PyTorch's by {size:.1e} standard deviations "
                f"({measure}, {truth.dtype})"
            )
    return None


def _beside(batch, times, names) -> dict:
    """Return PyTorch's images a second, and the ratios of nnmed's to them."""
    rates = {n: batch / float(np.median(t)) for n, t in zip(names, times.T[1:])}
    ratios = {n: float(np.median(t / times[:, 0])) for n, t in zip(names, times.T[1:])}
    better = min(ratios, key=ratios.get, default=None)
    return {
        "pytorch_images_per_s": rates,
        "ratio_default": ratios.get("default"),
        "ratio_better": ratios.get(better),
        "better_layout": better,
    }


def _cells(row, parsed) -> list[str]:
    rates, peaks = row["pytorch_images_per_s"], row["peak_bytes"]
    absent = options.without_torch(parsed)
    return [
        row["network"] + (" (WRONG)" if row["wrong"] else ""), row["pass"], str(row["batch"]),
        number(row["median_s"] * 1e3),
        f"{number(row['lower_s'] * 1e3)}..{number(row['upper_s'] * 1e3)}",
        number(row["images_per_s"]),
        *(number(rates[layout]) if rates else absent for layout in LAYOUTS),
        number(row["ratio_default"]), number(row["ratio_better"]),
        number(peaks["nnmed"] / 1e6),
        *(number(peaks[layout] / 1e6) if rates else absent for layout in LAYOUTS),
    ]  # fmt: skip
