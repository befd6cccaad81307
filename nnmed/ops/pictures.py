"""What functions of pictures share: batched or not, they compute on (N, C, H, W)."""

from __future__ import annotations

from collections.abc import Callable

from nnmed.autograd import Tensor
from nnmed.errors import ShapeError
from nnmed.ops.arguments import as_tensor, check_same_dtype
from nnmed.ops.shape import reshape


def pictures(name: str, input) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Return `input` as (N, C, H, W), and what gives a result the dimensions of `input`."""
    x = as_tensor(input)
    check_same_dtype(name, input=x)
    if x.ndim not in (3, 4) or 0 in x.shape[-3:]:
        raise ShapeError(
            f"{name}: input must be (N, C, H, W) or (C, H, W), none but N empty, got {x.shape}"
        )
    if x.ndim == 4:
        return x, lambda y: y
    return reshape(x, (1, *x.shape)), lambda y: reshape(y, y.shape[1:])
