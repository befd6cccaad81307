"""Layers that change shapes: flattening, windows as columns, pixels as channels."""

from __future__ import annotations

import math

from nnmed import functional as F
from nnmed.errors import ShapeError, UsageError
from nnmed.nn.module import Module
from nnmed.ops.arguments import dimension, sequence
from nnmed.ops.shape import flatten, reshape


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


class Unflatten(Module):
    """Splits the dimension `dim` into several.

    Parameters
    ----------
    dim : int
    unflattened_size : sequence of int
        Their lengths; one may be -1 and follows from the others.
    """

    def __init__(self, dim: int, unflattened_size):
        super().__init__()
        unflattened_size = tuple(sequence("Unflatten: unflattened_size", unflattened_size))
        self.dim, self.unflattened_size = dim, unflattened_size
        if not self.unflattened_size or not all(
            isinstance(n, int) for n in (dim, *unflattened_size)
        ):
            raise UsageError(
                f"Unflatten: dim and unflattened_size must be integers, got {dim!r} and "
                f"{unflattened_size!r}"
            )

    def forward(self, input):
        """Return `input` with more dimensions."""
        dim, sizes = dimension(self.dim, input.ndim), self.unflattened_size
        known = math.prod(n for n in sizes if n != -1)
        if sizes.count(-1) == 1 and known > 0:
            sizes = tuple(input.shape[dim] // known if n == -1 else n for n in sizes)
        if min(sizes) < 0 or math.prod(sizes) != input.shape[dim]:
            raise ShapeError(
                f"Unflatten: dimension {self.dim} of {input.shape} cannot be split into "
                f"{self.unflattened_size}"
            )
        return reshape(input, (*input.shape[:dim], *sizes, *input.shape[dim + 1 :]))

    def extra_repr(self):
        """Return the arguments."""
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"


class Unfold(Module):
    """Makes columns of the windows of pictures.

    Parameters
    ----------
    kernel_size : int or pair of int
    dilation : int or pair of int
    padding : int or pair of int
        Zeros on each side.
    stride : int or pair of int
    """

    def __init__(self, kernel_size, dilation=1, padding=0, stride=1):
        super().__init__()
        self.kernel_size, self.dilation = kernel_size, dilation
        self.padding, self.stride = padding, stride

    def forward(self, input):
        """Map (N, C, H, W), or without N, to (N, C * kh * kw, L)."""
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self):
        """Return the arguments."""
        return (
            f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, "
            f"stride={self.stride}"
        )


class Fold(Unfold):
    """Adds windows, given as columns, up to pictures.

    Parameters
    ----------
    output_size : int or pair of int
    kernel_size, dilation, padding, stride : int or pair of int
        As for :class:`Unfold`.
    """

    def __init__(self, output_size, kernel_size, dilation=1, padding=0, stride=1):
        super().__init__(kernel_size, dilation, padding, stride)
        self.output_size = output_size

    def forward(self, input):
        """Map (N, C * kh * kw, L), or without N, to (N, C, H, W)."""
        return F.fold(
            input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride
        )

    def extra_repr(self):
        """Return the arguments."""
        return f"output_size={self.output_size}, {super().extra_repr()}"


class PixelShuffle(Module):
    """Makes r x r pixels of every r*r channels, with r the `upscale_factor`."""

    def __init__(self, upscale_factor: int):
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input):
        """Map (..., C * r * r, H, W) to (..., C, H * r, W * r)."""
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self):
        """Return the arguments."""
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """Makes r*r channels of every r x r pixels, with r the `downscale_factor`."""

    def __init__(self, downscale_factor: int):
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input):
        """Map (..., C, H * r, W * r) to (..., C * r * r, H, W)."""
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self):
        """Return the arguments."""
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(Module):
    """Deals the channels out: one of each of `groups` groups in turn."""

    def __init__(self, groups: int):
        super().__init__()
        self.groups = groups

    def forward(self, input):
        """Map (N, C, ...) to (N, C, ...)."""
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self):
        """Return the arguments."""
        return f"groups={self.groups}"
