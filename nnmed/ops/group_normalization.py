"""Group normalisation, after Wu and He, "Group normalization" (ECCV 2018), and instance norm.

Instance normalisation (Ulyanov et al., "Instance normalization", 2016) is group normalisation
with one channel a group; there is no op of its own.
"""

from __future__ import annotations

import math

import numpy as np

from nnmed import kernels
from nnmed.autograd import Op, Tensor
from nnmed.errors import ShapeError
from nnmed.ops.arguments import as_tensor, check_numbers, check_positive, check_same_dtype
from nnmed.ops.normalization import (
    AFFINE,
    AFFINE_GRADIENTS,
    DX,
    DY,
    affine_gradients,
    affine_inputs,
    affine_notation,
    batch_norm,
    check_buffers,
    check_lengths,
    four_dimensions,
    update_running,
)
from nnmed.ops.reduction import mean
from nnmed.ops.shape import reshape

# Over the channels and places of the group G of channel c.
_SUM = r"\sum_{k,j:\,G_k=G_c} "
_ROOT = r"\sqrt{\sigma_{nc}^2 + \epsilon}"


class GroupNorm(Op):
    """Normalise each group of channels of each image by its own mean and variance.

    y = weight * n + bias,   n = (x - mu) / sqrt(var + eps),
    mu = (1/m) sum of x,     var = (1/m) sum of (x - mu)^2      over the m values of a group

    dbias = sum of dy,   dweight = sum of dy * n                over images and places
    dx = (g - sum of g / m - n * sum of (g * n) / m) / sqrt(var + eps),   g = weight * dy

    Weight and bias belong to the channel c, the statistics to its group G_c.
    """

    forward_latex = (
        AFFINE + r"\frac{x_{nci} - \mu_{nc}}{" + _ROOT + r"}, \quad "
        r"\mu_{nc} = \frac{1}{m} " + _SUM + r"x_{nkj}, \quad "
        r"\sigma_{nc}^2 = \frac{1}{m} " + _SUM + r"(x_{nkj} - \mu_{nc})^2"
    )
    backward_latex = {
        "x": DX + r"\frac{1}{" + _ROOT + r"} \left(g_{nci} - \frac{1}{m} " + _SUM + r"g_{nkj} - "
        r"\frac{\hat{x}_{nci}}{m} " + _SUM + r"g_{nkj}\, \hat{x}_{nkj}\right), "
        r"\quad g_{nci} = \gamma_c\, " + DY,
        **AFFINE_GRADIENTS,
    }

    def __init__(self, groups: int, eps: float):
        self.groups, self.eps = groups, eps
        self.moments = None

    def notation(self):
        _, channels, *places = self.input_shapes[0]
        members = channels // self.groups
        groups = np.arange(channels) // members
        return affine_notation(self, {"m": members * math.prod(places), "G": groups})

    def forward(self, x, weight=None, bias=None):
        kernel = kernels.select("normalization", x)
        self.moments = kernel.group_moments(x, self.groups)
        self.keep(
            inputs=(0,) if weight is None else (0, 1), mean=self.moments[0], var=self.moments[1]
        )
        return kernel.group_norm(x, *self.moments, weight, bias, self.eps)

    def backward(self, dy):
        x, weight = (*self.inputs, None)[:2]
        grouped, inside = self._grouped(x), (2, 3, 4)
        centred = grouped - mean(grouped, inside, keepdim=True)
        inverse = (mean(centred * centred, inside, keepdim=True) + self.eps) ** -0.5
        normal = centred * inverse
        dx = None
        if self.needs[0]:
            g = self._grouped(dy if weight is None else dy * reshape(weight, 1, -1, 1, 1))
            share = normal * mean(g * normal, inside, keepdim=True)
            dx = reshape(inverse * (g - mean(g, inside, keepdim=True) - share), x.shape)
        return dx, *affine_gradients(self.needs[1:], dy, reshape(normal, x.shape))

    def fused_backward(self, dy):
        x, weight = [None if t is None else t._array for t in (*self.inputs, None)[:2]]
        kernel = kernels.select("normalization", x)
        moments = self.kept["mean"], self.kept["var"]
        dx, *affine = kernel.group_norm_grad(dy, x, *moments, weight, self.eps)
        return dx, *(g.astype(x.dtype) for g in affine[: len(self.needs) - 1])

    def flops(self, inputs, output):
        return 8 * int(np.prod(output, dtype=np.int64))

    def _grouped(self, x):
        """Return `x` (N, C, H, W) as (N, groups, channels of a group, H, W): a view."""
        n, channels, *places = x.shape
        return reshape(x, (n, self.groups, channels // self.groups, *places))


def group_norm(input, num_groups: int, weight=None, bias=None, eps: float = 1e-5) -> Tensor:
    """Return `input` normalised over each of `num_groups` groups of channels of each image.

    Parameters
    ----------
    input : Tensor
        ``(N, C)`` or ``(N, C, ...)``.
    num_groups : int
        Divides C: a group is C / num_groups neighbouring channels.
    weight, bias : Tensor, optional
        ``(C,)``: the output is scaled and moved by them.

    Raises
    ------
    ShapeError
        If C is no multiple of `num_groups`, lengths differ from C, or all that is to be
        normalised is one value a group.
    """
    x, weight, bias = _checked("group_norm", input, weight, bias)
    check_numbers("group_norm", eps=eps)
    check_positive("group_norm", num_groups=[num_groups])
    if x.shape[1] % num_groups:
        raise ShapeError(
            f"group_norm: {x.shape[1]} channels of input {x.shape} cannot be split into "
            f"{num_groups} groups of one size"
        )
    if x.numel() == num_groups:
        raise ShapeError(
            f"group_norm: each of {num_groups} groups of input {x.shape} is a single value, "
            "whose variance is 0: use fewer groups or a larger input"
        )
    affine = affine_inputs(x.shape[1], x.dtype, weight, bias)
    return reshape(GroupNorm(num_groups, eps)(four_dimensions(x), *affine), x.shape)


def instance_norm(
    input,
    running_mean=None,
    running_var=None,
    weight=None,
    bias=None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Return `input` with each channel of each image normalised by its own statistics.

    Parameters
    ----------
    input : Tensor
        ``(N, C, ...)``.
    running_mean, running_var : Tensor or None
        ``(C,)``. Updated in place, if given, as in batch norm, by the mean over the images of
        their statistics. Without `use_input_stats` they are the statistics used.
    weight, bias : Tensor, optional
        ``(C,)``.
    use_input_stats : bool

    Raises
    ------
    ShapeError
        If a channel of an image has only one value, or lengths differ from C.
    UsageError
        If running statistics are missing without `use_input_stats`, or are no Tensors.
    """
    x, weight, bias = _checked("instance_norm", input, weight, bias)
    check_numbers("instance_norm", momentum=momentum, eps=eps)
    buffers = dict(running_mean=running_mean, running_var=running_var)
    needed = "" if use_input_stats else "use_input_stats=False"
    check_buffers("instance_norm", buffers, needed)
    check_lengths("instance_norm", x, buffers)
    if not use_input_stats:
        return batch_norm(x, running_mean, running_var, weight, bias, eps=eps)
    count = int(np.prod(x.shape[2:], dtype=np.int64))
    if count == 1:
        raise ShapeError(
            f"instance_norm: a channel of an image of input {x.shape} is a single value, whose "
            "variance is 0: use a larger input, or use_input_stats=False"
        )
    op = GroupNorm(x.shape[1], eps)
    y = reshape(op(four_dimensions(x), *affine_inputs(x.shape[1], x.dtype, weight, bias)), x.shape)
    if x.numel():
        mean_, var = (statistic.mean(axis=0) for statistic in op.moments)
        update_running(running_mean, mean_, momentum)
        update_running(running_var, var * (count / (count - 1)), momentum)
    return y


def _checked(function, input, weight, bias):
    x = as_tensor(input)
    weight, bias = (None if t is None else as_tensor(t) for t in (weight, bias))
    check_same_dtype(function, input=x, weight=weight, bias=bias)
    least = 3 if function == "instance_norm" else 2
    if x.ndim < least:
        shape = "(N, C, ...)" if least == 3 else "(N, C) or (N, C, ...)"
        raise ShapeError(f"{function}: input must be {shape}, got {x.shape}")
    check_lengths(function, x, dict(weight=weight, bias=bias))
    return x, weight, bias
