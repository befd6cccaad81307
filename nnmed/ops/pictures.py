"""What functions of pictures share: batched or not, they compute on (N, C, H, W).

Signals and volumes likewise, on (N, C, L) and (N, C, D, H, W).
"""

from __future__ import annotations

from collections.abc import Callable

from nnmed.autograd import Tensor
from nnmed.errors import ShapeError
from nnmed.ops.arguments import as_tensor, check_same_dtype
from nnmed.ops.shape import reshape

_AXES = {1: "C, L", 2: "C, H, W", 3: "C, D, H, W"}


def pictures(name: str, input, dims: int = 2) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Return `input` with N and C before its `dims` axes, and what undoes that for a result.

    Raises
    ------
    ShapeError
        If `input` has other dimensions, or one besides N is empty.
    """
    x = as_tensor(input)
    check_same_dtype(name, input=x)
    if x.ndim not in (dims + 1, dims + 2) or 0 in x.shape[-dims - 1 :]:
        axes = _AXES[dims]
        raise ShapeError(
            f"{name}: input must be (N, {axes}) or ({axes}), none but N empty, got {x.shape}"
        )
    if x.ndim == dims + 2:
        return x, lambda y: y
    return reshape(x, (1, *x.shape)), lambda y: reshape(y, y.shape[1:])
