"""``nnmed doctor``: what this machine has for nnmed, and what to do about what is missing."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np

import nnmed
from nnmed.backend import cuda
from nnmed.backend.threads import get_num_threads
from nnmed.errors import DeviceError

GPU_HINT = (
    "python -m pip install 'nnmed[gpu]' (CUDA 12) or 'nnmed[gpu13]' (CUDA 13); in a checkout "
    "sh run.sh --extra gpu nnmed doctor"
)
CODECS = {
    "pydicom": ("DICOM", "python -m pip install pydicom"),
    "PIL": ("PNG, JPEG, TIFF, BMP", "python -m pip install pillow"),
    "openjpeg": ("JPEG 2000 in DICOM", "python -m pip install 'nnmed[dicom]'"),
    "jpeg_ls": ("JPEG-LS in DICOM", "python -m pip install 'nnmed[dicom]'"),
    "gdcm": ("lossless JPEG in DICOM", "python -m pip install 'nnmed[dicom]'"),
}


class Finding(NamedTuple):
    """One line of the report: what was looked at, what was found, and the remedy if need be.

    `kind` is ``"cpu"``, ``"gpu"`` or ``"codec"``; with a remedy, something is missing or broken.
    """

    kind: str
    subject: str
    found: str
    remedy: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the doctor to `parser`."""
    parser.add_argument(
        "--device", choices=("auto", "cpu", "gpu"), default="auto",
        help="what must work, or the exit status is 1; auto: the CPU",
    )  # fmt: skip


def examine(device: str) -> int:
    """Print the report and return the exit status: 1 if what was asked for is broken, else 0."""
    findings = [*_processor(), *_codecs(), *_gpu()]
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        print(f"{'--' if finding.remedy else 'ok'}  {finding.subject:{width}}  {finding.found}")
        if finding.remedy:
            print(f"    {'':{width}}  to mend it: {finding.remedy}")
    broken = {finding.kind for finding in findings if finding.remedy}
    wanted = {"cpu", "gpu"} if device == "gpu" else {"cpu"}
    return int(bool(broken & wanted))


def _processor():
    yield Finding("cpu", "nnmed", f"{nnmed.__version__} in {Path(nnmed.__file__).parent}")
    yield Finding("cpu", "Python", f"{platform.python_version()} at {sys.executable}")
    yield Finding("cpu", "NumPy", np.__version__)
    yield Finding("cpu", "BLAS", _blas())
    yield Finding("cpu", "processors", f"{get_num_threads()} threads in use")


def _blas() -> str:
    from threadpoolctl import threadpool_info

    found = [
        f"{library.get('internal_api')} {library.get('version')}, "
        f"{library.get('architecture', 'unknown')} kernels"
        for library in threadpool_info()
        if library.get("user_api") == "blas"
    ]
    return "; ".join(dict.fromkeys(found)) or "none that can be asked"


def _codecs():
    for module, (formats, remedy) in CODECS.items():
        try:
            importlib.import_module(module)
        except ImportError:
            yield Finding("codec", f"codec {module}", f"missing: no {formats}", remedy)
        else:
            yield Finding("codec", f"codec {module}", formats)


def _gpu():
    """Yield what is known of the GPU, as far as one thing is there for the next."""
    try:
        cupy = importlib.import_module("cupy")
    except ImportError as error:
        yield Finding("gpu", "CuPy", f"not there ({error})", GPU_HINT)
        return
    yield Finding("gpu", "CuPy", getattr(cupy, "__version__", "unknown version"))
    try:
        cuda.cupy()
    except DeviceError as error:
        yield Finding(
            "gpu", "GPU", str(error), "install NVIDIA's driver; nvidia-smi lists the cards"
        )
        return
    yield from _versions(cupy)
    yield _headers()
    yield _kernel(cupy)


def _versions(cupy):
    """Yield driver, runtime and cards; what cannot be asked is left out."""
    runtime = cupy.cuda.runtime
    for name, function in (("driver", "driverGetVersion"), ("runtime", "runtimeGetVersion")):
        if hasattr(runtime, function):
            version = getattr(runtime, function)()
            yield Finding("gpu", f"CUDA {name}", f"{version // 1000}.{version % 1000 // 10}")
    for number in range(runtime.getDeviceCount()):
        card = cupy.cuda.Device(number)
        text = f"compute capability {card.compute_capability}"
        if hasattr(runtime, "getDeviceProperties"):
            text = f"{runtime.getDeviceProperties(number)['name'].decode()}, {text}"
        if hasattr(card, "mem_info"):
            free, total = card.mem_info
            text += f", {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
        yield Finding("gpu", f"card {number}", text)


def _headers() -> Finding:
    """Look for the headers that CuPy compiles kernels with."""
    for name in ("nvidia-cuda-runtime-cu12", "nvidia-cuda-runtime"):
        try:
            return Finding("gpu", "CUDA headers", f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            continue
    path = os.environ.get("CUDA_PATH")
    if path:
        return Finding("gpu", "CUDA headers", f"CUDA_PATH is {path}")
    return Finding("gpu", "CUDA headers", "no package has them, and CUDA_PATH is not set")


def _kernel(cupy) -> Finding:
    """Compile and run a kernel, and compare it with the CPU's."""
    from nnmed.kernels.activation import cpu, gpu

    x = np.linspace(-3, 3, 1001, dtype=np.float32)
    try:
        got = gpu.silu(cupy.asarray(x)).get()
    # Whatever goes wrong in a compiler, a driver or a card is what this command is to tell.
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return Finding("gpu", "kernel", f"fails: {lines[0]}", f"headers may be missing: {GPU_HINT}")
    difference = float(np.abs(got - cpu.silu(x)).max())
    if not difference < 1e-5:
        return Finding("gpu", "kernel", f"is wrong by {difference}", "update driver and CuPy")
    return Finding("gpu", "kernel", "compiles, runs and equals the CPU's")
