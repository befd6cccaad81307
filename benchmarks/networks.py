"""The reference networks: what is trained, at which size, on which images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np

from nnmed import models

CLASSES = 2


@dataclass(frozen=True)
class Workload:
    """A network at work on a batch.

    Attributes
    ----------
    network : str
        Its name in :data:`NETWORKS`.
    batch, channels, size : int
        Images, their channels, their height and width.
    width : int
        Channels of the network's first stage.
    """

    network: str
    batch: int
    channels: int
    size: int
    width: int

    def images(self) -> np.ndarray:
        shape = self.batch, self.channels, self.size, self.size
        return np.random.default_rng(0).standard_normal(shape, np.float32)

    def labels(self) -> np.ndarray:
        """Return a class for each image, for U-Net for each pixel."""
        shape = (self.batch,)
        if NETWORKS[self.network].per_pixel:
            shape = self.batch, self.size, self.size
        return np.random.default_rng(1).integers(0, CLASSES, shape)

    def build(self):
        """Return the network of nnmed, the same weights every time."""
        return NETWORKS[self.network].build(self.channels, CLASSES, self.width)

    def with_(self, **changes) -> Workload:
        return replace(self, **changes)

    def as_dict(self) -> dict:
        return asdict(self)


@dataclass(frozen=True)
class Network:
    """How a reference network is built, and its usual workload."""

    build: Callable
    channels: int
    size: int
    width: int
    per_pixel: bool = False


def _detector(channels, classes, width):
    return models.SmallCNN(channels, classes, (width, 2 * width, 4 * width))


def _resnet18(channels, classes, width):
    return models.ResNet(channels, classes, (2, 2, 2, 2), width, large_stem=True)


NETWORKS = {
    "detector": Network(_detector, channels=1, size=128, width=16),
    "resnet18": Network(_resnet18, channels=3, size=64, width=64),
    "unet": Network(models.UNet, channels=1, size=128, width=16, per_pixel=True),
}


def workload(name: str, batch: int, quick: bool = False) -> Workload:
    """Return a reference network's workload; a quick one is narrow and small."""
    network = NETWORKS[name]
    size, width = (32, 4) if quick else (network.size, network.width)
    return Workload(name, batch, network.channels, size, width)
