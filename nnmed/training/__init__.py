"""Training: epochs, checkpoints, history, predictions."""

from nnmed.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from nnmed.training.inference import predict_probabilities
from nnmed.training.trainer import Trainer, check_settings

__all__ = [
    "Checkpoint",
    "Trainer",
    "check_settings",
    "load_checkpoint",
    "predict_probabilities",
    "save_checkpoint",
]
