"""The flat face of ops: functions with the names and arguments of ``torch.nn.functional``."""

from __future__ import annotations

from nnmed.ops.activation import elu, erf, gelu, leaky_relu, relu, sigmoid, silu, tanh
from nnmed.ops.adaptive_pooling import adaptive_avg_pool2d, adaptive_max_pool2d
from nnmed.ops.binary_cross_entropy import binary_cross_entropy, binary_cross_entropy_with_logits
from nnmed.ops.conv_functions import (
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)
from nnmed.ops.cross_entropy import cross_entropy
from nnmed.ops.dropout import dropout
from nnmed.ops.interpolate import interpolate
from nnmed.ops.linalg import linear
from nnmed.ops.loss import huber_loss, l1_loss, mse_loss, smooth_l1_loss
from nnmed.ops.nll_loss import nll_loss
from nnmed.ops.normalization import batch_norm
from nnmed.ops.pad import pad
from nnmed.ops.pooling import avg_pool2d, max_pool2d
from nnmed.ops.softmax import log_softmax, softmax

__all__ = [
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "avg_pool2d",
    "batch_norm",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "cross_entropy",
    "dropout",
    "elu",
    "erf",
    "gelu",
    "huber_loss",
    "interpolate",
    "l1_loss",
    "leaky_relu",
    "linear",
    "log_softmax",
    "max_pool2d",
    "mse_loss",
    "nll_loss",
    "pad",
    "relu",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "softmax",
    "tanh",
]
