"""Layer normalisation (Ba et al., 2016) and root-mean-square normalisation."""

from __future__ import annotations

import math

import numpy as np

from nnmed import kernels
from nnmed.autograd import Notation, Op, Tensor
from nnmed.errors import ShapeError
from nnmed.ops.arguments import as_tensor, check_numbers, check_same_dtype
from nnmed.ops.normalization import affine_inputs
from nnmed.ops.reduction import mean, sum
from nnmed.ops.shape import reshape

_DY = r"\frac{\partial L}{\partial y_{ri}}"
_AFFINE = {
    "weight": r"\frac{\partial L}{\partial \gamma_i} = \sum_r \hat{x}_{ri}\, " + _DY,
    "bias": r"\frac{\partial L}{\partial \beta_i} = \sum_r " + _DY,
}
_G = r", \quad g_{ri} = \gamma_i\, " + _DY


class LayerNorm(Op):
    """Normalise each row of (M, D) by its own mean and variance.

    y = weight * n + bias,   n = (x - mu) / sqrt(var + eps),
    mu = (1/D) sum of x,     var = (1/D) sum of (x - mu)^2      over the row

    dbias = sum of dy,   dweight = sum of dy * n                over the rows
    dx = (g - sum of g / D - n * sum of (g * n) / D) / sqrt(var + eps),   g = weight * dy

    Ba et al., "Layer normalization", 2016.
    """

    forward_latex = (
        r"y_{ri} = \gamma_i\, \hat{x}_{ri} + \beta_i, \quad "
        r"\hat{x}_{ri} = \frac{x_{ri} - \mu_r}{\sqrt{\sigma_r^2 + \epsilon}}, \quad "
        r"\mu_r = \frac{1}{D} \sum_i x_{ri}, \quad "
        r"\sigma_r^2 = \frac{1}{D} \sum_i (x_{ri} - \mu_r)^2"
    )
    backward_latex = {
        "x": r"\frac{\partial L}{\partial x_{ri}} = \frac{1}{\sqrt{\sigma_r^2 + \epsilon}} \left("
        r"g_{ri} - \frac{1}{D} \sum_j g_{rj} - "
        r"\frac{\hat{x}_{ri}}{D} \sum_j g_{rj}\, \hat{x}_{rj}\right)" + _G,
        **_AFFINE,
    }
    centred = True

    def __init__(self, eps: float):
        self.eps = eps

    def notation(self):
        absent = dict([(r"\gamma", 1), (r"\beta", 0)][len(self.input_shapes) - 1 :])
        return Notation(
            {r"\epsilon": self.eps, "D": self.input_shapes[0][1], **absent},
            symbols={"weight": r"\gamma", "bias": r"\beta"},
            ranges={"j": self.input_shapes[0][1]},
        )

    def forward(self, x, weight=None, bias=None):
        kernel = kernels.select("normalization", x)
        y, centre, inverse = kernel.layer_norm(x, weight, bias, self.eps, self.centred)
        self.keep(inputs=(0,) if weight is None else (0, 1), mean=centre, inverse=inverse)
        return y

    def backward(self, dy):
        x, weight = (*self.inputs, None)[:2]
        if self.centred:
            x = x - mean(x, 1, keepdim=True)
        inverse = (mean(x * x, 1, keepdim=True) + self.eps) ** -0.5
        normal = x * inverse
        dx = None
        if self.needs[0]:
            g = dy if weight is None else dy * weight
            dx = g - normal * mean(g * normal, 1, keepdim=True)
            if self.centred:
                dx = dx - mean(g, 1, keepdim=True)
            dx = inverse * dx
        terms = (lambda: sum(dy * normal, 0), lambda: sum(dy, 0))
        return dx, *(term() if need else None for need, term in zip(self.needs[1:], terms))

    def fused_backward(self, dy):
        x, weight = [None if t is None else t._array for t in (*self.inputs, None)[:2]]
        dx, *affine = kernels.select("normalization", x).layer_norm_grad(
            dy, x, self.kept["mean"], self.kept["inverse"], weight, self.centred
        )
        return dx, *(g.astype(x.dtype) for g in affine[: len(self.needs) - 1])

    def flops(self, inputs, output):
        return 8 * math.prod(output)


class RMSNorm(LayerNorm):
    """Divide each row of (M, D) by its root mean square.

    y = weight * n,   n = x / sqrt((1/D) sum of x^2 + eps)

    dweight = sum of dy * n over the rows
    dx = (g - n * sum of (g * n) / D) / sqrt((1/D) sum of x^2 + eps),   g = weight * dy

    Zhang and Sennrich, "Root mean square layer normalization", NeurIPS 2019.
    """

    forward_latex = (
        r"y_{ri} = \gamma_i\, \hat{x}_{ri}, \quad \hat{x}_{ri} = \frac{x_{ri}}{s_r}, \quad "
        r"s_r = \sqrt{\frac{1}{D} \sum_i x_{ri}^2 + \epsilon}"
    )
    backward_latex = {
        "x": r"\frac{\partial L}{\partial x_{ri}} = \frac{1}{s_r} \left("
        r"g_{ri} - \frac{\hat{x}_{ri}}{D} \sum_j g_{rj}\, \hat{x}_{rj}\right)" + _G,
        "weight": _AFFINE["weight"],
    }
    centred = False

    def forward(self, x, weight=None):
        return super().forward(x, weight)

    def flops(self, inputs, output):
        return 5 * math.prod(output)


def layer_norm(input, normalized_shape, weight=None, bias=None, eps: float = 1e-5) -> Tensor:
    """Return `input` normalised over its last dimensions.

    Parameters
    ----------
    input : Tensor
        ``(..., *normalized_shape)``.
    normalized_shape : int or sequence of int
        The lengths of the dimensions over which mean and variance are taken.
    weight, bias : Tensor, optional
        Of `normalized_shape`: the output is scaled and moved by them.

    Raises
    ------
    ShapeError
        If `input` does not end in `normalized_shape`, or weight or bias are not of it.
    """
    check_numbers("layer_norm", eps=eps)
    x, rows, affine = _rows("layer_norm", input, normalized_shape, weight=weight, bias=bias)
    return reshape(LayerNorm(eps)(rows, *affine), x.shape)


def rms_norm(input, normalized_shape, weight=None, eps: float | None = None) -> Tensor:
    """Return `input` divided by its root mean square over the last dimensions.

    Arguments and errors are those of :func:`layer_norm`; `eps` is by default the spacing of
    the dtype at 1.
    """
    x, rows, affine = _rows("rms_norm", input, normalized_shape, weight=weight)
    eps = float(np.finfo(x.dtype).eps) if eps is None else eps
    check_numbers("rms_norm", eps=eps)
    return reshape(RMSNorm(eps)(rows, *affine), x.shape)


def _rows(function, input, normalized_shape, **affine):
    """Return the input, it as (M, D), and weight and bias, as far as given, as (D,)."""
    x = as_tensor(input)
    affine = {name: None if t is None else as_tensor(t) for name, t in affine.items()}
    check_same_dtype(function, input=x, **affine)
    shape = normalized_shape
    shape = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    if not shape or x.shape[-len(shape) :] != shape:
        raise ShapeError(
            f"{function}: input must end in the dimensions {shape} of normalized_shape, "
            f"got {x.shape}"
        )
    for name, tensor in affine.items():
        if tensor is not None and tensor.shape != shape:
            raise ShapeError(f"{function}: {name} must have shape {shape}, got {tensor.shape}")
    width = math.prod(shape)
    flat = {n: None if t is None else reshape(t, width) for n, t in affine.items()}
    given = affine_inputs(width, x.dtype, flat["weight"], flat.get("bias"))
    return x, reshape(x, (math.prod(x.shape[: -len(shape)]), width)), given
