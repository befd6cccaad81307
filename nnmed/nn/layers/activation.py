"""Activation layers; formulas and sources stand in ``nnmed.ops``."""

from __future__ import annotations

from nnmed import functional as F
from nnmed.nn.module import Module
from nnmed.ops.arguments import reject_inplace


class ReLU(Module):
    """max(x, 0). `inplace` is accepted as False only."""

    def __init__(self, inplace: bool = False):
        super().__init__()
        reject_inplace("ReLU", inplace)

    def forward(self, input):
        """Apply to each element."""
        return F.relu(input)


class LeakyReLU(Module):
    """x where x > 0, else negative_slope * x. `inplace` is accepted as False only."""

    def __init__(self, negative_slope: float = 1e-2, inplace: bool = False):
        super().__init__()
        reject_inplace("LeakyReLU", inplace)
        self.negative_slope = negative_slope

    def forward(self, input):
        """Apply to each element."""
        return F.leaky_relu(input, self.negative_slope)

    def extra_repr(self):
        """Return the arguments."""
        return f"negative_slope={self.negative_slope}"


class ELU(Module):
    """x where x > 0, else alpha * (exp(x) - 1). `inplace` is accepted as False only."""

    def __init__(self, alpha: float = 1.0, inplace: bool = False):
        super().__init__()
        reject_inplace("ELU", inplace)
        self.alpha = alpha

    def forward(self, input):
        """Apply to each element."""
        return F.elu(input, self.alpha)

    def extra_repr(self):
        """Return the arguments."""
        return f"alpha={self.alpha}"


class GELU(Module):
    """x * Phi(x) with the normal distribution function; `approximate` is "none" or "tanh"."""

    def __init__(self, approximate: str = "none"):
        super().__init__()
        self.approximate = approximate

    def forward(self, input):
        """Apply to each element."""
        return F.gelu(input, approximate=self.approximate)

    def extra_repr(self):
        """Return the arguments."""
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """x * sigmoid(x). `inplace` is accepted as False only."""

    def __init__(self, inplace: bool = False):
        super().__init__()
        reject_inplace("SiLU", inplace)

    def forward(self, input):
        """Apply to each element."""
        return F.silu(input)


class Sigmoid(Module):
    """1 / (1 + exp(-x))."""

    def forward(self, input):
        """Apply to each element."""
        return F.sigmoid(input)


class Tanh(Module):
    """tanh(x)."""

    def forward(self, input):
        """Apply to each element."""
        return F.tanh(input)


class Softmax(Module):
    """exp(x) over its sum along dimension `dim`."""

    def __init__(self, dim: int | None = None):
        super().__init__()
        self.dim = dim

    def forward(self, input):
        """Return probabilities that sum to 1 along `dim`."""
        return F.softmax(input, self.dim)

    def extra_repr(self):
        """Return the arguments."""
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """Logarithm of softmax along dimension `dim`."""

    def __init__(self, dim: int | None = None):
        super().__init__()
        self.dim = dim

    def forward(self, input):
        """Return logarithms of probabilities that sum to 1 along `dim`."""
        return F.log_softmax(input, self.dim)

    def extra_repr(self):
        """Return the arguments."""
        return f"dim={self.dim}"
