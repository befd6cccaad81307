"""Optimizers and learning-rate schedules, with PyTorch's names and results."""

from nnmed.optim import lr_scheduler
from nnmed.optim.adam import Adam, AdamW
from nnmed.optim.optimizer import Optimizer
from nnmed.optim.rmsprop import RMSprop
from nnmed.optim.sgd import SGD
from nnmed.optim.state import pack_state, unpack_state

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "Optimizer",
    "RMSprop",
    "lr_scheduler",
    "pack_state",
    "unpack_state",
]
