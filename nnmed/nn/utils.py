"""Clipping of gradients; folding of batch norm into convolutions."""

from __future__ import annotations

import math

import numpy as np

from nnmed.autograd.tensor import Tensor
from nnmed.backend.arrays import array_module
from nnmed.errors import GradientError, UsageError
from nnmed.nn.fusion import fold_batch_norms, fuse_conv_bn_eval

__all__ = ["clip_grad_norm_", "clip_grad_value_", "fold_batch_norms", "fuse_conv_bn_eval"]


def clip_grad_norm_(
    parameters, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """Scale the gradients so that their norm, taken as one vector, is at most `max_norm`.

    All are multiplied by ``min(1, max_norm / (norm + 1e-6))``. Pascanu et al., "On the
    difficulty of training recurrent neural networks", ICML 2013.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Those without a gradient are passed over. A parameter gets a new gradient tensor:
        one that is held elsewhere keeps its values.
    max_norm : float
    norm_type : float
        p of the p-norm; ``inf`` for the largest absolute value.
    error_if_nonfinite : bool
        Raise an error where the norm is NaN or infinite.

    Returns
    -------
    Tensor
        The norm before scaling, summed in float64. 0-d, of the dtype of the gradients.

    Raises
    ------
    GradientError
        If the norm is not finite and `error_if_nonfinite`; gradients are unchanged then.
    """
    owners = _with_gradient(parameters)
    if not norm_type > 0:
        raise UsageError(f"clip_grad_norm_: norm_type must be positive, got {norm_type}")
    norm = _total_norm([p.grad._array for p in owners], float(norm_type))
    if error_if_nonfinite and not math.isfinite(norm):
        raise GradientError(
            f"clip_grad_norm_: the norm of the gradients is {norm}; nnmed.detect_anomaly() "
            "finds the operation that made it"
        )
    scale = float(max_norm) / (norm + 1e-6)
    if not scale >= 1:  # NaN goes on into the gradients, where it can be seen
        for parameter in owners:
            parameter.grad = _tensor(parameter.grad._array * scale)
    dtype = owners[0].grad.dtype if owners else np.float32
    return Tensor(np.array(norm, dtype))


def clip_grad_value_(parameters, clip_value: float) -> None:
    """Clip every element of the gradients to [-clip_value, clip_value].

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        As in :func:`clip_grad_norm_`.
    clip_value : float
    """
    value = float(clip_value)
    for parameter in _with_gradient(parameters):
        array = parameter.grad._array
        parameter.grad = _tensor(array_module(array).clip(array, -value, value))


def _with_gradient(parameters) -> list[Tensor]:
    parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [parameter for parameter in parameters if parameter.grad is not None]


def _tensor(array) -> Tensor:
    # NumPy's operators return scalars instead of 0-d arrays.
    return Tensor._wrap(np.asarray(array) if isinstance(array, np.generic) else array)


def _total_norm(arrays, p: float) -> float:
    if p == math.inf:
        # np.max passes NaN on; Python's max would lose it.
        return float(np.max([_largest(array) for array in arrays])) if arrays else 0.0
    return sum(_power_sum(array, p) for array in arrays) ** (1 / p)


def _largest(array) -> float:
    return float(abs(array).max()) if array.size else 0.0


def _power_sum(array, p: float) -> float:
    if p == 2.0:
        flat = array.reshape(-1)
        # Sums float32 in float64 without a float64 copy, always in the same order.
        return float(array_module(array).einsum("i,i->", flat, flat, dtype=np.float64))
    return float((abs(array) ** p).sum(dtype=np.float64))
