"""NVIDIA's compiler as a library, from the wheels of CUDA 12 and 13: it needs no card."""

from __future__ import annotations

import ctypes
import importlib.util
from functools import lru_cache
from pathlib import Path

LIBRARIES = {12: "cuda_nvrtc/lib/libnvrtc.so.12", 13: "cu13/lib/libnvrtc.so.13"}


@lru_cache
def library(version: int) -> ctypes.CDLL | None:
    """Return the compiler of a CUDA version, or None where it is not installed."""
    spec = importlib.util.find_spec("nvidia")
    for folder in spec.submodule_search_locations if spec else ():
        path = Path(folder) / LIBRARIES[version]
        if path.is_file():
            return ctypes.CDLL(str(path))
    return None


def complaints(version: int, source: Path, *options: str) -> str:
    """Compile a source to machine code; return what the compiler says, nothing if all is well."""
    nvrtc, program = library(version), ctypes.c_void_p()
    code = source.read_bytes()
    _check(
        nvrtc.nvrtcCreateProgram(ctypes.byref(program), code, source.name.encode(), 0, None, None)
    )
    try:
        given = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        failed = nvrtc.nvrtcCompileProgram(program, len(options), given)
        size = ctypes.c_size_t()
        _check(nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size)))
        log = ctypes.create_string_buffer(size.value)
        _check(nvrtc.nvrtcGetProgramLog(program, log))
        text = log.value.decode().strip()
        return text or (f"status {failed}" if failed else "")
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _check(status: int) -> None:
    if status:
        raise OSError(f"NVRTC returned status {status}")
