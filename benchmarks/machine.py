"""The machine: what it is, and the two ceilings that no kernel can pass.

Both ceilings are measured in the run that they are compared with, at its number of threads.
A kernel whose arrays fit into a cache can pass the ceiling of copying, which is that of
the memory behind all caches.
"""

from __future__ import annotations

import contextlib
import os
import platform
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.measure import Clock
from nnmed.backend import precision
from nnmed.backend.threads import parallel_for
from nnmed.jobs.environment import describe_environment

SIZE, QUICK_SIZE = 2048, 256
COPIED, QUICK_COPIED = 64 << 20, 1 << 20  # elements of float32
BLOCK = 1 << 20
REPEAT = 7


class Ceilings(NamedTuple):
    """Floating point operations a second of sgemm; bytes a second, read and written, of copy."""

    sgemm: float
    copy: float

    def least_seconds(self, flops: float, moved: float) -> float:
        """Return the time that this work takes at the nearer ceiling."""
        return max(flops / self.sgemm, moved / self.copy)


def cpu_ceilings(threads: int, clock: Clock, quick: bool = False) -> Ceilings:
    """Measure a matrix product and a copy with `threads` threads; the fastest of several."""
    from threadpoolctl import threadpool_limits

    size = QUICK_SIZE if quick else SIZE
    a, b, c = (np.ones((size, size), np.float32) for _ in range(3))
    with threadpool_limits(threads, "blas"):
        product = min(clock(lambda: np.matmul(a, b, out=c)) for _ in range(REPEAT))
    source = np.ones(QUICK_COPIED if quick else COPIED, np.float32)
    target = np.ones_like(source)

    def task(index):
        part = slice(index * BLOCK, (index + 1) * BLOCK)
        np.copyto(target[part], source[part])

    copy = min(clock(lambda: parallel_for(task, source.size // BLOCK)) for _ in range(REPEAT))
    return Ceilings(2 * size**3 / product, 2 * source.nbytes / copy)


def gpu_ceilings(clock: Clock, quick: bool = False) -> Ceilings:
    """Measure cuBLAS's product and a copy on the GPU, in tfloat32 where that is allowed."""
    import cupy

    size = QUICK_SIZE if quick else 4 * SIZE
    a, b, c = (cupy.ones((size, size), cupy.float32) for _ in range(3))
    with _cublas_in(precision.current()):
        product = min(clock(lambda: cupy.matmul(a, b, out=c)) for _ in range(REPEAT))
    source = cupy.ones(QUICK_COPIED if quick else 4 * COPIED, cupy.float32)
    target = cupy.ones_like(source)
    copy = min(clock(lambda: cupy.copyto(target, source)) for _ in range(REPEAT))
    return Ceilings(2 * len(a) ** 3 / product, 2 * source.nbytes / copy)


@contextlib.contextmanager
def _cublas_in(format: str):
    """Let cuBLAS multiply float32 matrices in `format`."""
    # CuPy has no public name for it, only an environment variable.
    from cupy._core import _routines_linalg as linalg

    types = {"float32": linalg.COMPUTE_TYPE_FP32, "tfloat32": linalg.COMPUTE_TYPE_TF32}
    before = linalg.get_compute_type(np.float32)
    linalg.set_compute_type(np.float32, types[format])
    try:
        yield
    finally:
        linalg.set_compute_type(np.float32, before)


def describe(torch=None) -> dict:
    """Return the processor, its caches, and the versions of everything that matters."""
    from threadpoolctl import threadpool_info

    blas = [library for library in threadpool_info() if library["user_api"] == "blas"]
    return {
        **describe_environment(),
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "usable_cores": _usable_cores(),
        "caches": _caches(),
        "blas": [
            f"{b['internal_api']} {b['version']} {b.get('architecture', '')}".strip() for b in blas
        ],
        "pytorch": None if torch is None else torch.__version__,
    }


def _usable_cores() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def _caches() -> dict[str, str]:
    """Return the sizes of the first core's caches, as Linux tells them."""
    caches = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = (
            (folder / name).read_text(encoding="utf-8").strip()
            for name in ("level", "type", "size")
        )
        caches[f"L{level} {kind.lower()}"] = size
    return caches
