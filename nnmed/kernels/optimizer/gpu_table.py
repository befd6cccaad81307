"""A table on the device of where many arrays lie, so that one launch goes over all of them.

Kernels read three things from it: how the arrays are cut into chunks, one for a block (drawn in
``chunks.cuh``); a row of pointers for each parameter; and a row of numbers. A table is made once
for a list of sizes. Later only what has changed is copied: numbers such as a bias correction, and
pointers where gradients lie elsewhere than in the step before. Such a copy waits for nothing.

While a CUDA graph is captured, the pointers of that moment go into memory of their own, which
whoever captures keeps (:func:`nnmed.backend.cuda.holding`), and numbers are not copied. So steps
outside of the graph do not disturb it, and whoever replays it writes the numbers first:
:func:`gpu.write_numbers`.
"""

from __future__ import annotations

import threading

import numpy as np

from nnmed.backend import cuda

CHUNK = 4096
"""Elements for a block: sixteen a thread. Small enough that a small network fills the card."""

_tables: dict = {}


class Table:
    """What the kernels read about the arrays of a list of parameters.

    Parameters
    ----------
    sizes : sequence of int
        Elements of each array of a parameter.
    dtype : float32 or float64
        Of the numbers.

    Attributes
    ----------
    blocks, length : int
        How many chunks there are, and how many elements a chunk has at most.
    chunks : cupy.ndarray, (blocks, 3), int32
        Parameter, first element, and elements of its arrays.
    numbers : cupy.ndarray, (parameters, numbers)
        What :meth:`write_numbers` wrote. It never moves.
    """

    def __init__(self, sizes, dtype):
        chunks = _cut(sizes)
        self.blocks, self.length, self.chunks = len(chunks), CHUNK, _upload(chunks)
        self._dtype, self.numbers = np.dtype(dtype), None
        self._numbers = self._pointers = np.empty(0)  # what is on the device
        self._where = None

    def write_numbers(self, rows) -> None:
        """Bring a row of numbers for each parameter to the device, unless they are there."""
        rows = np.array(rows, self._dtype)
        if self.numbers is None:
            self.numbers = _empty(rows.shape, rows.dtype)
        if not np.array_equal(rows, self._numbers) and not cuda.is_capturing():
            self.numbers.set(rows)
            self._numbers = rows

    def point(self, rows):
        """Return a device array of the pointers to a row of arrays for each parameter.

        An array may be None: the pointer is null.
        """
        pointers = np.array([[0 if a is None else a.data.ptr for a in row] for row in rows])
        pointers = pointers.astype(np.int64, copy=False)
        if cuda.is_capturing():
            where = _upload(pointers)
            cuda.hold(where)
            return where
        if self._where is None:
            self._where = _empty(pointers.shape, np.int64)
        if not np.array_equal(pointers, self._pointers):
            self._where.set(pointers)
            self._pointers = pointers
        return self._where


def find_table(name: str, arrays) -> Table:
    """Return the table of the kernels `name` for parameters of the sizes of `arrays`.

    It belongs to this thread and the current stream, so that copies and launches come one after
    another.
    """
    device, stream = cuda.cupy().cuda.Device().id, cuda.cupy().cuda.get_current_stream().ptr
    dtype, sizes = arrays[0].dtype, tuple([array.size for array in arrays])
    key = name, dtype, sizes, device, stream, threading.get_ident()
    if key not in _tables:
        _tables[key] = Table(sizes, dtype)
    return _tables[key]


def group_by_dtype(rows) -> list[list]:
    """Return the rows of arrays in groups whose first arrays have one dtype: a launch each."""
    groups: dict = {}
    for row in rows:
        groups.setdefault(row[0].dtype, []).append(row)
    return list(groups.values())


def _cut(sizes) -> np.ndarray:
    """Return (parameter, first element, elements of the parameter) of each chunk."""
    rows = [
        (parameter, first, size)
        for parameter, size in enumerate(sizes)
        for first in range(0, size, CHUNK)
    ]
    return np.array(rows, np.int32).reshape(-1, 3)


def _empty(shape, dtype):
    """Return memory of CuPy's pool: a table outlives the pool of a graph that may be in use."""
    device = cuda.cupy().cuda
    with device.using_allocator(cuda.cupy().get_default_memory_pool().malloc):
        return cuda.cupy().empty(shape, dtype)


def _upload(values: np.ndarray):
    """Return a copy on the device, made at once: no part of a graph that is being captured."""
    stream = cuda.cupy().cuda.Stream(non_blocking=True)
    with stream:
        copy = _empty(values.shape, values.dtype)
        copy.set(values)
    stream.synchronize()
    return copy
