"""Dropout layers."""

from __future__ import annotations

from nnmed import functional as F
from nnmed.backend import random
from nnmed.errors import UsageError
from nnmed.nn.module import Module
from nnmed.ops.arguments import check_numbers, reject_inplace


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

    function = F.dropout

    def __init__(self, p: float = 0.5, inplace: bool = False):
        super().__init__()
        name = type(self).__name__
        reject_inplace(name, inplace)
        check_numbers(name, p=p)
        if not 0 <= p <= 1:
            raise UsageError(f"{name}: p must be in [0, 1], got {p}")
        self.p = p
        self._stream = random.new_stream()

    def forward(self, input):
        """Return `input` with some of it zeroed, or itself in evaluation."""
        return type(self).function(input, self.p, self.training, stream=self._stream)

    def extra_repr(self):
        """Return the arguments."""
        return f"p={self.p}, inplace=False"


class Dropout1d(Dropout):
    """Dropout of whole channels of (N, C, L) or (C, L)."""

    function = F.dropout1d


class Dropout2d(Dropout):
    """Dropout of whole channels of (N, C, H, W)."""

    function = F.dropout2d


class Dropout3d(Dropout):
    """Dropout of whole channels of (N, C, D, H, W) or (C, D, H, W)."""

    function = F.dropout3d


class AlphaDropout(Dropout):
    """In training, set elements to selu's lower limit, and keep mean and variance."""

    function = F.alpha_dropout


class FeatureAlphaDropout(Dropout):
    """AlphaDropout of whole channels of (N, C, ...)."""

    function = F.feature_alpha_dropout
