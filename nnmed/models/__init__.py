"""Networks, and the names under which the scripts know them.

Each has ``features(x)``, the last feature map, and ``classify(features)``, its class
scores, so that a heat map can be drawn between the two. :class:`UNet` scores every pixel,
the others the image.
"""

from __future__ import annotations

from nnmed.errors import UsageError
from nnmed.models.resnet import BasicBlock, ResNet, resnet18
from nnmed.models.small_cnn import SmallCNN
from nnmed.models.unet import UNet

MODELS = {"resnet": ResNet, "cnn": SmallCNN}
"""Classifiers by the name that ``--model`` takes."""


def build(name: str, in_channels: int, num_classes: int, **options):
    """Return a new network by its name in :data:`MODELS`."""
    if name not in MODELS:
        raise UsageError(f"unknown model {name!r}: choose one of {', '.join(MODELS)}")
    return MODELS[name](in_channels, num_classes, **options)


__all__ = ["MODELS", "BasicBlock", "ResNet", "SmallCNN", "UNet", "build", "resnet18"]
