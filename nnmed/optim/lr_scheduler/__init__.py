"""Learning-rate schedules, with PyTorch's names and results.

A schedule is stepped after the optimizer, once an epoch or once a batch as its unit is.
"""

from nnmed.optim.lr_scheduler.base import LRScheduler
from nnmed.optim.lr_scheduler.decay import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from nnmed.optim.lr_scheduler.one_cycle import OneCycleLR
from nnmed.optim.lr_scheduler.plateau import ReduceLROnPlateau
from nnmed.optim.lr_scheduler.sequential import SequentialLR

__all__ = [
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]
