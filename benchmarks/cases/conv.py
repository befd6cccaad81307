"""Convolutions of real networks: thin first layers, U-Net's and ResNet's, and odd ones."""

from __future__ import annotations

from benchmarks.cases.case import Case, Input, maps, vector


def conv(n, channels, size, outputs, kernel=3, stride=1, groups=1, dilation=1, note=""):
    """Return a convolution whose padding keeps the size (but for the stride)."""
    name = f"{channels} at {size}"
    name += f" -> {outputs}" if outputs != channels else ""
    name += f", {kernel}x{kernel}" if kernel != 3 else ""
    name += f", stride {stride}" if stride != 1 else ""
    name += f", dilation {dilation}" if dilation != 1 else ""
    name += f", {note}" if note else ""
    weight = Input((outputs, channels // groups, kernel, kernel))
    inputs = dict(input=maps(n, channels, size), weight=weight, bias=vector(outputs))
    padding = dilation * (kernel // 2)
    options = dict(stride=stride, padding=padding, dilation=dilation, groups=groups)
    # Images need no gradient: a first layer leaves it out.
    return Case("conv", name, "conv2d", inputs, options, ("input",) if channels <= 3 else ())


def transposed(n, channels, size, outputs, kernel, stride, padding=0):
    name = f"{channels} at {size} -> {outputs}, transposed {kernel}x{kernel}, stride {stride}"
    weight = Input((channels, outputs, kernel, kernel))
    inputs = dict(input=maps(n, channels, size), weight=weight, bias=vector(outputs))
    return Case("conv", name, "conv_transpose2d", inputs, dict(stride=stride, padding=padding))


CASES = [
    conv(1, 4, 16, 4, note="small"),
    conv(32, 1, 96, 16),
    conv(32, 3, 96, 16),
    conv(32, 3, 96, 32, 7, 2),
    conv(8, 3, 224, 64, 7, 2),
    conv(8, 16, 128, 16),
    conv(32, 16, 96, 16),
    conv(16, 16, 64, 32),
    conv(8, 32, 64, 32),
    conv(32, 32, 48, 32),
    conv(16, 32, 32, 64),
    conv(8, 64, 64, 64),
    conv(32, 64, 24, 64),
    conv(8, 128, 32, 128),
    conv(32, 128, 12, 128),
    conv(8, 256, 16, 256),
    conv(32, 256, 8, 256),
    conv(8, 512, 7, 512),
    conv(8, 128, 64, 64),
    conv(32, 16, 96, 32, stride=2),
    conv(32, 64, 24, 128, stride=2),
    conv(16, 64, 32, 64, 1),
    conv(32, 32, 48, 64, 1, 2),
    conv(8, 256, 28, 64, 1),
    conv(8, 16, 128, 2, 1),
    conv(16, 64, 32, 64, groups=64, note="depthwise"),
    conv(8, 128, 28, 128, 5, groups=128, note="depthwise"),
    conv(16, 64, 32, 64, groups=4, note="4 groups"),
    conv(8, 64, 32, 64, dilation=2),
    conv(8, 256, 28, 64, dilation=6),
    transposed(8, 64, 32, 32, 2, 2),
    transposed(8, 256, 8, 128, 2, 2),
    transposed(8, 64, 32, 32, 4, 2, 1),
]
