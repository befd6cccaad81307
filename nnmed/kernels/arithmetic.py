"""Gradients of arithmetic on a GPU, each one kernel of arithmetic.cu.

NumPy has no kernel for them: on a CPU they are the calls that the op's formula is made of.
"""

from __future__ import annotations

from nnmed.backend.cuda import Source
from nnmed.kernels.elementwise_gpu import apply

_source = Source(__file__, "arithmetic.cu")


def gradients(op: str, kept, dy, needs, *parameters: float) -> tuple:
    """Return the gradient of each input that needs one, else None.

    Parameters
    ----------
    op : str
        ``"div"`` for the kernel ``div_grad``.
    kept : sequence of CuPy arrays
        What its formula is made of beside `dy`, in the order of the kernel; None where no
        gradient that is wanted takes it.
    dy : CuPy array
    needs : sequence of bool
    """
    return apply(_source, f"{op}_grad", (*kept, dy), *parameters, wanted=needs)
