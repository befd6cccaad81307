"""Layers that change shapes: Flatten, Upsample, ZeroPad2d."""

from __future__ import annotations

from nnmed import functional as F
from nnmed.errors import UsageError
from nnmed.nn.module import Module
from nnmed.ops.shape import flatten


class Flatten(Module):
    """Joins the dimensions from `start_dim` to `end_dim` into one."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input):
        """Return `input` with fewer dimensions."""
        return flatten(input, self.start_dim, self.end_dim)

    def extra_repr(self):
        """Return the arguments."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Upsample(Module):
    """Resizes images to a size or by a factor.

    Parameters
    ----------
    size : int or pair of int, optional
    scale_factor : float or pair of float, optional
        Instead of `size`.
    mode : "nearest" or "bilinear"
    align_corners : bool, optional
        Bilinear: whether the corner pixels' centres keep their places.
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
        if isinstance(scale_factor, (tuple, list)):
            scale_factor = tuple(float(factor) for factor in scale_factor)
        elif scale_factor is not None:
            scale_factor = float(scale_factor)
        self.size, self.scale_factor = size, scale_factor
        self.mode, self.align_corners = mode, align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input):
        """Map (N, C, H, W) to (N, C, H', W')."""
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
        how = f"{name}={getattr(self, name)}"
        return f"{how}, mode={self.mode!r}"


class ZeroPad2d(Module):
    """Adds zeros around images.

    Parameters
    ----------
    padding : int or (left, right, top, bottom)
        Negative numbers crop.
    """

    def __init__(self, padding):
        super().__init__()
        self.padding = (padding,) * 4 if isinstance(padding, int) else tuple(padding)
        if len(self.padding) != 4:
            raise UsageError(
                f"ZeroPad2d: padding is a number or (left, right, top, bottom), got {padding}"
            )

    def forward(self, input):
        """Map (..., H, W) to (..., H', W')."""
        return F.pad(input, self.padding)

    def extra_repr(self):
        """Return the arguments."""
        return f"{self.padding}"
