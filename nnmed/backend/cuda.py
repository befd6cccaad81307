"""CUDA sources: compiled for the card found, one module a file and dtype, and launched.

A source computes with the type ``real``, which is float or double by the dtype of the arrays.
Whole numbers are ``int`` in it, so arrays have fewer than 2^31 elements. Where it multiplies
matrices of float32, ``PRODUCT`` is the format that their numbers are rounded to: a module each.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from functools import lru_cache
from pathlib import Path

import numpy as np

from nnmed.backend import precision
from nnmed.errors import DeviceError

THREADS = 256
"""Threads of a block where each computes one element."""
PACKAGE = "cupy-cuda12x[ctk]"
"""What pip is to install for a GPU, the extra "gpu" in setup.cfg; drivers of CUDA 13 run it too."""
NULL = np.uintp(0)
"""A pointer to nothing, for an optional array."""

_INCLUDES = Path(__file__).resolve().parents[1] / "kernels"
# cudaErrorMemoryAllocation, CUDA_ERROR_OUT_OF_MEMORY, CUBLAS_STATUS_ALLOC_FAILED
_NO_MEMORY = {"CUDARuntimeError": 2, "CUDADriverError": 2, "CUBLASError": 3}
_REALS = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}
# Elements of an array, and numbers given to a kernel: with a block more they are still an int.
_MOST = 2**31 - 4096


def cupy():
    """Return the module CuPy.

    Raises
    ------
    DeviceError
        If it is not installed, or finds no card.
    """
    try:
        import cupy
    except ImportError as error:
        raise DeviceError(
            f"device 'gpu' needs CuPy, which cannot be imported ({error}): install it with "
            f"pip install '{PACKAGE}'; nnmed doctor tells what else is missing"
        ) from None
    if not cupy.cuda.is_available():
        raise DeviceError("device 'gpu': CuPy finds no CUDA device or driver; use 'cpu'")
    return cupy


def is_available() -> bool:
    """Tell whether CuPy is installed and finds a card."""
    try:
        cupy()
    except DeviceError:
        return False
    return True


class _Thread(threading.local):
    without_cublas = False
    held: list | None = None


_thread = _Thread()


def is_capturing() -> bool:
    """Tell whether the current stream is being captured, as a part of a CUDA graph."""
    return cupy().cuda.get_current_stream().is_capturing()


def product_format(dtype) -> str:
    """Return how this thread multiplies matrices of a dtype: see :mod:`nnmed.backend.precision`.

    It is "float32", which stands for no rounding, for all types but that one.
    """
    return precision.current() if dtype == np.float32 else "float32"


def uses_cublas(dtype) -> bool:
    """Tell whether cuBLAS is to multiply matrices of a dtype, or else our own kernels.

    CuPy refuses to call it while a stream is captured, and it does not round as a thread says.
    """
    if _thread.without_cublas or product_format(dtype) != "float32":
        return False
    return not is_capturing()


@contextlib.contextmanager
def without_cublas():
    """Let this thread multiply by our own kernels alone, as a captured step must.

    So steps before the capture give the same bits as those after it.
    """
    before, _thread.without_cublas = _thread.without_cublas, True
    try:
        yield
    finally:
        _thread.without_cublas = before


@contextlib.contextmanager
def holding():
    """Collect, in the list that is given, what this thread passes to :func:`hold`.

    A captured graph knows addresses only: whoever keeps it keeps the list.
    """
    before, _thread.held = _thread.held, []
    try:
        yield _thread.held
    finally:
        _thread.held = before


def hold(*arrays) -> None:
    """Say that kernels read arrays that a cache may let go of."""
    if _thread.held is not None:
        _thread.held.extend(arrays)


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether an exception says that the memory of the card, or its pinned one, is used up.

    CuPy's pool has an error of its own; the runtime, the driver and cuBLAS, which allocate beside
    it, tell by their status.
    """
    if isinstance(error, cupy().cuda.memory.OutOfMemoryError):
        return True
    return getattr(error, "status", None) == _NO_MEMORY.get(type(error).__name__, "")


class Source:
    """The kernels of one ``.cu`` file.

    Parameters
    ----------
    beside : str
        The ``__file__`` of the module that launches them.
    name : str
        Name of the file, in the same folder.
    products : bool
        Whether it multiplies matrices, by gemm.cuh.
    """

    def __init__(self, beside: str, name: str, products: bool = False):
        self.path, self._products = Path(beside).with_name(name), products
        self._modules: dict = {}
        self._functions: dict = {}

    def launch(self, kernel: str, dtype, grid, block, *arguments) -> None:
        """Run a kernel on the current stream.

        Parameters
        ----------
        kernel : str
            Name of an ``extern "C"`` function of the file.
        dtype : float32 or float64
            What ``real`` is.
        grid, block : tuple of int
            Blocks, and threads in each; nothing runs where there are no blocks.
        *arguments
            CuPy arrays; None for a null pointer; bool and int, which become ``int``; float,
            which becomes ``real``; NumPy scalars, which stay what they are.
        """
        if 0 in grid:
            return
        function = self._function(kernel, np.dtype(dtype))
        function(grid, block, tuple([_argument(a, dtype) for a in arguments]))

    def for_each(self, kernel: str, dtype, count: int, *arguments) -> None:
        """Run a kernel with a thread for each of `count` elements; `count` is its last argument."""
        grid = (-(-count // THREADS),)
        self.launch(kernel, dtype, grid, (THREADS,), *arguments, count)

    def _function(self, kernel, dtype):
        product = product_format(dtype) if self._products else "float32"
        of_module = dtype, product, cupy().cuda.Device().id  # a module belongs to a card
        key = kernel, *of_module
        if key not in self._functions:
            if of_module not in self._modules:
                self._modules[of_module] = self._compiled(dtype, product)
            self._functions[key] = self._modules[of_module].get_function(kernel)
        return self._functions[key]

    def _compiled(self, dtype, product):
        names = dict(REAL=_REALS[dtype], PRODUCT=product, HEADERS=_headers())
        defined = [f"-D{name}={value}" for name, value in names.items()]
        code = self.path.read_text(encoding="utf-8")
        options = f"-I{_INCLUDES}", *defined, "-std=c++17"
        return cupy().RawModule(code=code, options=options)


@lru_cache
def _headers() -> str:
    """Return a number for the text of all headers, which CuPy's cache of kernels does not read."""
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(_INCLUDES.rglob("*.cuh")):
        digest.update(path.read_bytes())
    return f"0x{digest.hexdigest()}"


def _check_length(length: int) -> None:
    if length > _MOST:
        raise DeviceError(f"an array on the GPU has at most {_MOST} elements, got {length}")


def _argument(value, dtype):
    if value is None:
        return NULL
    if isinstance(value, (bool, int)):
        _check_length(abs(value))
        return np.int32(value)
    _check_length(getattr(value, "size", 1))
    return np.dtype(dtype).type(value) if type(value) is float else value
