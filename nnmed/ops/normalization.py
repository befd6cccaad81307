"""Batch normalisation, after Ioffe and Szegedy, "Batch normalization" (ICML 2015)."""

from __future__ import annotations

import math

import numpy as np

from nnmed import kernels
from nnmed.autograd import Notation, Op, Tensor
from nnmed.backend.arrays import array_module, to_device
from nnmed.errors import DeviceError, GradientError, ShapeError, UsageError
from nnmed.ops.arguments import as_tensor, check_numbers, check_same_dtype
from nnmed.ops.reduction import mean, sum
from nnmed.ops.selection import where
from nnmed.ops.shape import reshape

_DIMS = (0, 2, 3)
# In formulas, i is a place in an image; x with a hat, what is normalised; gamma, the weight.
_SCALED = r"\gamma_c\, \hat{x}_{nci} + \beta_c"
AFFINE = rf"y_{{nci}} = {_SCALED}, \quad \hat{{x}}_{{nci}} = "
DX = r"\frac{\partial L}{\partial x_{nci}} = "
DY = r"\frac{\partial L}{\partial y_{nci}}"
AFFINE_GRADIENTS = {
    "weight": r"\frac{\partial L}{\partial \gamma_c} = \sum_{n,i} \hat{x}_{nci}\, " + DY,
    "bias": r"\frac{\partial L}{\partial \beta_c} = \sum_{n,i} " + DY,
}
_NORMAL = r"\frac{x_{nci} - \mu_c}{\sqrt{\sigma_c^2 + \epsilon}}"
_SLOPE = r"\frac{\gamma_c}{\sqrt{\sigma_c^2 + \epsilon}} "


def _ending_in_relu(forward: str) -> str:
    return forward.replace(_SCALED, rf"\max({_SCALED}, 0)")


def _through_relu(backward: dict) -> dict:
    passed = r", \quad g_{nci} = " + DY + r"\, [\,y_{nci} > 0\,]"
    return {name: formula.replace(DY, "g_{nci}") + passed for name, formula in backward.items()}


def affine_notation(op: Op, values: dict) -> Notation:
    """Return what the symbols of a normalisation stand for; i is a place in an image."""
    absent = dict([(r"\gamma", 1), (r"\beta", 0)][len(op.input_shapes) - 1 :])

    def places(array):
        return array.reshape(*array.shape[:2], -1)

    return Notation(
        {r"\epsilon": op.eps, **absent, **values},
        symbols={"weight": r"\gamma", "bias": r"\beta"},
        views={"x": places, "y": places},
    )


class _EndsInRelu:
    relu = True

    def backward(self, dy):
        return super().backward(where(self.output <= 0, 0.0, dy))


class BatchNorm(Op):
    """Normalise each channel by its mean and variance in the batch.

    y = weight * n + bias,   n = (x - mu) / sqrt(var + eps),
    mu = (1/m) sum of x,     var = (1/m) sum of (x - mu)^2      over the m values of a channel

    dbias = sum of dy,   dweight = sum of dy * n
    dx = weight / sqrt(var + eps) * (dy - dbias / m - n * dweight / m)

    The last two terms are there because mu and var are functions of x too.
    """

    forward_latex = (
        AFFINE + _NORMAL + r", \quad "
        r"\mu_c = \frac{1}{m} \sum_{n,i} x_{nci}, \quad "
        r"\sigma_c^2 = \frac{1}{m} \sum_{n,i} (x_{nci} - \mu_c)^2"
    )
    backward_latex = {
        "x": DX + _SLOPE + r"\left(" + DY + r" - \frac{1}{m} \frac{\partial L}{\partial \beta_c}"
        r" - \frac{\hat{x}_{nci}}{m} \frac{\partial L}{\partial \gamma_c}\right)",
        **AFFINE_GRADIENTS,
    }

    relu = False

    def __init__(self, eps: float):
        self.eps = eps
        self.moments = None

    def notation(self):
        n, _, *places = self.input_shapes[0]
        return affine_notation(self, {"m": n * math.prod(places)})

    def forward(self, x, weight=None, bias=None):
        kernel = kernels.select("normalization", x)
        self.moments = mean, var = kernel.batch_moments(x)
        kept = (0,) if weight is None else (0, 1)
        self.keep(inputs=kept, output=self.relu, mean=mean, var=var)
        return kernel.batch_norm(x, mean, var, weight, bias, self.eps, self.relu)

    def backward(self, dy):
        x, weight = (*self.inputs, None)[:2]
        centred = x - mean(x, _DIMS, keepdim=True)
        inverse = (mean(centred * centred, _DIMS, keepdim=True) + self.eps) ** -0.5
        normal = centred * inverse
        dx = None
        if self.needs[0]:
            g = dy if weight is None else dy * reshape(weight, 1, -1, 1, 1)
            share = mean(g, _DIMS, keepdim=True) + normal * mean(g * normal, _DIMS, keepdim=True)
            dx = inverse * (g - share)
        return dx, *affine_gradients(self.needs[1:], dy, normal)

    def fused_backward(self, dy):
        return _fused_backward(self, dy, self.kept["mean"], self.kept["var"], True)

    def flops(self, inputs, output):
        return (8 + self.relu) * int(np.prod(output, dtype=np.int64))


class BatchNormRelu(_EndsInRelu, BatchNorm):
    """Batch normalisation and relu, in one pass over the memory.

    y = max(z, 0),   z = weight * n + bias,   n, mu and var as in :class:`BatchNorm`

    dz = dy [y > 0], from which the gradients come as there
    """

    forward_latex = _ending_in_relu(BatchNorm.forward_latex)
    backward_latex = _through_relu(BatchNorm.backward_latex)


class BatchNormInference(Op):
    """Normalise each channel by statistics that are given, constants of the graph.

    y = weight * n + bias,   n = (x - mu) / sqrt(var + eps)

    dbias = sum of dy,   dweight = sum of dy * n,   dx = dy * weight / sqrt(var + eps)
    """

    forward_latex = AFFINE + _NORMAL
    backward_latex = {"x": DX + _SLOPE + DY, **AFFINE_GRADIENTS}
    relu = False

    def __init__(self, running_mean, running_var, eps: float):
        # Copies: the running statistics may be updated before backward comes.
        self.moments, self.eps = (running_mean.copy(), running_var.copy()), eps

    def notation(self):
        mean, var = (to_device(moment, "cpu") for moment in self.moments)
        return affine_notation(self, {r"\mu": mean, r"\sigma^2": var})

    def forward(self, x, weight=None, bias=None):
        self.keep(inputs=(0,) if weight is None else (0, 1), output=self.relu)
        kernel = kernels.select("normalization", x)
        return kernel.batch_norm(x, *self.moments, weight, bias, self.eps, self.relu)

    def backward(self, dy):
        x, weight = (*self.inputs, None)[:2]
        shape = 1, -1, 1, 1
        centre, var = (Tensor._wrap(m.astype(x.dtype).reshape(shape)) for m in self.moments)
        inverse = (var + self.eps) ** -0.5
        dx = None
        if self.needs[0]:
            dx = dy * (inverse if weight is None else inverse * reshape(weight, shape))
        return dx, *affine_gradients(self.needs[1:], dy, (x - centre) * inverse)

    def fused_backward(self, dy):
        return _fused_backward(self, dy, *self.moments, False)

    def flops(self, inputs, output):
        return (2 + self.relu) * int(np.prod(output, dtype=np.int64))


class BatchNormReluInference(_EndsInRelu, BatchNormInference):
    """Batch normalisation by given statistics and relu, in one pass over the memory.

    y = max(z, 0),   z = weight * n + bias,   n as in :class:`BatchNormInference`

    dz = dy [y > 0], from which the gradients come as there
    """

    forward_latex = _ending_in_relu(BatchNormInference.forward_latex)
    backward_latex = _through_relu(BatchNormInference.backward_latex)


def affine_gradients(needs, dy, normal):
    """Return the gradients of weight and bias, as far as they are inputs."""
    terms = (lambda: sum(dy * normal, _DIMS), lambda: sum(dy, _DIMS))
    return tuple(term() if need else None for need, term in zip(needs, terms))


def _fused_backward(op, dy, mean, var, training):
    x, *rest = [None if t is None else t._array for t in op.inputs]
    weight = rest[0] if rest else None
    kernel = kernels.select("normalization", x)
    y = op.output._array if op.relu else None
    dx, *affine = kernel.batch_norm_grad(dy, x, mean, var, weight, op.eps, training, y)
    return dx, *(g.astype(x.dtype) for g in affine[: len(op.needs) - 1])


def batch_norm(
    input,
    running_mean,
    running_var,
    weight=None,
    bias=None,
    training=False,
    momentum=0.1,
    eps=1e-5,
    *,
    relu=False,
) -> Tensor:
    """Return `input` with each channel normalised, scaled by `weight` and moved by `bias`.

    Parameters
    ----------
    input : Tensor
        ``(N, C)``, ``(N, C, L)``, ``(N, C, H, W)`` or with more dimensions.
    running_mean, running_var : Tensor or None
        ``(C,)``. In training they are updated in place, if given:
        ``r = (1 - momentum) * r + momentum * statistic``, where the variance is divided by
        m - 1. Otherwise they are the statistics used.
    weight, bias : Tensor, optional
        ``(C,)``.
    training : bool
        Whether to use the statistics of the batch.
    relu : bool
        Whether to end in relu: the same as :func:`relu` of the result, with less memory read and
        written. PyTorch has no such argument.

    Raises
    ------
    ShapeError
        If a channel has only one value in training, or lengths differ from C.
    UsageError
        If running statistics are missing outside training, or are no Tensors.
    """
    x = as_tensor(input)
    weight, bias = (None if t is None else as_tensor(t) for t in (weight, bias))
    check_same_dtype("batch_norm", input=x, weight=weight, bias=bias)
    check_numbers("batch_norm", momentum=momentum, eps=eps)
    if x.ndim < 2:
        raise ShapeError(f"batch_norm: input must be (N, C) or (N, C, ...), got {x.shape}")
    buffers = dict(running_mean=running_mean, running_var=running_var)
    check_buffers("batch_norm", buffers, needed="" if training else "training=False")
    check_lengths("batch_norm", x, dict(buffers, weight=weight, bias=bias))
    if training and x.numel() == x.shape[1]:
        raise ShapeError(
            "batch_norm: training needs more than one value per channel, "
            f"input has shape {x.shape}: use a larger batch, or training=False"
        )
    affine = affine_inputs(x.shape[1], x.dtype, weight, bias)
    if training:
        op = (BatchNormRelu if relu else BatchNorm)(eps)
    else:
        kind = BatchNormReluInference if relu else BatchNormInference
        op = kind(running_mean._array, running_var._array, eps)
    y = reshape(op(four_dimensions(x), *affine), x.shape)
    if training and x.numel():
        update_running(running_mean, op.moments[0], momentum)
        count = x.numel() // x.shape[1]
        update_running(running_var, op.moments[1] * (count / (count - 1)), momentum)
    return y


def affine_inputs(length, dtype, weight, bias) -> list:
    """Return weight and bias, as far as they are there; a bias alone gets a weight of ones."""
    if bias is not None and weight is None:
        weight = Tensor._wrap(array_module(bias._array).ones(length, dtype))
    return [t for t in (weight, bias) if t is not None]


def four_dimensions(x: Tensor) -> Tensor:
    """Return `x` as (N, C, H, W), a view where memory allows."""
    if x.ndim == 4:
        return x
    return reshape(x, (*x.shape[:2], 1, int(np.prod(x.shape[2:], dtype=np.int64))))


def update_running(running, statistic, momentum) -> None:
    """Move the tensor `running`, if there is one, towards `statistic`."""
    if running is not None:
        old = running._array
        running._assign(..., ((1 - momentum) * old + momentum * statistic).astype(old.dtype))


def check_lengths(function, x, tensors) -> None:
    """Raise an error unless the tensors that are there have one number a channel of `x`.

    They must be on its device.
    """
    for name, tensor in tensors.items():
        if tensor is not None and type(tensor._array) is not type(x._array):
            raise DeviceError(
                f"{function}: {name} is on {tensor.device}, the input on {x.device}; move them to "
                "one with .to(device)"
            )
        if tensor is not None and tensor.shape != (x.shape[1],):
            raise ShapeError(
                f"{function}: {name} must have shape ({x.shape[1]},), one number a channel of "
                f"input {x.shape}, got {tensor.shape}"
            )


def check_buffers(function, buffers, needed: str = "") -> None:
    """Raise an error unless running statistics are constant Tensors, where they are there.

    `needed` is the option for which they must be there.
    """
    missing = [name for name, tensor in buffers.items() if tensor is None]
    if missing and needed:
        raise UsageError(f"{function}: {needed} needs {' and '.join(missing)}")
    for name, tensor in buffers.items():
        if tensor is not None and not isinstance(tensor, Tensor):
            raise UsageError(
                f"{function}: {name} must be a Tensor, which training changes in place, "
                f"got {type(tensor).__name__}"
            )
        if tensor is not None and tensor._requires_grad:
            raise GradientError(
                f"{function}: {name} requires a gradient, but running statistics are constants: "
                "pass it with .detach()"
            )
