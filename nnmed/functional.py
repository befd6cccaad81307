"""The flat face of ops: functions with the names and arguments of ``torch.nn.functional``.

Arguments that PyTorch deprecates (``size_average``, ``reduce``) are left out, and what follows
them is given by name; ``inplace=True`` is an error. Beyond PyTorch's there are ``erf`` and the
losses of segmentation: focal, Dice, Tversky, Lovasz and boundary.
"""

from __future__ import annotations

from nnmed.ops.activation import erf, gelu, leaky_relu, relu, sigmoid, silu, tanh
from nnmed.ops.activation_piecewise import (
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    prelu,
    relu6,
    rrelu,
    softshrink,
    threshold,
)
from nnmed.ops.activation_smooth import (
    celu,
    elu,
    glu,
    logsigmoid,
    mish,
    selu,
    softplus,
    softsign,
    tanhshrink,
)
from nnmed.ops.adaptive_pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
)
from nnmed.ops.bilinear import bilinear
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
from nnmed.ops.distance import cosine_similarity, pairwise_distance
from nnmed.ops.dropout import dropout
from nnmed.ops.dropout_variants import (
    alpha_dropout,
    dropout1d,
    dropout2d,
    dropout3d,
    feature_alpha_dropout,
)
from nnmed.ops.embedding_loss import (
    cosine_embedding_loss,
    hinge_embedding_loss,
    margin_ranking_loss,
    triplet_margin_loss,
    triplet_margin_with_distance_loss,
)
from nnmed.ops.focal_loss import focal_loss, sigmoid_focal_loss
from nnmed.ops.fold import fold, unfold
from nnmed.ops.grid_sample import affine_grid, grid_sample
from nnmed.ops.group_normalization import group_norm, instance_norm
from nnmed.ops.interpolate import interpolate
from nnmed.ops.layer_normalization import layer_norm, rms_norm
from nnmed.ops.likelihood_loss import gaussian_nll_loss, kl_div, poisson_nll_loss
from nnmed.ops.linalg import linear
from nnmed.ops.loss import huber_loss, l1_loss, mse_loss, smooth_l1_loss
from nnmed.ops.lovasz_loss import lovasz_hinge_loss, lovasz_softmax_loss
from nnmed.ops.lp_pooling import lp_pool1d, lp_pool2d, lp_pool3d
from nnmed.ops.margin_loss import (
    multi_margin_loss,
    multilabel_margin_loss,
    multilabel_soft_margin_loss,
    soft_margin_loss,
)
from nnmed.ops.nll_loss import nll_loss
from nnmed.ops.normalization import batch_norm
from nnmed.ops.pad import pad
from nnmed.ops.pixel_shuffle import channel_shuffle, pixel_shuffle, pixel_unshuffle
from nnmed.ops.pooling import (
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
)
from nnmed.ops.segmentation_loss import (
    boundary_loss,
    dice_ce_loss,
    dice_loss,
    focal_tversky_loss,
    generalized_dice_loss,
    tversky_loss,
)
from nnmed.ops.softmax import log_softmax, softmax, softmin
from nnmed.ops.unpooling import max_unpool1d, max_unpool2d, max_unpool3d
from nnmed.ops.vector_normalization import local_response_norm, normalize

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "affine_grid",
    "alpha_dropout",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "batch_norm",
    "bilinear",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "boundary_loss",
    "celu",
    "channel_shuffle",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "dice_ce_loss",
    "dice_loss",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "elu",
    "erf",
    "feature_alpha_dropout",
    "focal_loss",
    "focal_tversky_loss",
    "fold",
    "gaussian_nll_loss",
    "gelu",
    "generalized_dice_loss",
    "glu",
    "grid_sample",
    "group_norm",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hinge_embedding_loss",
    "huber_loss",
    "instance_norm",
    "interpolate",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "local_response_norm",
    "log_softmax",
    "logsigmoid",
    "lovasz_hinge_loss",
    "lovasz_softmax_loss",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "margin_ranking_loss",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
    "mish",
    "mse_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "normalize",
    "pad",
    "pairwise_distance",
    "pixel_shuffle",
    "pixel_unshuffle",
    "poisson_nll_loss",
    "prelu",
    "relu",
    "relu6",
    "rms_norm",
    "rrelu",
    "selu",
    "sigmoid",
    "sigmoid_focal_loss",
    "silu",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
    "tversky_loss",
    "unfold",
]
