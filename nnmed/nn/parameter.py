"""Parameter: a tensor that a module learns."""

from __future__ import annotations

from nnmed.autograd.tensor import Tensor


class Parameter(Tensor):
    """A tensor that becomes a parameter of the module it is assigned to.

    Parameters
    ----------
    data : array, Tensor, number or nested list
        Copied, as by :class:`nnmed.Tensor`.
    requires_grad : bool
        Whether backward computes its gradient.
    """

    __slots__ = ()

    def __init__(self, data, requires_grad: bool = True):
        super().__init__(data, requires_grad)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"
