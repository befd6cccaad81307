"""How signals and volumes are pooled by the ops of pictures.

A signal is a picture one column wide. The windows of a volume are pooled in its slices,
each a picture, and what comes out then along the depth, where all values of a slice count
as channels of a signal. On channels-last memory both are views.
"""

from __future__ import annotations

from collections.abc import Callable

from nnmed import kernels
from nnmed.autograd import Op, Tensor
from nnmed.ops.shape import permute, reshape


class Along:
    """Picks what belongs to two axes of an op out of a number for each axis of the input.

    Attributes
    ----------
    last : bool
        Whether the op is the last one that the input passes.
    """

    def __init__(self, *axes: int, last: bool = True):
        self.axes, self.last = axes, last

    def __call__(self, values, neutral):
        """Return the values of the two axes, `neutral` for an axis that is not pooled."""
        picked = tuple(values[axis] for axis in self.axes)
        return picked if len(picked) == 2 else (*picked, neutral)


def pool_axes(x: Tensor, op: Callable[[Along], Op]):
    """Pool (N, C, L), (N, C, H, W) or (N, C, D, H, W).

    Returns
    -------
    (Tensor, array or None)
        The result, and the positions in the flattened axes of `x` if the op makes them.
    """
    if x.ndim == 4:
        return _run(op(Along(0, 1)), x)
    if x.ndim == 3:
        y, indices = _run(op(Along(0)), reshape(x, (*x.shape, 1)))
        return reshape(y, y.shape[:3]), None if indices is None else indices[..., 0]
    return _pool_volume(x, op)


def _run(op, x):
    y = op(x)
    indices = getattr(op, "indices", None)
    op.indices = None  # the graph need not hold them
    return y, indices


def _pool_volume(x, op):
    n, c, d, h, w = x.shape
    slices = reshape(permute(x, (0, 2, 1, 3, 4)), (n * d, c, h, w))
    y, places = _run(op(Along(1, 2, last=False)), slices)
    oh, ow = y.shape[2:]
    values = oh * ow * c
    lines = reshape(permute(y, (0, 2, 3, 1)), (n, d, values))
    y, depths = _run(op(Along(0)), reshape(permute(lines, (0, 2, 1)), (n, values, d, 1)))
    od = y.shape[2]
    y = permute(reshape(y, (n, values, od)), (0, 2, 1))
    y = permute(reshape(y, (n, od, oh, ow, c)), (0, 4, 1, 2, 3))
    if depths is None:
        return y, None
    places = places.transpose(0, 2, 3, 1).reshape(n, d, values).transpose(0, 2, 1)[..., None]
    indices = kernels.select("pooling", places).gather_plane(places, depths) + depths * (h * w)
    indices = indices[..., 0].transpose(0, 2, 1).reshape(n, od, oh, ow, c)
    return y, indices.transpose(0, 4, 1, 2, 3)
