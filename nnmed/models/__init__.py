"""Networks, and the names under which the scripts know them.

Each has ``features(x)``, the last feature map, and ``classify(features)``, its class
scores, so that a heat map can be drawn between the two. :class:`UNet` scores every pixel,
the others the image.
"""

from __future__ import annotations

from nnmed.errors import UsageError
from nnmed.models.ensemble import Ensemble
from nnmed.models.merged_classes import MergedClasses
from nnmed.models.resnet import BasicBlock, ResNet, resnet18
from nnmed.models.small_cnn import SmallCNN
from nnmed.models.unet import UNet

MODELS = {"resnet": ResNet, "cnn": SmallCNN}
"""Classifiers by the name that ``--model`` takes."""


def build(name: str, in_channels: int, num_classes: int, networks: int = 1, **options):
    """Return a new network by its name in :data:`MODELS`, or an ensemble of several."""
    if name not in MODELS:
        raise UsageError(f"unknown model {name!r}: choose one of {', '.join(MODELS)}")
    if not isinstance(networks, int) or networks < 1:
        raise UsageError(f"networks must be a positive integer, got {networks!r}")
    members = [MODELS[name](in_channels, num_classes, **options) for _ in range(networks)]
    return Ensemble(members) if networks > 1 else members[0]


__all__ = [
    "MODELS", "BasicBlock", "Ensemble", "MergedClasses", "ResNet", "SmallCNN", "UNet", "build",
    "resnet18",
]  # fmt: skip
