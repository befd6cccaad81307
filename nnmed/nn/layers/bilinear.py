"""Bilinear."""

from __future__ import annotations

import math

import numpy as np

from nnmed import functional as F
from nnmed.errors import UsageError
from nnmed.nn import init
from nnmed.nn.layers.linear import check_sizes
from nnmed.nn.module import Module
from nnmed.nn.parameter import Parameter


class Bilinear(Module):
    """y = x1^T W x2 + b, on the last dimensions.

    Parameters
    ----------
    in1_features, out_features : int
        At least 1, and at least 0.
    in2_features : int
    bias : bool

    Attributes
    ----------
    weight : Parameter, (out_features, in1_features, in2_features)
        Drawn evenly from ±1 / sqrt(in1_features).
    bias : Parameter, (out_features,), or None
        Drawn likewise.
    """

    def __init__(self, in1_features: int, in2_features: int, out_features: int, bias: bool = True):
        super().__init__()
        check_sizes(
            "Bilinear",
            in1_features=in1_features,
            in2_features=in2_features,
            out_features=out_features,
        )
        if in1_features < 1:
            raise UsageError(f"Bilinear: in1_features must be at least 1, got {in1_features}")
        self.in1_features, self.in2_features = in1_features, in2_features
        self.out_features = out_features
        shape = (out_features, in1_features, in2_features)
        self.weight = Parameter(np.zeros(shape, np.float32))
        self.register_parameter(
            "bias", Parameter(np.zeros(out_features, np.float32)) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        bound = 1 / math.sqrt(self.in1_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input1, input2):
        """Map (..., in1_features) and (..., in2_features) to (..., out_features)."""
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self):
        """Return the arguments."""
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
            f"out_features={self.out_features}, bias={self.bias is not None}"
        )
