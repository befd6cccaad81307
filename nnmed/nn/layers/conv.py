"""Conv2d and ConvTranspose2d."""

from __future__ import annotations

import numpy as np

from nnmed import functional as F
from nnmed.errors import ShapeError, UsageError
from nnmed.nn.layers.linear import check_sizes, reset_weight_and_bias
from nnmed.nn.module import Module
from nnmed.nn.parameter import Parameter
from nnmed.ops.arguments import pair


class _Conv2d(Module):
    """What the two convolutions share."""

    _transposed: bool

    def __init__(
        self, in_channels, out_channels, kernel_size, stride, padding, dilation, output_padding,
        groups, bias,
    ):  # fmt: skip
        super().__init__()
        name = type(self).__name__
        check_sizes(name, in_channels=in_channels, out_channels=out_channels, groups=groups)
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise UsageError(
                f"{name}: groups={groups} must divide in_channels={in_channels} and "
                f"out_channels={out_channels}"
            )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = pair(kernel_size, f"{name}: kernel_size")
        self.stride = pair(stride, f"{name}: stride")
        self.padding = padding if isinstance(padding, str) else pair(padding, f"{name}: padding")
        self.dilation = pair(dilation, f"{name}: dilation")
        self.output_padding = pair(output_padding, f"{name}: output_padding")
        channels = (in_channels, out_channels) if self._transposed else (out_channels, in_channels)
        shape = (channels[0], channels[1] // groups, *self.kernel_size)
        self.weight = Parameter(np.zeros(shape, np.float32))
        self.register_parameter(
            "bias", Parameter(np.zeros(out_channels, np.float32)) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        reset_weight_and_bias(self)

    def extra_repr(self):
        """Return the arguments."""
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"]
        parts.append(f"stride={self.stride}")
        for name, default in (
            ("padding", (0, 0)), ("dilation", (1, 1)), ("output_padding", (0, 0)), ("groups", 1),
        ):  # fmt: skip
            if getattr(self, name) != default:
                parts.append(f"{name}={getattr(self, name)}")
        if self.bias is None:
            parts.append("bias=False")
        return ", ".join(parts)


class Conv2d(_Conv2d):
    """Cross-correlation of images with learnt kernels.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride : int or pair of int
    padding : int, pair of int, "same" or "valid"
        Zeros on each side; "same" keeps the size and needs stride 1.
    dilation : int or pair of int
    groups : int
        Divides the channels into so many independent convolutions.
    bias : bool

    Attributes
    ----------
    weight : Parameter, (out_channels, in_channels / groups, height, width)
        Drawn evenly from ±1 / sqrt(fan_in).
    bias : Parameter, (out_channels,), or None
        Drawn likewise.
    """

    _transposed = False

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
    ):
        if isinstance(padding, str) and padding not in ("same", "valid"):
            raise UsageError(f"Conv2d: padding is a number, 'same' or 'valid', got {padding!r}")
        if padding == "same" and pair(stride, "Conv2d: stride") != (1, 1):
            raise UsageError(f"Conv2d: padding='same' needs stride 1, got {stride}")
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, 0, groups, bias
        )

    def forward(self, input):
        """Map (N, in_channels, H, W), or without N, to (N, out_channels, H', W')."""
        return F.conv2d(
            input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )


class ConvTranspose2d(_Conv2d):
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

    Attributes
    ----------
    weight : Parameter, (in_channels, out_channels / groups, height, width)
        Drawn evenly from ±1 / sqrt(fan_in), with fan_in from out_channels as in PyTorch.
    bias : Parameter, (out_channels,), or None
        Drawn likewise.
    """

    _transposed = True

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
    ):
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, output_padding,
            groups, bias,
        )  # fmt: skip

    def forward(self, input, output_size=None):
        """Map (N, in_channels, H, W), or without N, to (N, out_channels, H', W').

        `output_size`, the wanted (H', W'), takes the place of `output_padding`.
        """
        output_padding = self.output_padding
        if output_size is not None:
            output_padding = self._output_padding_for(input.shape[-2:], output_size)
        return F.conv_transpose2d(
            input, self.weight, self.bias, self.stride, self.padding, output_padding,
            self.groups, self.dilation,
        )  # fmt: skip

    def _output_padding_for(self, size, output_size):
        wanted = tuple(output_size)[-2:]
        smallest = [
            (n - 1) * s - 2 * p + d * (k - 1) + 1
            for n, s, p, d, k in zip(
                size, self.stride, self.padding, self.dilation, self.kernel_size
            )
        ]
        rest = tuple(w - n for w, n in zip(wanted, smallest))
        if len(wanted) != 2 or any(not 0 <= r < s for r, s in zip(rest, self.stride)):
            largest = [n + s - 1 for n, s in zip(smallest, self.stride)]
            raise ShapeError(
                f"ConvTranspose2d: output_size {tuple(output_size)} cannot be reached from "
                f"{tuple(size)}: it lies between {tuple(smallest)} and {tuple(largest)}"
            )
        return rest
