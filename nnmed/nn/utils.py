"""Clipping of gradients; folding of batch norm into convolutions."""

from __future__ import annotations

import math

import numpy as np

from nnmed.autograd.tensor import Tensor
from nnmed.backend.arrays import array_module, device_of
from nnmed.errors import DeviceError, GradientError, UsageError
from nnmed.kernels.optimizer import gpu
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
        Raise an error where the norm is NaN or infinite. Only for this does the program wait
        for a GPU.

    Returns
    -------
    Tensor
        The norm before scaling, summed in float64. 0-d, of the dtype of the gradients and on
        their device.

    Raises
    ------
    GradientError
        If the norm is not finite and `error_if_nonfinite`; gradients are unchanged then.
    DeviceError
        If the gradients are on two devices.
    """
    owners = _with_gradient(parameters)
    if not norm_type > 0:
        raise UsageError(f"clip_grad_norm_: norm_type must be positive, got {norm_type}")
    arrays = [parameter.grad._array for parameter in owners]
    devices = {device_of(array) for array in arrays}
    if len(devices) > 1:
        raise DeviceError("clip_grad_norm_: some gradients are on cpu, others on gpu")
    on_gpu = devices == {"gpu"}
    total_norm, clipped = (gpu.total_norm, gpu.clipped) if on_gpu else (_total_norm, _clipped)
    norm = total_norm(arrays, float(norm_type))
    if error_if_nonfinite and not math.isfinite(norm):
        raise GradientError(
            f"clip_grad_norm_: the norm of the gradients is {float(norm)}; nnmed.detect_anomaly() "
            "finds the operation that made it"
        )
    for parameter, array in zip(owners, clipped(arrays, norm, float(max_norm))):
        if array is not parameter.grad._array:
            parameter.grad = Tensor._wrap(array)
    return Tensor._wrap(norm.astype(arrays[0].dtype if arrays else np.float32))


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
        parameter.grad = Tensor._wrap(_as_array(array_module(array).clip(array, -value, value)))


def _with_gradient(parameters) -> list[Tensor]:
    parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [parameter for parameter in parameters if parameter.grad is not None]


def _as_array(value):
    # NumPy's operators return scalars instead of 0-d arrays.
    return np.asarray(value) if isinstance(value, np.generic) else value


def _clipped(arrays, norm, max_norm: float) -> list:
    """Return the arrays multiplied by ``min(1, max_norm / (norm + 1e-6))``; themselves at 1."""
    scale = max_norm / (float(norm) + 1e-6)
    if scale >= 1:
        return arrays
    # NaN goes on into the gradients, where it can be seen.
    return [_as_array(array * scale) for array in arrays]


def _total_norm(arrays, p: float) -> np.ndarray:
    if p == math.inf:
        # np.max passes NaN on; Python's max would lose it.
        return np.array(np.max([_largest(array) for array in arrays]) if arrays else 0.0)
    return np.array(sum(_power_sum(array, p) for array in arrays) ** (1 / p))


def _largest(array) -> float:
    return float(abs(array).max()) if array.size else 0.0


def _power_sum(array, p: float) -> float:
    if p == 2.0:
        flat = array.reshape(-1)
        # Sums float32 in float64 without a float64 copy, always in the same order.
        return float(np.einsum("i,i->", flat, flat, dtype=np.float64))
    return float((abs(array) ** p).sum(dtype=np.float64))
