"""Activation layers; formulas and sources stand in ``nnmed.ops``."""

from __future__ import annotations

import numpy as np

from nnmed import functional as F
from nnmed.backend import random
from nnmed.errors import ShapeError
from nnmed.nn.layers.linear import check_sizes
from nnmed.nn.module import Module
from nnmed.nn.parameter import Parameter
from nnmed.ops.arguments import check_numbers, reject_inplace


class Activation(Module):
    """Base of the layers that apply a function and only hold its arguments.

    A subclass names the function and passes the arguments, which become attributes;
    `inplace` is accepted as False only.
    """

    function = None

    def __init__(self, inplace: bool = False, **arguments):
        super().__init__()
        reject_inplace(type(self).__name__, inplace)
        self._names = tuple(arguments)
        for name, value in arguments.items():
            setattr(self, name, value)

    def forward(self, input):
        """Apply the function."""
        return type(self).function(input, **{name: getattr(self, name) for name in self._names})

    def extra_repr(self):
        """Return the arguments."""
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in self._names)


class ReLU(Activation):
    """max(x, 0)."""

    function = F.relu

    def __init__(self, inplace: bool = False):
        super().__init__(inplace)


class ReLU6(Activation):
    """min(max(x, 0), 6)."""

    function = F.relu6

    def __init__(self, inplace: bool = False):
        super().__init__(inplace)


class LeakyReLU(Activation):
    """x where x > 0, else negative_slope * x."""

    function = F.leaky_relu

    def __init__(self, negative_slope: float = 1e-2, inplace: bool = False):
        super().__init__(inplace, negative_slope=negative_slope)


class PReLU(Module):
    """x where x > 0, else weight * x; the weight is learnt.

    Parameters
    ----------
    num_parameters : int
        1, or the number of channels of (N, C, ...).
    init : float
        What the weight starts from.
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25):
        super().__init__()
        check_sizes("PReLU", num_parameters=num_parameters)
        check_numbers("PReLU", init=init)
        if num_parameters < 1:
            raise ShapeError(f"PReLU: num_parameters must be at least 1, got {num_parameters}")
        self.num_parameters, self.init = num_parameters, init
        self.weight = Parameter(np.full(num_parameters, init, np.float32))

    def forward(self, input):
        """Apply to each element."""
        return F.prelu(input, self.weight)

    def extra_repr(self):
        """Return the arguments."""
        return f"num_parameters={self.num_parameters}"


class RReLU(Activation):
    """x where x > 0, else x times a slope: in training drawn from [lower, upper], else its middle.

    The slopes are a function of the seed, this module's stream of random numbers and the
    count of its calls.
    """

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3, inplace: bool = False):
        super().__init__(inplace, lower=lower, upper=upper)
        self._stream = random.new_stream()

    def forward(self, input):
        """Apply to each element."""
        return F.rrelu(input, self.lower, self.upper, self.training, stream=self._stream)


class ELU(Activation):
    """x where x > 0, else alpha * (exp(x) - 1)."""

    function = F.elu

    def __init__(self, alpha: float = 1.0, inplace: bool = False):
        super().__init__(inplace, alpha=alpha)


class CELU(Activation):
    """x where x > 0, else alpha * (exp(x / alpha) - 1)."""

    function = F.celu

    def __init__(self, alpha: float = 1.0, inplace: bool = False):
        super().__init__(inplace, alpha=alpha)


class SELU(Activation):
    """ELU with the two constants of self-normalizing networks."""

    function = F.selu

    def __init__(self, inplace: bool = False):
        super().__init__(inplace)


class GELU(Activation):
    """x * Phi(x) with the normal distribution function; `approximate` is "none" or "tanh"."""

    function = F.gelu

    def __init__(self, approximate: str = "none"):
        super().__init__(approximate=approximate)


class SiLU(Activation):
    """x * sigmoid(x)."""

    function = F.silu

    def __init__(self, inplace: bool = False):
        super().__init__(inplace)


class Mish(Activation):
    """x * tanh(softplus(x))."""

    function = F.mish

    def __init__(self, inplace: bool = False):
        super().__init__(inplace)


class Sigmoid(Activation):
    """1 / (1 + exp(-x))."""

    function = F.sigmoid

    def __init__(self):
        super().__init__()


class LogSigmoid(Activation):
    """Logarithm of the sigmoid."""

    function = F.logsigmoid

    def __init__(self):
        super().__init__()


class Tanh(Activation):
    """tanh(x)."""

    function = F.tanh

    def __init__(self):
        super().__init__()


class Tanhshrink(Activation):
    """x - tanh(x)."""

    function = F.tanhshrink

    def __init__(self):
        super().__init__()


class Softsign(Activation):
    """x / (1 + abs(x))."""

    function = F.softsign

    def __init__(self):
        super().__init__()


class Softplus(Activation):
    """log(1 + exp(beta * x)) / beta; x where beta * x > threshold."""

    function = F.softplus

    def __init__(self, beta: float = 1.0, threshold: float = 20.0):
        super().__init__(beta=beta, threshold=threshold)


class Threshold(Activation):
    """x where x > threshold, else value."""

    function = F.threshold

    def __init__(self, threshold: float, value: float, inplace: bool = False):
        super().__init__(inplace, threshold=threshold, value=value)


class Hardtanh(Activation):
    """x limited to [min_val, max_val]."""

    function = F.hardtanh

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False):
        super().__init__(inplace, min_val=min_val, max_val=max_val)


class Hardsigmoid(Activation):
    """(x + 3) / 6 limited to [0, 1]."""

    function = F.hardsigmoid

    def __init__(self, inplace: bool = False):
        super().__init__(inplace)


class Hardswish(Activation):
    """x * hardsigmoid(x)."""

    function = F.hardswish

    def __init__(self, inplace: bool = False):
        super().__init__(inplace)


class Hardshrink(Activation):
    """x where abs(x) > lambd, else 0."""

    function = F.hardshrink

    def __init__(self, lambd: float = 0.5):
        super().__init__(lambd=lambd)

    def extra_repr(self):
        """Return the argument."""
        return str(self.lambd)


class Softshrink(Activation):
    """x moved towards 0 by lambd; 0 where abs(x) <= lambd."""

    function = F.softshrink

    def __init__(self, lambd: float = 0.5):
        super().__init__(lambd=lambd)

    def extra_repr(self):
        """Return the argument."""
        return str(self.lambd)


class GLU(Activation):
    """The first half of x along dimension `dim` times the sigmoid of the second half."""

    function = F.glu

    def __init__(self, dim: int = -1):
        super().__init__(dim=dim)


class Softmax(Activation):
    """exp(x) over its sum along dimension `dim`."""

    function = F.softmax

    def __init__(self, dim: int | None = None):
        super().__init__(dim=dim)


class LogSoftmax(Activation):
    """Logarithm of softmax along dimension `dim`."""

    function = F.log_softmax

    def __init__(self, dim: int | None = None):
        super().__init__(dim=dim)


class Softmin(Activation):
    """softmax of -x along dimension `dim`."""

    function = F.softmin

    def __init__(self, dim: int | None = None):
        super().__init__(dim=dim)


class Softmax2d(Module):
    """softmax over the channels of (N, C, H, W) or (C, H, W)."""

    def forward(self, input):
        """Return probabilities that sum to 1 at each pixel."""
        if input.ndim not in (3, 4):
            raise ShapeError(f"Softmax2d: expected (N, C, H, W) or (C, H, W), got {input.shape}")
        return F.softmax(input, -3)
