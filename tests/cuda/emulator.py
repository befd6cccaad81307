"""Compile CUDA sources with g++ behind two headers, cuda_on_cpu.h first, and run their kernels.

Arrays lie before a guard page, so a kernel that reads or writes beyond their end is stopped;
the bytes in front of them, and the few between their end and that page, are watched for changes.
"""

from __future__ import annotations

import ctypes
import hashlib
import mmap
import os
import re
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

HEADERS = [Path(__file__).with_name(f"{name}_on_cpu.h") for name in ("cuda", "tensor_cores")]
KERNEL = re.compile(
    r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\s*\(([^)]*)\)'
)
C_TYPES = {
    "float": "f4", "double": "f8", "int": "i4", "unsigned": "u4", "unsigned int": "u4",
    "long long": "i8", "unsigned long long": "u8", "unsigned char": "u1", "unsigned short": "u2",
    "bool": "?",
}  # fmt: skip
ALIKE = {"i8", "u8"}, {"b1", "u1"}  # arrays of one may be given for those of the other
GXX = (
    "g++", "-std=c++17", "-O1", "-fPIC", "-shared", "-U_FORTIFY_SOURCE", "-fno-strict-aliasing",
    "-ffp-contract=off", "-w",
)  # fmt: skip
PAGE = mmap.PAGESIZE
GUARD = 4 << 20  # bytes behind an array that nobody may touch
UNTOUCHED = 0xFF  # in every byte: NaN as a float, -1 as an integer


class KernelError(AssertionError):
    """A kernel did what it must not do."""


class Memory:
    """Bytes that end where memory is forbidden; full of NaN, and watched on both sides."""

    def __init__(self, size: int):
        # CUDA's allocations begin at multiples of 256 bytes, and vectors rely on it.
        self.size, padded = size, -(-max(size, 1) // 16) * 16
        inside = (-(-padded // PAGE) + 1) * PAGE  # a page in front
        self._map = mmap.mmap(-1, inside + GUARD)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        if _libc.mprotect(ctypes.c_void_p(start + inside), GUARD, 0):
            raise OSError("mprotect failed")
        front = inside - padded
        whole = np.frombuffer(self._map, np.uint8, inside)
        whole[...] = UNTOUCHED
        self._before, self.bytes, self._behind = np.split(whole, [front, front + size])

    def array(self, shape, dtype) -> np.ndarray:
        """Return the bytes as an array in C order."""
        return self.bytes.view(dtype).reshape(shape)

    def check(self) -> None:
        """Raise KernelError if something was written beside the array."""
        for place, watched in (("in front of", self._before), ("behind", self._behind)):
            if (watched != UNTOUCHED).any():
                raise KernelError(f"a kernel wrote {place} an array")


_libc = ctypes.CDLL(None, use_errno=True)


class Kernel:
    """One kernel of a compiled source."""

    def __init__(self, name: str, parameters: list[str], function):
        self.name, self._types, self._function = name, parameters, function

    def launch(self, grid, block, arguments) -> None:
        """Run it.

        `arguments` are NumPy arrays on watched memory, NumPy scalars, or None for a null
        pointer, each of the very type that the source declares.
        """
        if len(arguments) != len(self._types):
            raise KernelError(
                f"{self.name} takes {len(self._types)} arguments, got {len(arguments)}"
            )
        slots = [
            self._slot(position, kind, argument)
            for position, (kind, argument) in enumerate(zip(self._types, arguments))
        ]
        pointers = (ctypes.c_void_p * len(slots))(*(slot.ctypes.data for slot in slots))
        sizes = [*grid, *[1] * (3 - len(grid)), *block, *[1] * (3 - len(block))]
        message = self._function(*map(int, sizes), pointers)
        if message:
            raise KernelError(f"{self.name}: {message.decode()}")

    def _slot(self, position, kind, argument) -> np.ndarray:
        where = f"{self.name}: argument {position}, {kind}"
        is_pointer, dtype = kind.endswith("*"), np.dtype(C_TYPES[kind.rstrip("* ")])
        if not is_pointer:
            if not isinstance(argument, np.generic) or argument.dtype != dtype:
                raise KernelError(f"{where}: got {type(argument).__name__}")
            return np.array([argument])
        if argument is None or (isinstance(argument, np.uintp) and argument == 0):
            return np.zeros(1, np.uintp)
        if not isinstance(argument, np.ndarray):
            raise KernelError(f"{where}: got {type(argument).__name__}")
        kinds = {dtype.str[1:], argument.dtype.str[1:]}
        if len(kinds) > 1 and kinds not in ALIKE:
            raise KernelError(f"{where}: got an array of {argument.dtype}")
        return np.array([argument.ctypes.data], np.uintp)


@cache
def compiled(source: str, options: tuple[str, ...]) -> dict[str, Kernel]:
    """Return the kernels of a source by name; `options` may define macros and folders."""
    macros = dict(option[2:].split("=") for option in options if re.match(r"-D\w+=", option))
    flags = [option for option in options if re.match(r"-[DI]", option)]
    expanded = _expanded(source, flags)
    kernels = {name: _parameters(text, macros) for name, text in KERNEL.findall(expanded)}
    wrappers = "\n".join(_wrapper(name, types) for name, types in kernels.items())
    headers = "\n".join(f'#include "{header}"' for header in HEADERS)
    text = f"{headers}\n{source}\n{wrappers}\n"
    library = _build(text, flags, expanded)
    result = {}
    for name, types in kernels.items():
        function = getattr(library, f"launch_{name}")
        function.restype = ctypes.c_char_p
        function.argtypes = [ctypes.c_uint] * 6 + [ctypes.c_void_p]
        result[name] = Kernel(name, types, function)
    return result


def _expanded(source: str, flags: list[str]) -> str:
    """Return the source with all that it includes, and with its macros expanded."""
    command = ["g++", "-E", "-P", "-x", "c++", *flags, "-"]
    done = subprocess.run(command, input=source, capture_output=True, text=True, check=False)
    if done.returncode:
        raise KernelError(f"g++ does not read the kernels:\n{done.stderr[:3000]}")
    return done.stdout


def _parameters(text: str, macros) -> list[str]:
    types = []
    for parameter in filter(None, (part.strip() for part in re.sub(r"\s+", " ", text).split(","))):
        kind = re.sub(r"\b(const|__restrict__)\b", "", parameter.rsplit(None, 1)[0])
        stars = "*" * (parameter.count("*"))
        kind = re.sub(r"\s+", " ", kind.replace("*", "")).strip()
        kind = macros.get("REAL", "float") if kind == "real" else kind
        if kind not in C_TYPES:
            raise KernelError(f"the emulator does not know the type of the parameter {parameter!r}")
        types.append(kind + stars)
    return types


def _wrapper(name: str, types: list[str]) -> str:
    values = ", ".join(f"*({kind} *)a[{index}]" for index, kind in enumerate(types))
    return (
        f'extern "C" const char *launch_{name}(unsigned gx, unsigned gy, unsigned gz, '
        "unsigned bx, unsigned by, unsigned bz, void **values) {\n"
        "    return emulator::launch({gx, gy, gz}, {bx, by, bz}, "
        f"[](void **a) {{ (void)a; {name}({values}); }}, values);\n}}"
    )


def _build(text: str, flags: list[str], expanded: str) -> ctypes.PyDLL:
    """Compile `text`, unless the same was compiled before, and load it."""
    whole = "\0".join([text, expanded, *(header.read_text() for header in HEADERS), *GXX])
    key = hashlib.sha256(whole.encode()).hexdigest()
    folder = Path(tempfile.gettempdir()) / f"nnmed-emulator-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    library = folder / f"{key[:24]}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=folder) as work:
            source, built = Path(work, "kernels.cpp"), Path(work, "kernels.so")
            source.write_text(text)
            command = [*GXX, *flags, str(source), "-o", str(built)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise KernelError(f"g++ does not compile the kernels:\n{done.stderr[:3000]}")
            built.replace(library)
    return ctypes.PyDLL(str(library))  # which keeps Python's lock: one launch at a time
