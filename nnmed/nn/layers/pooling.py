"""Pooling layers; arguments and results as in ``nnmed.functional``."""

from __future__ import annotations

from nnmed import functional as F
from nnmed.nn.module import Module


class _Pool(Module):
    """What pooling layers share; a subclass says its `_function` and what repr `_shows`."""

    _function = None
    _shows: tuple = ()

    def extra_repr(self):
        """Return the arguments."""
        return ", ".join(f"{name}={getattr(self, name)}" for name in self._shows)


class _MaxPool(_Pool):
    _shows = "kernel_size", "stride", "padding", "dilation", "ceil_mode"

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
        """Map (N, C, ...), or without N, to the maxima, and their positions if wanted."""
        return self._function(
            input, self.kernel_size, self.stride, self.padding, self.dilation,
            ceil_mode=self.ceil_mode, return_indices=self.return_indices,
        )  # fmt: skip


class MaxPool1d(_MaxPool):
    """The largest value in each window of a signal (N, C, L); see :class:`MaxPool2d`."""

    _function = staticmethod(F.max_pool1d)


class MaxPool2d(_MaxPool):
    """The largest value in each window of an image (N, C, H, W).

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

    _function = staticmethod(F.max_pool2d)


class MaxPool3d(_MaxPool):
    """The largest value in each window of a volume (N, C, D, H, W); see :class:`MaxPool2d`."""

    _function = staticmethod(F.max_pool3d)


class AvgPool1d(_Pool):
    """The mean of each window of a signal (N, C, L).

    Parameters are those of :class:`AvgPool2d` with one axis, without `divisor_override`.
    """

    _shows = "kernel_size", "stride", "padding"

    def __init__(
        self,
        kernel_size,
        stride=None,
        padding=0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ):
        super().__init__()
        self.kernel_size, self.padding = kernel_size, padding
        self.stride = kernel_size if stride is None else stride
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def forward(self, input):
        """Map (N, C, L), or without N, to (N, C, L')."""
        return F.avg_pool1d(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode,
            self.count_include_pad,
        )  # fmt: skip


class _AvgPool(_Pool):
    _shows = "kernel_size", "stride", "padding"

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
        """Map (N, C, ...), or without N, to the means."""
        return self._function(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode,
            self.count_include_pad, self.divisor_override,
        )  # fmt: skip


class AvgPool2d(_AvgPool):
    """The mean of each window of an image (N, C, H, W).

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

    _function = staticmethod(F.avg_pool2d)


class AvgPool3d(_AvgPool):
    """The mean of each window of a volume (N, C, D, H, W); see :class:`AvgPool2d`."""

    _function = staticmethod(F.avg_pool3d)


class _LPPool(_Pool):
    _shows = "norm_type", "kernel_size", "stride", "ceil_mode"

    def __init__(self, norm_type: float, kernel_size, stride=None, ceil_mode: bool = False):
        super().__init__()
        self.norm_type, self.kernel_size = norm_type, kernel_size
        self.stride, self.ceil_mode = stride, ceil_mode

    def forward(self, input):
        """Map (N, C, ...), or without N, to the roots of the sums of powers."""
        return self._function(input, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)


class LPPool1d(_LPPool):
    """The root of the sum of powers in each window of a signal; see :class:`LPPool2d`."""

    _function = staticmethod(F.lp_pool1d)


class LPPool2d(_LPPool):
    """The root of the sum of powers in each window of an image (N, C, H, W).

    Parameters
    ----------
    norm_type : float
        The power; infinity takes the maximum of the absolute values.
    kernel_size : int or pair of int
    stride : int or pair of int, optional
        `kernel_size` unless given.
    ceil_mode : bool
        Round the output size up, so that a last, cut off window counts.
    """

    _function = staticmethod(F.lp_pool2d)


class LPPool3d(_LPPool):
    """The root of the sum of powers in each window of a volume; see :class:`LPPool2d`."""

    _function = staticmethod(F.lp_pool3d)


class _MaxUnpool(_Pool):
    _shows = "kernel_size", "stride", "padding"

    def __init__(self, kernel_size, stride=None, padding=0):
        super().__init__()
        self.kernel_size, self.padding = kernel_size, padding
        self.stride = kernel_size if stride is None else stride

    def forward(self, input, indices, output_size=None):
        """Map maxima (N, C, ...), or without N, and their positions to what was pooled."""
        windows = self.kernel_size, self.stride, self.padding
        return self._function(input, indices, *windows, output_size)


class MaxUnpool1d(_MaxUnpool):
    """Puts the maxima of a signal back; see :class:`MaxUnpool2d`."""

    _function = staticmethod(F.max_unpool1d)


class MaxUnpool2d(_MaxUnpool):
    """Puts the maxima of an image (N, C, H, W) back where they were, zeros elsewhere.

    Parameters
    ----------
    kernel_size : int or pair of int
    stride : int or pair of int, optional
        `kernel_size` unless given.
    padding : int or pair of int
        Those of the pooling. `forward` takes the size of what was pooled as `output_size`.
    """

    _function = staticmethod(F.max_unpool2d)


class MaxUnpool3d(_MaxUnpool):
    """Puts the maxima of a volume back; see :class:`MaxUnpool2d`."""

    _function = staticmethod(F.max_unpool3d)


class _AdaptiveAvgPool(_Pool):
    _shows = ("output_size",)

    def __init__(self, output_size):
        super().__init__()
        self.output_size = output_size

    def forward(self, input):
        """Map (N, C, ...), or without N, to the means."""
        return self._function(input, self.output_size)


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """The mean of each of L' windows that cover the signal; see :class:`AdaptiveAvgPool2d`."""

    _function = staticmethod(F.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """The mean of each of H' by W' windows that cover the image.

    Parameters
    ----------
    output_size : int, or pair of (int or None)
        (H', W'); None for that of the input.
    """

    _function = staticmethod(F.adaptive_avg_pool2d)


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """The mean of each of D' by H' by W' windows; see :class:`AdaptiveAvgPool2d`."""

    _function = staticmethod(F.adaptive_avg_pool3d)


class _AdaptiveMaxPool(_Pool):
    _shows = ("output_size",)

    def __init__(self, output_size, return_indices: bool = False):
        super().__init__()
        self.output_size, self.return_indices = output_size, return_indices

    def forward(self, input):
        """Map (N, C, ...), or without N, to the maxima, and their positions if wanted."""
        return self._function(input, self.output_size, self.return_indices)


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """The maximum of each of L' windows that cover the signal; see :class:`AdaptiveMaxPool2d`."""

    _function = staticmethod(F.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """The largest value in each of H' by W' windows that cover the image.

    Parameters
    ----------
    output_size : int, or pair of (int or None)
        (H', W'); None for that of the input.
    return_indices : bool
        Return (values, positions in the flattened image) instead of the values.
    """

    _function = staticmethod(F.adaptive_max_pool2d)


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """The maximum of each of D' by H' by W' windows; see :class:`AdaptiveMaxPool2d`."""

    _function = staticmethod(F.adaptive_max_pool3d)
