"""Peak memory, and time, of a workload in a process of its own.

``python -m benchmarks.memory '{"side": "nnmed", ...}'`` runs one and prints JSON; other
commands call :func:`alone`, which does so in a fresh process.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WARM_UP = 2
# Of a first step, which loads what the imports did not: PyTorch takes 95 MB then.
TINY = dict(batch=2, size=32, width=4)


def peak_bytes() -> int:
    """Return the most memory that this process has had so far.

    That is ru_maxrss; Linux, though, lets a new program begin with its parent's, so there the
    same figure is read from where it begins anew.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def alone(
    side: str,
    workload,
    mode: str,
    threads: int,
    rounds: int = 1,
    wall: bool = False,
    device: str = "cpu",
) -> dict:
    """Run a workload in a fresh process.

    Parameters
    ----------
    side : str
        "nnmed", or one of PyTorch's layouts, "default" or "channels_last".
    workload : Workload
    mode : str
        "training" or "inference".
    threads, rounds : int
    wall : bool
        Whether one thread, too, is timed in wall-clock time.
    device : str
        "cpu" or "gpu", whose memory and time are then meant.

    Returns
    -------
    dict
        ``peak_bytes``, above what the imports and a tiny step took; ``seconds``, a list;
        ``flops`` of a step, of nnmed only.
    """
    about = dict(side=side, workload=workload.as_dict(), mode=mode)
    about |= dict(threads=threads, rounds=rounds, wall=wall, device=device)
    command = [sys.executable, "-m", "benchmarks.memory", json.dumps(about)]
    result = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    return json.loads(result.stdout)


def run(
    side: str,
    workload: dict,
    mode: str,
    threads: int,
    rounds: int,
    wall: bool,
    device: str = "cpu",
) -> dict:
    """Run the workload here; see :func:`alone`."""
    from threadpoolctl import threadpool_limits

    from benchmarks.measure import cpu_clock, gpu_clock
    from benchmarks.networks import Workload

    workload, flops = Workload(**workload), None
    peak = _taken_of_card(side) if device == "gpu" else peak_bytes
    with threadpool_limits(threads, "blas"):
        build = _builder(side, threads, device)
        build(workload.with_(**TINY)).steps[mode]()
        before = peak()
        network = build(workload)
        step = network.steps[mode]
        clock = gpu_clock() if device == "gpu" else cpu_clock(threads, wall)
        if side == "nnmed":
            # Of the ops themselves: a CUDA graph runs none.
            flops = _flops(network.train if mode == "training" else network.infer)
        for _ in range(WARM_UP):
            step()
        seconds = [clock(step) for _ in range(rounds)]
    return {"peak_bytes": peak() - before, "seconds": seconds, "flops": flops}


def _taken_of_card(side: str):
    """Return the function that tells how many bytes of the card are taken, by pools as well."""
    if side == "nnmed":
        import cupy

        look = cupy.cuda.runtime.memGetInfo
    else:
        import torch

        look = torch.cuda.mem_get_info

    def taken():
        free, total = look()
        return total - free

    return taken


def _builder(side: str, threads: int, device: str):
    """Return the function that builds a workload's network; only that side is imported."""
    if side == "nnmed":
        from benchmarks.subjects.nnmed_networks import NnmedNetwork
        from nnmed.backend.threads import set_num_threads

        set_num_threads(threads)
        return lambda workload: NnmedNetwork(workload, device=device)
    import torch

    from benchmarks.subjects.torch_networks import TorchNetwork

    torch.set_num_threads(threads)
    return lambda workload: TorchNetwork(workload, side, device=device)


def _flops(step) -> int:
    from benchmarks.work import counted

    return counted(step)[0].flops


if __name__ == "__main__":
    print(json.dumps(run(**json.loads(sys.argv[1]))))
