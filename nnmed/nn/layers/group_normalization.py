"""Normalisation without running statistics: groups of channels, last dimensions, neighbours."""

from __future__ import annotations

import numpy as np

from nnmed import functional as F
from nnmed.errors import UsageError
from nnmed.nn import init
from nnmed.nn.layers.linear import check_sizes
from nnmed.nn.module import Module
from nnmed.nn.parameter import Parameter


class _Affine(Module):
    """A layer with a weight, and perhaps a bias, of one number for each number of a shape."""

    def _register_affine(self, shape, weight: bool, bias: bool) -> None:
        for name, wanted in (("weight", weight), ("bias", bias)):
            zeros = np.zeros(shape, np.float32)
            self.register_parameter(name, Parameter(zeros) if wanted else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set weight to ones and bias to zeros."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)


class GroupNorm(_Affine):
    """y = (x - mean) / sqrt(var + eps) * weight + bias, for each group of channels of an image.

    Wu and He, "Group normalization", ECCV 2018.

    Parameters
    ----------
    num_groups, num_channels : int
        A group is num_channels / num_groups neighbouring channels.
    eps : float
    affine : bool
        Whether there are weight and bias.
    bias : bool
        Without it there is only the weight.

    Attributes
    ----------
    weight, bias : Parameter, (num_channels,), or None
        Ones and zeros at first.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        *,
        bias: bool = True,
    ):
        super().__init__()
        check_sizes("GroupNorm", num_groups=num_groups, num_channels=num_channels)
        if num_groups < 1 or num_channels % num_groups:
            raise UsageError(
                f"GroupNorm: num_groups={num_groups} must divide num_channels={num_channels}"
            )
        self.num_groups, self.num_channels = num_groups, num_channels
        self.eps, self.affine = eps, affine
        self._register_affine(num_channels, affine, affine and bias)

    def forward(self, input):
        """Normalise (N, C) or (N, C, ...); the shape stays."""
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self):
        """Return the arguments."""
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class LayerNorm(_Affine):
    """y = (x - mean) / sqrt(var + eps) * weight + bias, over the last dimensions.

    Ba et al., "Layer normalization", 2016.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        Lengths of the last dimensions, over which mean and variance are taken.
    eps : float
    elementwise_affine : bool
        Whether there are weight and bias.
    bias : bool
        Without it there is only the weight.

    Attributes
    ----------
    weight, bias : Parameter of `normalized_shape`, or None
        Ones and zeros at first.
    """

    def __init__(
        self,
        normalized_shape,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
    ):
        super().__init__()
        self.normalized_shape = _shape("LayerNorm", normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self._register_affine(
            self.normalized_shape, elementwise_affine, elementwise_affine and bias
        )

    def forward(self, input):
        """Normalise ``(..., *normalized_shape)``; the shape stays."""
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self):
        """Return the arguments."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        )


class RMSNorm(Module):
    """y = x / sqrt(mean of x^2 + eps) * weight, over the last dimensions.

    Zhang and Sennrich, "Root mean square layer normalization", NeurIPS 2019.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        Lengths of the last dimensions, over which the mean is taken.
    eps : float, optional
        By default the spacing of the dtype at 1.
    elementwise_affine : bool
        Whether there is a weight.

    Attributes
    ----------
    weight : Parameter of `normalized_shape`, or None
        Ones at first.
    """

    def __init__(self, normalized_shape, eps: float | None = None, elementwise_affine: bool = True):
        super().__init__()
        self.normalized_shape = _shape("RMSNorm", normalized_shape)
        self.eps, self.elementwise_affine = eps, elementwise_affine
        self.register_parameter("weight", None)
        if elementwise_affine:
            self.weight = Parameter(np.ones(self.normalized_shape, np.float32))

    def reset_parameters(self) -> None:
        """Set the weight to ones."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, input):
        """Normalise ``(..., *normalized_shape)``; the shape stays."""
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self):
        """Return the arguments."""
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class LocalResponseNorm(Module):
    """y = x / (k + alpha * s)^beta, s the mean square over neighbouring channels.

    Parameters
    ----------
    size : int
        Channels of a neighbourhood.
    alpha, beta, k : float
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0):
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, input):
        """Normalise (N, C, ...); the shape stays."""
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self):
        """Return the arguments."""
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


def _shape(layer, normalized_shape) -> tuple[int, ...]:
    shape = normalized_shape
    shape = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    for length in shape:
        check_sizes(layer, normalized_shape=length)
    return shape
