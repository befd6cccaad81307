"""A plain convolutional network: pairs of convolutions with max-pooling between."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, starmap

from nnmed import functional as F
from nnmed import nn
from nnmed.models.double_conv import DoubleConv


class SmallCNN(nn.Module):
    """Stages of two conv-bn-relu with max-pooling between, then global average pooling.

    Parameters
    ----------
    in_channels, num_classes : int
    widths : sequence of int
        Channels of each stage.
    dropout : float
        Share of the pooled features that training drops.

    Shape
    -----
    ``(N, in_channels, H, W)`` to ``(N, num_classes)`` class scores (logits).
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        widths: Sequence[int] = (16, 32, 64),
        dropout: float = 0.0,
    ):
        super().__init__()
        channels = [in_channels, *widths]
        self.stages = nn.ModuleList(starmap(DoubleConv, pairwise(channels)))
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels[-1], num_classes)

    def features(self, x):
        """Return the last feature map, ``(N, C, H / 2**(stages-1), W / 2**(stages-1))``."""
        for index, stage in enumerate(self.stages):
            x = stage(F.max_pool2d(x, 2) if index else x)
        return x

    def classify(self, features):
        """Return the class scores of a feature map."""
        return self.fc(self.dropout(features.mean((2, 3))))

    def forward(self, x):
        return self.classify(self.features(x))
