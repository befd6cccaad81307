"""NVIDIA's compiler as a library, from the wheels of CUDA 12 and 13: it needs no card."""

from __future__ import annotations

import ctypes
import importlib.util
import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

LIBRARIES = {12: "cuda_nvrtc/lib/libnvrtc.so.12", 13: "cu13/lib/libnvrtc.so.13"}
# What the compiler tells of itself where all is well.
_NEWS = re.compile(r"ptxas( info)? +[:.].*\n?")
_KERNEL = re.compile(
    r"entry function '(\w+)'.*?(\d+) bytes spill stores.*?Used (\d+) registers", re.DOTALL
)


class Resources(NamedTuple):
    """What a thread of a kernel takes."""

    name: str
    registers: int
    spilled: int  # bytes that found no register


@lru_cache
def library(version: int) -> ctypes.CDLL | None:
    """Return the compiler of a CUDA version, or None where it is not installed."""
    spec = importlib.util.find_spec("nvidia")
    for folder in spec.submodule_search_locations if spec else ():
        path = Path(folder) / LIBRARIES[version]
        if path.is_file():
            return ctypes.CDLL(str(path))
    return None


def compile_to_machine_code(version: int, source: Path, *options: str):
    """Compile a source; return what the compiler complains of, and the kernels' `Resources`."""
    nvrtc, program = library(version), ctypes.c_void_p()
    name, given = source.name.encode(), ["--ptxas-options=-v", *options]
    _check(
        nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.read_bytes(), name, 0, None, None)
    )
    try:
        pointers = (ctypes.c_char_p * len(given))(*(option.encode() for option in given))
        failed = nvrtc.nvrtcCompileProgram(program, len(given), pointers)
        log = _log(nvrtc, program)
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    complaints = _NEWS.sub("", log).strip() or (f"status {failed}" if failed else "")
    found = _KERNEL.findall(log)
    return complaints, [Resources(kernel, int(used), int(out)) for kernel, out, used in found]


def _log(nvrtc, program) -> str:
    size = ctypes.c_size_t()
    _check(nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size)))
    log = ctypes.create_string_buffer(size.value)
    _check(nvrtc.nvrtcGetProgramLog(program, log))
    return log.value.decode()


def _check(status: int) -> None:
    if status:
        raise OSError(f"NVRTC returned status {status}")
