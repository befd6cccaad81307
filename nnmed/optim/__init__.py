"""Optimizers and learning-rate schedules, with PyTorch's names and results."""

from nnmed.optim import lr_scheduler, swa_utils
from nnmed.optim.adagrad import Adadelta, Adagrad
from nnmed.optim.adam import LAMB, Adam, Adamax, AdamW, NAdam, RAdam
from nnmed.optim.grad_scaler import GradScaler
from nnmed.optim.lion import Lion
from nnmed.optim.optimizer import Optimizer
from nnmed.optim.rmsprop import RMSprop
from nnmed.optim.sgd import SGD
from nnmed.optim.state import pack_state, unpack_state

__all__ = [
    "LAMB",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "GradScaler",
    "Lion",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "lr_scheduler",
    "pack_state",
    "swa_utils",
    "unpack_state",
]
