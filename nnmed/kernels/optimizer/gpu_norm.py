"""What is done with all gradients at once before the step, without waiting for the device."""

from __future__ import annotations

import numpy as np

from nnmed.backend import cuda
from nnmed.backend.arrays import empty_like
from nnmed.backend.cuda import THREADS, Source
from nnmed.kernels.elementwise import memory_order
from nnmed.kernels.optimizer.gpu_table import find_table, group_by_dtype

_norm, _unscale = Source(__file__, "norm.cu"), Source(__file__, "unscale.cu")


def total_norm(arrays, p: float):
    """Return the p-norm of all elements of `arrays` together, a 0-d float64 array on the device.

    Partial sums over a fixed number of elements are added up in a fixed order, in float64, so
    that the result is the same to the last bit every time.

    Parameters
    ----------
    arrays : list of cupy.ndarray
    p : float
        Greater than 0; ``inf`` for the largest absolute value.
    """
    groups = group_by_dtype([(_without_gaps(array),) for array in arrays])
    tables = [find_table("norm_parts", [array for (array,) in rows]) for rows in groups]
    partials = cuda.cupy().empty(sum(table.blocks for table in tables), np.float64)
    start = 0
    for table, rows in zip(tables, groups):
        stop = start + table.blocks
        _norm.launch(
            "norm_parts", rows[0][0].dtype, (table.blocks,), (THREADS,), table.chunks,
            table.point(rows), partials[start:stop], float(p), table.length,
        )  # fmt: skip
        start = stop
    norm = cuda.cupy().empty((), np.float64)
    _norm.launch(
        "norm_total", np.float64, (1,), (THREADS,), partials, norm, float(p), partials.size
    )
    return norm


def sum_of_squares(array):
    """Return the sum of the squares of the elements, a 0-d float64 array on the device."""
    return total_norm([array], 2.0) ** 2


def clipped(arrays, norm, max_norm: float) -> list:
    """Return copies of `arrays`, multiplied by ``min(1, max_norm / (norm + 1e-6))``.

    Parameters
    ----------
    arrays : list of cupy.ndarray
    norm : cupy.ndarray, 0-d, float64
        From :func:`total_norm`. Where it is NaN, so are the results.
    max_norm : float
    """
    return _each(_norm, "clip", arrays, norm, float(max_norm))


def unscaled(arrays, numbers) -> list:
    """Return copies of `arrays`, divided by the loss scale, and note whether one is not finite.

    Parameters
    ----------
    arrays : list of cupy.ndarray
    numbers : cupy.ndarray, (3,), float32
        The scale; 1; and a flag, which becomes 1 if an element is infinite or NaN.
    """
    return _each(_unscale, "unscale", arrays, numbers)


def _each(source: Source, kernel: str, arrays, *arguments) -> list:
    """Return what a kernel with these arguments makes of each array, all in one launch a dtype."""
    arrays = [_without_gaps(array) for array in arrays]
    results = [empty_like(array) for array in arrays]
    for rows in group_by_dtype(list(zip(arrays, results))):
        table = find_table(kernel, [array for array, _ in rows])
        source.launch(
            kernel, rows[0][0].dtype, (table.blocks,), (THREADS,), table.chunks,
            table.point(rows), *arguments, table.length,
        )  # fmt: skip
    return results


def _without_gaps(array):
    return array if memory_order(array) is not None else array.copy()
