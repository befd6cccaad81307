"""``nnmed doctor``: what this machine has for nnmed, and what to do about what is missing."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np

import nnmed
from nnmed.backend import cuda
from nnmed.backend.threads import get_num_threads

PIP = f"{sys.executable} -m pip install"
LIBRARIES = ("numpy", "scipy", "matplotlib", "safetensors", "threadpoolctl", "tqdm")
# By module: the images it reads, and the packages that bring it.
CODECS = {
    "pydicom": ("DICOM", "pydicom"),
    "PIL": ("PNG, JPEG, TIFF, BMP", "pillow"),
    "pylibjpeg": ("JPEG 2000 in DICOM, with openjpeg", "pylibjpeg"),
    "openjpeg": ("JPEG 2000 in DICOM, with pylibjpeg", "pylibjpeg-openjpeg"),
    "jpeg_ls": ("JPEG-LS in DICOM", "pyjpegls"),
    "gdcm": ("lossless JPEG in DICOM", "python-gdcm"),
}
CUPY = f"{PIP} '{cuda.PACKAGE}'"
DRIVER = "install or update NVIDIA's driver, until nvidia-smi lists the card"
CUDA_RUNTIMES = ("nvidia-cuda-runtime-cu12", "nvidia-cuda-runtime")


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
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")


def examine(device: str, as_json: bool = False) -> int:
    """Print the report and return the exit status: 1 if what was asked for is broken, else 0."""
    findings = [*_cpu(), *_codecs(), *_gpu()]
    if as_json:
        print(json.dumps([finding._asdict() for finding in findings], indent=1))
    else:
        _print_table(findings)
    broken = {finding.kind for finding in findings if finding.remedy}
    wanted = {"cpu", "gpu"} if device == "gpu" else {"cpu"}
    return int(bool(broken & wanted))


def _print_table(findings):
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        print(f"{'--' if finding.remedy else 'ok'}  {finding.subject:{width}}  {finding.found}")
        if finding.remedy:
            print(f"    {'':{width}}  to mend it: {finding.remedy}")


def _look(kind: str, subject: str, remedy: str, look: Callable[[], str]) -> Finding:
    """Return what `look` finds, or how it fails.

    Whatever goes wrong in a library, a driver or a card is what this command is to tell.
    """
    try:
        return Finding(kind, subject, look())
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return Finding(kind, subject, f"fails: {lines[0]}", remedy)


def _cpu():
    yield Finding("cpu", "nnmed", f"{nnmed.__version__} in {Path(nnmed.__file__).parent}")
    yield Finding("cpu", "Python", f"{platform.python_version()} at {sys.executable}")
    for name in LIBRARIES:
        yield _look("cpu", name, f"{PIP} {name}", partial(_version_of, name))
    yield _look("cpu", "BLAS", f"{PIP} threadpoolctl", _blas)
    yield _look("cpu", "processors", "unset NNMED_NUM_THREADS", _processors)


def _version_of(module: str) -> str:
    return importlib.import_module(module).__version__


def _blas() -> str:
    from threadpoolctl import threadpool_info

    found = [
        f"{library['internal_api']} {library['version']}, {library.get('architecture', 'unknown')} "
        f"kernels, {library['num_threads']} threads (1 inside of nnmed's)"
        for library in threadpool_info()
        if library["user_api"] == "blas"
    ]
    return "; ".join(dict.fromkeys(found)) or "none that can be asked"


def _processors() -> str:
    return f"{os.cpu_count()}, {get_num_threads()} threads in use"


def _codecs():
    for module, (images, package) in CODECS.items():
        yield _look("codec", f"codec {module}", f"{PIP} {package}", partial(_codec, module, images))


def _codec(module: str, images: str) -> str:
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"no {images} ({error})") from None
    return images


def _gpu():
    """Yield what is known of the GPU, as far as one thing is there for the next."""
    for subject, remedy, look in (
        ("CuPy", CUPY, partial(_version_of, "cupy")),
        ("cards", DRIVER, _cards),
        ("CUDA", DRIVER, _versions),
        ("CUDA headers", CUPY, _headers),
        ("float32 kernel", f"{CUPY}; {DRIVER}", partial(_run_kernel, np.float32)),
        ("float64 kernel", f"{CUPY}; {DRIVER}", partial(_run_kernel, np.float64)),
    ):
        finding = _look("gpu", subject, remedy, look)
        yield finding
        if finding.remedy:
            return


def _cards() -> str:
    """Tell name, compute capability and memory of each card."""
    cupy = cuda.cupy()
    return "; ".join(_card(cupy, number) for number in range(cupy.cuda.runtime.getDeviceCount()))


def _card(cupy, number: int) -> str:
    card = cupy.cuda.Device(number)
    name = cupy.cuda.runtime.getDeviceProperties(number)["name"].decode()
    free, total = card.mem_info
    return (
        f"{number}: {name}, compute capability {card.compute_capability}, "
        f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
    )


def _versions() -> str:
    runtime = cuda.cupy().cuda.runtime
    driver, own = runtime.driverGetVersion(), runtime.runtimeGetVersion()
    return f"driver for {_cuda(driver)}, runtime {_cuda(own)}"


def _cuda(number: int) -> str:
    return f"CUDA {number // 1000}.{number % 1000 // 10}"


def _headers() -> str:
    """Tell where the headers are that CuPy compiles its own kernels with."""
    for name in CUDA_RUNTIMES:
        try:
            return f"{name} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue
    path = cuda.cupy().cuda.get_cuda_path()
    if path is None:
        raise FileNotFoundError("no package and no toolkit has them")
    return path


def _run_kernel(dtype) -> str:
    """Compile and run kernels, one of CuPy's and one of nnmed's; compare with the CPU's."""
    from nnmed.kernels.activation import cpu, gpu

    x = np.linspace(-3, 3, 1001, dtype=dtype)
    got = gpu.silu(cuda.cupy().asarray(x) + 0).get()
    difference = float(np.abs(got - cpu.silu(x)).max())
    if not difference < 100 * np.finfo(dtype).eps:
        raise ArithmeticError(f"it is wrong by {difference}")
    return "compiles, runs and equals the CPU's"
