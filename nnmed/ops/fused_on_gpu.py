"""Element-wise ops whose gradient is one kernel on a GPU."""

from __future__ import annotations

import numpy as np

from nnmed.autograd import Op
from nnmed.kernels import arithmetic


class FusedOnGpu(Op):
    """y = f(a, b), element by element; on a GPU its gradient is one kernel of arithmetic.cu."""

    kernel = ""

    def terms(self) -> list:
        """Return what the kernel takes beside dy: tensors, and None for what was not kept."""
        return self.inputs

    def parameters(self) -> tuple:
        """Return the numbers that the kernel takes."""
        return ()

    def fused_backward(self, dy):
        if type(dy) is np.ndarray:
            return super().fused_backward(dy)
        terms = [tensor if tensor is None else tensor._array for tensor in self.terms()]
        if not all(term is None or _is_whole(term, dy.shape) for term in (*terms, dy)):
            return super().fused_backward(dy)
        return arithmetic.gradients(self.kernel, terms, dy, self.needs, *self.parameters())


def _is_whole(array, shape) -> bool:
    """Tell whether an array has an element of its own at each place: none is broadcast."""
    return array.shape == shape and 0 not in array.strides
