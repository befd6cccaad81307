"""U-Net: a network that scores every pixel.

Ronneberger et al., "U-Net: convolutional networks for biomedical image segmentation", MICCAI
2015; here with batch normalisation, and with zero padding, so that the scores have the size
of the image.
"""

from __future__ import annotations

from nnmed import functional as F
from nnmed import nn
from nnmed.errors import ShapeError, UsageError
from nnmed.models.double_conv import DoubleConv
from nnmed.ops.shape import concatenate


class Up(nn.Module):
    """Double the size, join with the skipped map, and convolve.

    The transposed convolution makes up to one row and column too few where pooling dropped an
    odd one: zeros stand in for them.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.up = nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2)
        self.conv = DoubleConv(2 * out_channels, out_channels)

    def forward(self, x, skipped):
        x = self.up(x)
        below, right = (s - n for s, n in zip(skipped.shape[2:], x.shape[2:]))
        if below or right:
            x = F.pad(x, (0, right, 0, below))
        return self.conv(concatenate([skipped, x], 1))


class UNet(nn.Module):
    """A path down, a path up, and skips between them; every pixel gets its class scores.

    On the way down each level halves height and width and doubles the channels; on the way
    up each level undoes that and sees the map of its own size again. ::

        encoder[0]  base_channels at H ------------------> decoder[3] -> head
           encoder[1]  2 * base_channels at H/2 -----> decoder[2]
              encoder[2]  4 * base_channels at H/4 -> decoder[1]
                 encoder[3]  8 * ... at H/8 ------> decoder[0]
                    bottleneck  16 * ... at H/16

    Parameters
    ----------
    in_channels, num_classes : int
    base_channels : int
        Channels of the first level; the paper has 64.
    levels : int
        How often the size is halved.

    Shape
    -----
    ``(N, in_channels, H, W)`` to ``(N, num_classes, H, W)`` class scores (logits) of each
    pixel. Height and width are at least ``2**levels``, and best a multiple of that: what
    pooling drops at an odd size comes back as zeros.

    Raises
    ------
    UsageError
        If `base_channels` or `levels` is less than 1.
    """

    def __init__(
        self, in_channels: int, num_classes: int, base_channels: int = 64, levels: int = 4
    ):
        super().__init__()
        if base_channels < 1 or levels < 1:
            raise UsageError(
                f"UNet: base_channels and levels must be at least 1, got {base_channels}, {levels}"
            )
        widths = [base_channels * 2**level for level in range(levels + 1)]
        self.encoder = nn.ModuleList(
            DoubleConv(before, width) for before, width in zip([in_channels, *widths], widths[:-1])
        )
        self.bottleneck = DoubleConv(widths[-2], widths[-1])
        self.decoder = nn.ModuleList(Up(2 * width, width) for width in reversed(widths[:-1]))
        self.head = nn.Conv2d(base_channels, num_classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module is not self.head:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def features(self, x):
        """Return the last feature map, ``(N, base_channels, H, W)``.

        Raises
        ------
        ShapeError
            If the image is smaller than ``2**levels``.
        """
        least = 2 ** len(self.encoder)
        if min(x.shape[-2:]) < least:
            raise ShapeError(
                f"UNet: {len(self.encoder)} levels need images of {least} x {least} pixels or "
                f"more, got x {x.shape}"
            )
        skipped = []
        for level in self.encoder:
            x = level(x)
            skipped.append(x)
            x = F.max_pool2d(x, 2)
        x = self.bottleneck(x)
        for level in self.decoder:
            x = level(x, skipped.pop())
        return x

    def classify(self, features):
        """Return the class scores of each pixel of a feature map."""
        return self.head(features)

    def forward(self, x):
        return self.classify(self.features(x))
