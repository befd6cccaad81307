"""The block that the plain network and the U-Net are made of."""

from __future__ import annotations

from nnmed import nn


class DoubleConv(nn.Module):
    """Two 3x3 convolutions, each with batch normalisation and relu; height and width stay."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels, relu=True)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels, relu=True)

    def forward(self, x):
        return self.bn2(self.conv2(self.bn1(self.conv1(x))))
