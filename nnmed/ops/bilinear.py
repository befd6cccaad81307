"""The bilinear form of two inputs."""

from __future__ import annotations

import math

from nnmed.autograd import Tensor
from nnmed.errors import ShapeError
from nnmed.ops.arguments import as_tensor, check_same_dtype
from nnmed.ops.linalg import einsum
from nnmed.ops.shape import reshape


def bilinear(input1, input2, weight, bias=None) -> Tensor:
    """Return ``y[o] = sum over i,j of input1[i] * weight[o,i,j] * input2[j] + bias[o]``.

    Parameters
    ----------
    input1 : Tensor, (..., in1_features)
    input2 : Tensor, (..., in2_features)
        All but the last dimension as `input1`.
    weight : Tensor, (out_features, in1_features, in2_features)
    bias : Tensor, (out_features,), optional

    Returns
    -------
    Tensor, (..., out_features)
    """
    a, b, weight = as_tensor(input1), as_tensor(input2), as_tensor(weight)
    bias = None if bias is None else as_tensor(bias)
    check_same_dtype("bilinear", input1=a, input2=b, weight=weight, bias=bias)
    fits = weight.ndim == 3 and a.ndim == b.ndim > 0 and a.shape[:-1] == b.shape[:-1]
    if not fits or (a.shape[-1], b.shape[-1]) != weight.shape[1:]:
        raise ShapeError(
            "bilinear: expected input1 (*, I), input2 (*, J) and weight (O, I, J); "
            f"got {a.shape}, {b.shape} and {weight.shape}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ShapeError(f"bilinear: bias has shape {bias.shape}, expected {weight.shape[:1]}")
    rows = math.prod(a.shape[:-1])
    y = einsum(
        "ni,oij,nj->no", reshape(a, (rows, a.shape[-1])), weight, reshape(b, (rows, b.shape[-1]))
    )
    y = y if bias is None else y + bias
    return reshape(y, (*a.shape[:-1], weight.shape[0]))
