"""Pooling layers; arguments and results as in ``nnmed.functional``."""

from __future__ import annotations

from nnmed import functional as F
from nnmed.nn.module import Module


class MaxPool2d(Module):
    """The largest value in each window.

    Parameters
    ----------
    kernel_size : int or pair of int
    stride : int or pair of int, optional
        `kernel_size` unless given.
    padding : int or pair of int
        Minus infinity on each side.
    dilation : int or pair of int
    return_indices : bool
        Return (values, positions in the flattened image) instead of the values.
    ceil_mode : bool
        Round the output size up, so that a last, cut off window counts.
    """

    def __init__(
        self,
        kernel_size,
        stride=None,
        padding=0,
        dilation=1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ):
        super().__init__()
        self.kernel_size, self.padding, self.dilation = kernel_size, padding, dilation
        self.stride = kernel_size if stride is None else stride
        self.return_indices, self.ceil_mode = return_indices, ceil_mode

    def forward(self, input):
        """Map (N, C, H, W), or without N, to (N, C, H', W')."""
        return F.max_pool2d(
            input, self.kernel_size, self.stride, self.padding, self.dilation,
            ceil_mode=self.ceil_mode, return_indices=self.return_indices,
        )  # fmt: skip

    def extra_repr(self):
        """Return the arguments."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class AvgPool2d(Module):
    """The mean of each window.

    Parameters
    ----------
    kernel_size : int or pair of int
    stride : int or pair of int, optional
        `kernel_size` unless given.
    padding : int or pair of int
        Zeros on each side.
    ceil_mode : bool
        Round the output size up, so that a last, cut off window counts.
    count_include_pad : bool
        Whether padding counts in the mean.
    divisor_override : int, optional
        Divides the sum instead of the size of the window.
    """

    def __init__(
        self,
        kernel_size,
        stride=None,
        padding=0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ):
        super().__init__()
        self.kernel_size, self.padding = kernel_size, padding
        self.stride = kernel_size if stride is None else stride
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input):
        """Map (N, C, H, W), or without N, to (N, C, H', W')."""
        return F.avg_pool2d(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode,
            self.count_include_pad, self.divisor_override,
        )  # fmt: skip

    def extra_repr(self):
        """Return the arguments."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _AdaptivePool2d(Module):
    def __init__(self, output_size):
        super().__init__()
        self.output_size = output_size

    def extra_repr(self):
        """Return the arguments."""
        return f"output_size={self.output_size}"


class AdaptiveAvgPool2d(_AdaptivePool2d):
    """The mean of each of H' by W' windows that cover the image.

    Parameters
    ----------
    output_size : int, or pair of (int or None)
        (H', W'); None for that of the input.
    """

    def forward(self, input):
        """Map (N, C, H, W), or without N, to (N, C, H', W')."""
        return F.adaptive_avg_pool2d(input, self.output_size)


class AdaptiveMaxPool2d(_AdaptivePool2d):
    """The largest value in each of H' by W' windows that cover the image.

    Parameters
    ----------
    output_size : int, or pair of (int or None)
        (H', W'); None for that of the input.
    return_indices : bool
        Return (values, positions in the flattened image) instead of the values.
    """

    def __init__(self, output_size, return_indices: bool = False):
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, input):
        """Map (N, C, H, W), or without N, to (N, C, H', W')."""
        return F.adaptive_max_pool2d(input, self.output_size, self.return_indices)
