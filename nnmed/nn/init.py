"""Starting values of parameters, written into a tensor in place.

Random values come from streams of ``backend.random``: after ``nnmed.seed(n)`` the same
calls in the same order give the same values. They are drawn in float64 and rounded, so a
float32 and a float64 model start from the same numbers.
"""

from __future__ import annotations

import math

import numpy as np

from nnmed.autograd.tensor import Tensor
from nnmed.backend import random
from nnmed.backend.arrays import to_device
from nnmed.backend.threads import blas_single_thread
from nnmed.errors import ShapeError, UsageError

_GAINS = {
    "linear": 1.0,
    "conv1d": 1.0,
    "conv2d": 1.0,
    "conv3d": 1.0,
    "conv_transpose1d": 1.0,
    "conv_transpose2d": 1.0,
    "conv_transpose3d": 1.0,
    "sigmoid": 1.0,
    "tanh": 5 / 3,
    "relu": math.sqrt(2),
    "selu": 3 / 4,
}


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the factor that keeps the variance of activations through a non-linearity.

    Parameters
    ----------
    nonlinearity : str
        Name of the function, such as ``"relu"``, or ``"leaky_relu"``, whose gain is
        ``sqrt(2 / (1 + param^2))``.
    param : float, optional
        Negative slope of the leaky relu; 0.01 unless given.

    Raises
    ------
    UsageError
        If the function is unknown.
    """
    if nonlinearity == "leaky_relu":
        return math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in _GAINS:
        names = ", ".join([*_GAINS, "leaky_relu"])
        raise UsageError(f"calculate_gain: unknown nonlinearity {nonlinearity!r}: one of {names}")
    return _GAINS[nonlinearity]


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    """Fill `tensor` with values drawn evenly from [a, b)."""
    return _fill(tensor, _generator().uniform(a, b, tensor.shape))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Fill `tensor` with values from a normal distribution."""
    return _fill(tensor, _generator().normal(mean, std, tensor.shape))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill `tensor` with the number `val`."""
    return _fill(tensor, np.array(val))


def zeros_(tensor: Tensor) -> Tensor:
    """Fill `tensor` with zeros."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Fill `tensor` with ones."""
    return constant_(tensor, 1.0)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Fill `tensor` evenly from ±gain * sqrt(6 / (fan_in + fan_out)).

    Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
    networks", AISTATS 2010, equation 16.
    """
    bound = gain * math.sqrt(6 / _positive(sum(fans(tensor))))
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Fill `tensor` from a normal distribution, std gain * sqrt(2 / (fan_in + fan_out)).

    Glorot and Bengio 2010, as :func:`xavier_uniform_`.
    """
    return normal_(tensor, 0.0, gain * math.sqrt(2 / _positive(sum(fans(tensor)))))


def kaiming_uniform_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Tensor:
    """Fill `tensor` evenly from ±gain * sqrt(3 / fan).

    He et al., "Delving deep into rectifiers", ICCV 2015, equations 10 and 14.

    Parameters
    ----------
    tensor : Tensor
        At least two-dimensional.
    a : float
        Negative slope of the leaky relu that follows.
    mode : "fan_in" or "fan_out"
        Keep the variance forward or backward.
    nonlinearity : str
        Name for :func:`calculate_gain`.
    """
    bound = math.sqrt(3) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound)


def kaiming_normal_(
    tensor: Tensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Tensor:
    """Fill `tensor` from a normal distribution with std gain / sqrt(fan).

    Parameters as in :func:`kaiming_uniform_`, source too.
    """
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity))


def orthogonal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Fill `tensor`, as a matrix (first dimension, all others), with orthogonal rows or columns.

    Saxe et al., "Exact solutions to the nonlinear dynamics of learning in deep linear
    neural networks", ICLR 2014; signs after Mezzadri, "How to generate random matrices from
    the classical compact groups", 2007, section 5, which makes it uniform.
    """
    if tensor.ndim < 2:
        raise ShapeError(f"orthogonal_: needs at least two dimensions, got {tensor.shape}")
    if tensor.numel() == 0:
        return tensor
    rows, columns = tensor.shape[0], tensor.numel() // tensor.shape[0]
    values = _generator().normal(size=(max(rows, columns), min(rows, columns)))
    with blas_single_thread():  # LAPACK's bits depend on the number of threads
        q, r = np.linalg.qr(values)
    q = q * np.sign(np.diag(r))
    q = q.T if rows < columns else q
    return _fill(tensor, gain * q.reshape(tensor.shape))


def fans(tensor: Tensor) -> tuple[int, int]:
    """Return how many inputs an output has, and how many outputs an input has.

    For a weight of shape (out, in, height, width) that is in * height * width and
    out * height * width.

    Raises
    ------
    ShapeError
        If the tensor has fewer than two dimensions.
    """
    if tensor.ndim < 2:
        raise ShapeError(f"fan_in and fan_out need at least two dimensions, got {tensor.shape}")
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def _kaiming_std(tensor, a, mode, nonlinearity):
    if mode not in ("fan_in", "fan_out"):
        raise UsageError(f"kaiming: mode is 'fan_in' or 'fan_out', got {mode!r}")
    fan = fans(tensor)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(_positive(fan))


def _positive(fan: int) -> int:
    return max(fan, 1)  # an empty weight has nothing to fill


def _generator() -> np.random.Generator:
    return random.generator("init", random.new_stream())


def _fill(tensor: Tensor, values: np.ndarray) -> Tensor:
    tensor._assign(..., to_device(values.astype(tensor.dtype), tensor.device))
    return tensor
