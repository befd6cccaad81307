"""Learning-rate schedules, with PyTorch's names and results.

A schedule is stepped after the optimizer, once an epoch or once a batch as its unit is.
"""

from nnmed.optim.lr_scheduler.base import LRScheduler
from nnmed.optim.lr_scheduler.decay import CosineAnnealingLR, LambdaLR, LinearLR, StepLR
from nnmed.optim.lr_scheduler.one_cycle import OneCycleLR
from nnmed.optim.lr_scheduler.plateau import ReduceLROnPlateau
from nnmed.optim.lr_scheduler.sequential import SequentialLR

__all__ = [
    "CosineAnnealingLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "OneCycleLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]
