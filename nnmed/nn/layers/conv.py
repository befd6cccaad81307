"""Convolutions and transposed convolutions of signals, pictures and volumes."""

from __future__ import annotations

import numpy as np

from nnmed import functional as F
from nnmed.errors import ShapeError, UsageError
from nnmed.nn.layers.linear import check_sizes, reset_weight_and_bias
from nnmed.nn.module import Module
from nnmed.nn.parameter import Parameter
from nnmed.ops.arguments import check_positive, per_axis

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _Convolution(Module):
    """What all convolutions share; a subclass says its `_dims` and its `_function`."""

    _dims: int
    _function = None

    def __init__(
        self, in_channels, out_channels, kernel_size, stride, padding, dilation, output_padding,
        groups, bias, padding_mode,
    ):  # fmt: skip
        super().__init__()
        name = type(self).__name__
        check_sizes(name, in_channels=in_channels, out_channels=out_channels, groups=groups)
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise UsageError(
                f"{name}: groups={groups} must divide in_channels={in_channels} and "
                f"out_channels={out_channels}"
            )
        if padding_mode not in _PADDING_MODES:
            raise UsageError(
                f"{name}: padding_mode is one of {', '.join(_PADDING_MODES)}, got {padding_mode!r}"
            )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = self._per_axis(kernel_size, "kernel_size")
        check_positive(name, kernel_size=self.kernel_size)
        self.stride = self._per_axis(stride, "stride")
        self.padding = (
            padding if isinstance(padding, str) else self._per_axis(padding, "padding")
        )  # fmt: skip
        self.dilation = self._per_axis(dilation, "dilation")
        self.output_padding = self._per_axis(output_padding, "output_padding")
        self.padding_mode = padding_mode
        shape = (*self._weight_channels(), *self.kernel_size)
        self.weight = Parameter(np.zeros(shape, np.float32))
        self.register_parameter(
            "bias", Parameter(np.zeros(out_channels, np.float32)) if bias else None
        )
        self.reset_parameters()

    def _per_axis(self, value, what: str):
        return per_axis(value, self._dims, f"{type(self).__name__}: {what}")

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        reset_weight_and_bias(self)

    def extra_repr(self):
        """Return the arguments."""
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"]
        parts.append(f"stride={self.stride}")
        none, one = (0,) * self._dims, (1,) * self._dims
        for name, default in (
            ("padding", none), ("dilation", one), ("output_padding", none), ("groups", 1),
        ):  # fmt: skip
            if getattr(self, name) != default:
                parts.append(f"{name}={getattr(self, name)}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)


class _Conv(_Convolution):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size,
        stride=1,
        padding=0,
        dilation=1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
    ):
        name = type(self).__name__
        if isinstance(padding, str) and padding not in ("same", "valid"):
            raise UsageError(f"{name}: padding is a number, 'same' or 'valid', got {padding!r}")
        if padding == "same" and max(self._per_axis(stride, "stride")) > 1:
            raise UsageError(f"{name}: padding='same' needs stride 1, got {stride}")
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, 0, groups, bias,
            padding_mode,
        )  # fmt: skip

    def _weight_channels(self):
        return self.out_channels, self.in_channels // self.groups

    def forward(self, input):
        """Map (N, in_channels, ...), or without N, to (N, out_channels, ...)."""
        padding = self.padding
        if self.padding_mode != "zeros":
            input, padding = F.pad(input, self._ends(), self.padding_mode), 0
        return self._function(
            input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        )

    def _ends(self):
        """Return how much to pad before and after each axis, the last axis first."""
        if self.padding == "valid":
            return (0, 0) * self._dims
        if self.padding == "same":
            missing = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size)]
            ends = [(m // 2, m - m // 2) for m in missing]
        else:
            ends = [(p, p) for p in self.padding]
        return tuple(number for pair in ends[::-1] for number in pair)


class Conv1d(_Conv):
    """Cross-correlation of signals (N, C, L) with learnt kernels.

    Parameters, and the attributes `weight` (out_channels, in_channels / groups, length) and
    `bias`, are those of :class:`Conv2d` with one axis.
    """

    _dims = 1
    _function = staticmethod(F.conv1d)


class Conv2d(_Conv):
    """Cross-correlation of images (N, C, H, W) with learnt kernels.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride : int or pair of int
    padding : int, pair of int, "same" or "valid"
        Pixels on each side; "same" keeps the size and needs stride 1.
    dilation : int or pair of int
    groups : int
        Divides the channels into so many independent convolutions.
    bias : bool
    padding_mode : "zeros", "reflect", "replicate" or "circular"
        What the padding is: zeros, or pixels of the image, as in :func:`functional.pad`.

    Attributes
    ----------
    weight : Parameter, (out_channels, in_channels / groups, height, width)
        Drawn evenly from ±1 / sqrt(fan_in).
    bias : Parameter, (out_channels,), or None
        Drawn likewise.
    """

    _dims = 2
    _function = staticmethod(F.conv2d)


class Conv3d(_Conv):
    """Cross-correlation of volumes (N, C, D, H, W) with learnt kernels.

    Parameters, and the attributes `weight` (out_channels, in_channels / groups, depth, height,
    width) and `bias`, are those of :class:`Conv2d` with three axes.
    """

    _dims = 3
    _function = staticmethod(F.conv3d)


class _ConvTranspose(_Convolution):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size,
        stride=1,
        padding=0,
        output_padding=0,
        groups: int = 1,
        bias: bool = True,
        dilation=1,
        padding_mode: str = "zeros",
    ):
        if padding_mode != "zeros":
            raise UsageError(
                f"{type(self).__name__}: padding_mode is 'zeros' for a transposed convolution, "
                f"got {padding_mode!r}"
            )
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, output_padding,
            groups, bias, padding_mode,
        )  # fmt: skip

    def _weight_channels(self):
        return self.in_channels, self.out_channels // self.groups

    def forward(self, input, output_size=None):
        """Map (N, in_channels, ...), or without N, to (N, out_channels, ...).

        `output_size`, the wanted size (H', W' for images), takes the place of
        `output_padding`.
        """
        output_padding = self.output_padding
        if output_size is not None:
            output_padding = self._output_padding_for(input.shape[-self._dims :], output_size)
        return self._function(
            input, self.weight, self.bias, self.stride, self.padding, output_padding,
            self.groups, self.dilation,
        )  # fmt: skip

    def _output_padding_for(self, size, output_size):
        wanted = tuple(output_size)[-self._dims :]
        smallest = [
            (n - 1) * s - 2 * p + d * (k - 1) + 1
            for n, s, p, d, k in zip(
                size, self.stride, self.padding, self.dilation, self.kernel_size
            )
        ]
        rest = tuple(w - n for w, n in zip(wanted, smallest))
        if len(wanted) != self._dims or any(not 0 <= r < s for r, s in zip(rest, self.stride)):
            largest = [n + s - 1 for n, s in zip(smallest, self.stride)]
            raise ShapeError(
                f"{type(self).__name__}: output_size {tuple(output_size)} cannot be reached from "
                f"{tuple(size)}: it lies between {tuple(smallest)} and {tuple(largest)}"
            )
        return rest


class ConvTranspose1d(_ConvTranspose):
    """The gradient of a convolution of signals by its input, as a layer.

    Parameters, and the attributes `weight` (in_channels, out_channels / groups, length) and
    `bias`, are those of :class:`ConvTranspose2d` with one axis.
    """

    _dims = 1
    _function = staticmethod(F.conv_transpose1d)


class ConvTranspose2d(_ConvTranspose):
    """The gradient of a convolution by its input, as a layer: enlarges by `stride`.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride : int or pair of int
    padding : int or pair of int
        Rows and columns taken away on each side of the output.
    output_padding : int or pair of int
        Added to one side of the output's size, below stride or dilation.
    groups : int
    bias : bool
    dilation : int or pair of int
    padding_mode : "zeros"

    Attributes
    ----------
    weight : Parameter, (in_channels, out_channels / groups, height, width)
        Drawn evenly from ±1 / sqrt(fan_in), with fan_in from out_channels as in PyTorch.
    bias : Parameter, (out_channels,), or None
        Drawn likewise.
    """

    _dims = 2
    _function = staticmethod(F.conv_transpose2d)


class ConvTranspose3d(_ConvTranspose):
    """The gradient of a convolution of volumes by its input, as a layer.

    Parameters, and the attributes `weight` (in_channels, out_channels / groups, depth, height,
    width) and `bias`, are those of :class:`ConvTranspose2d` with three axes.
    """

    _dims = 3
    _function = staticmethod(F.conv_transpose3d)
