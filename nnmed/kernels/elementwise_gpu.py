"""Launch the element-wise kernels of a CUDA source on arrays of any memory order."""

from __future__ import annotations

from nnmed.backend.arrays import axes_by_stride, empty_like
from nnmed.backend.cuda import Source
from nnmed.kernels.elementwise import in_order
from nnmed.kernels.packs import numbers_a_thread


def apply(source: Source, kernel: str, arrays, *parameters: float, wanted=(True,)) -> tuple:
    """Return what a kernel makes of arrays of one shape, in the memory order of the first.

    Parameters
    ----------
    source, kernel
        The kernel takes the arrays, the results, the parameters, how many elements a thread has,
        and the number of threads: see elementwise.cuh.
    arrays : sequence of CuPy arrays
        None for one that the kernel can do without.
    *parameters : float
    wanted : sequence of bool
        For each result whether it is wanted, or else None.
    """
    first = next(array for array in arrays if array is not None)
    order, _ = axes_by_stride(first)
    arrays = [array if array is None else in_order(array, order) for array in arrays]
    results = tuple([empty_like(first) if want else None for want in wanted])
    each = numbers_a_thread(first.size, *arrays, *results)
    source.for_each(
        kernel, first.dtype, first.size // each, *arrays, *results, *map(float, parameters), each
    )
    return results
