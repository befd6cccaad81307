"""Layers that resize signals, pictures and volumes."""

from __future__ import annotations

from nnmed import functional as F
from nnmed.nn.module import Module
from nnmed.ops.arguments import check_numbers


class Upsample(Module):
    """Resizes to a size or by a factor, as ``nnmed.functional.interpolate`` does.

    Parameters
    ----------
    size : int or sequence of int, optional
    scale_factor : float or sequence of float, optional
        Instead of `size`.
    mode : str
        "nearest", "nearest-exact" or "area"; "linear" for signals, "bilinear" or "bicubic" for
        pictures, "trilinear" for volumes.
    align_corners : bool, optional
        With the linear and cubic modes: whether the corner pixels' centres keep their places.
    recompute_scale_factor : bool, optional
        Compute positions from the lengths, not from `scale_factor`.
    """

    def __init__(
        self,
        size=None,
        scale_factor=None,
        mode: str = "nearest",
        align_corners=None,
        recompute_scale_factor=None,
    ):
        super().__init__()
        if scale_factor is not None:
            several = isinstance(scale_factor, (tuple, list))
            for factor in scale_factor if several else [scale_factor]:
                check_numbers(type(self).__name__, scale_factor=factor)
            scale_factor = tuple(map(float, scale_factor)) if several else float(scale_factor)
        self.size, self.scale_factor = size, scale_factor
        self.mode, self.align_corners = mode, align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input):
        """Map (N, C, H, W) to (N, C, H', W'), signals and volumes likewise."""
        return F.interpolate(
            input,
            size=self.size,
            scale_factor=self.scale_factor,
            mode=self.mode,
            align_corners=self.align_corners,
            recompute_scale_factor=self.recompute_scale_factor,
        )

    def extra_repr(self):
        """Return the arguments."""
        name = "size" if self.scale_factor is None else "scale_factor"
        return f"{name}={getattr(self, name)}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """Resizes pictures by taking the nearest pixel.

    Parameters
    ----------
    size : int or pair of int, optional
    scale_factor : float or pair of float, optional
        Instead of `size`.
    """

    def __init__(self, size=None, scale_factor=None):
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """Resizes pictures bilinearly; the corner pixels' centres keep their places.

    Parameters
    ----------
    size : int or pair of int, optional
    scale_factor : float or pair of float, optional
        Instead of `size`.
    """

    def __init__(self, size=None, scale_factor=None):
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)
