"""Residual networks (He et al., "Deep residual learning", CVPR 2016).

Names of parameters are those of torchvision's ResNet.
"""

from __future__ import annotations

from collections.abc import Sequence

from nnmed import functional as F
from nnmed import nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: y = relu(f(x) + x).

    Where the stride or the number of channels changes, a 1x1 convolution fits the shortcut.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels, relu=True)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x):
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.bn1(self.conv1(x))
        return F.relu(self.bn2(self.conv2(x)) + shortcut)


class ResNet(nn.Module):
    """A residual network for classification.

    Parameters
    ----------
    in_channels, num_classes : int
    blocks : sequence of int
        Blocks in each stage; each stage after the first halves height and width.
    width : int
        Channels of the first stage; each further stage doubles them.
    dropout : float
        Share of the pooled features that training drops.
    large_stem : bool
        Begin with 7x7 at stride 2 and max-pooling, as for 224 x 224 images, or with 3x3 at
        stride 2.

    Shape
    -----
    ``(N, in_channels, H, W)`` to ``(N, num_classes)`` class scores (logits).
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        blocks: Sequence[int] = (2, 2, 2),
        width: int = 32,
        dropout: float = 0.0,
        large_stem: bool = False,
    ):
        super().__init__()
        kernel = 7 if large_stem else 3
        self.conv1 = nn.Conv2d(in_channels, width, kernel, 2, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width, relu=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if large_stem else nn.Identity()
        self.stages = len(blocks)
        channels = width
        for stage, count in enumerate(blocks):
            out_channels = width * 2**stage
            layer = nn.Sequential()
            for index in range(count):
                stride = 2 if stage > 0 and index == 0 else 1
                layer.append(BasicBlock(channels, out_channels, stride))
                channels = out_channels
            self.add_module(f"layer{stage + 1}", layer)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def features(self, x):
        """Return the last feature map, ``(N, C, H / 2**stages, W / 2**stages)``."""
        x = self.maxpool(self.bn1(self.conv1(x)))
        for stage in range(self.stages):
            x = getattr(self, f"layer{stage + 1}")(x)
        return x

    def classify(self, features):
        """Return the class scores of a feature map."""
        return self.fc(self.dropout(features.mean((2, 3))))

    def forward(self, x):
        return self.classify(self.features(x))


def resnet18(in_channels: int = 3, num_classes: int = 1000) -> ResNet:
    """Return ResNet-18, which takes torchvision's weights."""
    return ResNet(in_channels, num_classes, (2, 2, 2, 2), 64, large_stem=True)
