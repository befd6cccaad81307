"""Dropout."""

from __future__ import annotations

from nnmed import functional as F
from nnmed.backend import random
from nnmed.errors import UsageError
from nnmed.nn.module import Module
from nnmed.ops.arguments import reject_inplace


class Dropout(Module):
    """In training, zero each element with probability `p` and scale the others by 1 / (1 - p).

    Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting",
    JMLR 2014. What is zeroed is a function of the seed, this module's stream of random
    numbers and the count of its calls.

    Parameters
    ----------
    p : float
        In [0, 1].
    inplace : bool
        Only False.
    """

    def __init__(self, p: float = 0.5, inplace: bool = False):
        super().__init__()
        reject_inplace("Dropout", inplace)
        if not 0 <= p <= 1:
            raise UsageError(f"Dropout: p must be in [0, 1], got {p}")
        self.p = p
        self._stream = random.new_stream()

    def forward(self, input):
        """Return `input` with elements zeroed, or itself in evaluation."""
        return F.dropout(input, self.p, self.training, stream=self._stream)

    def extra_repr(self):
        """Return the arguments."""
        return f"p={self.p}, inplace=False"
