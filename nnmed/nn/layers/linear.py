"""Linear and Identity."""

from __future__ import annotations

import math

import numpy as np

from nnmed import functional as F
from nnmed.errors import UsageError
from nnmed.nn import init
from nnmed.nn.module import Module
from nnmed.nn.parameter import Parameter


def check_sizes(layer: str, **sizes) -> None:
    """Raise UsageError unless all `sizes` are integers of at least 0."""
    for name, size in sizes.items():
        if not isinstance(size, (int, np.integer)) or size < 0:
            raise UsageError(f"{layer}: {name} must be an integer of at least 0, got {size!r}")


def reset_weight_and_bias(module: Module) -> None:
    """Draw weight and bias evenly from ±1 / sqrt(fan_in), PyTorch's default."""
    init.kaiming_uniform_(module.weight, a=math.sqrt(5))
    if module.bias is not None:
        fan_in, _ = init.fans(module.weight)
        bound = 1 / math.sqrt(fan_in) if fan_in > 0 else 0.0
        init.uniform_(module.bias, -bound, bound)


class Linear(Module):
    """y = x W^T + b, on the last dimension.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool

    Attributes
    ----------
    weight : Parameter, (out_features, in_features)
        Drawn evenly from ±1 / sqrt(in_features).
    bias : Parameter, (out_features,), or None
        Drawn likewise.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True):
        super().__init__()
        check_sizes("Linear", in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(np.zeros((out_features, in_features), np.float32))
        self.register_parameter(
            "bias", Parameter(np.zeros(out_features, np.float32)) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        reset_weight_and_bias(self)

    def forward(self, input):
        """Map (..., in_features) to (..., out_features)."""
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self):
        """Return the arguments."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


class Identity(Module):
    """y = x; any arguments are accepted and ignored, so that it can stand in for a layer."""

    def __init__(self, *args, **kwargs):
        super().__init__()

    def forward(self, input):
        """Return `input` itself."""
        return input
