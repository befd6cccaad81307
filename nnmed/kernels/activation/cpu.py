"""Activation functions on the CPU, in chunks over flat memory.

The signatures are those of ``reference.py``. A gradient function takes what is cheapest to
keep: the output where the derivative is a function of it, else the input.
"""

from nnmed.kernels.activation.dropout import dropout, dropout_grad, random_slopes
from nnmed.kernels.activation.gelu import erf, erf_grad, gelu, gelu_grad
from nnmed.kernels.activation.piecewise import (
    hardshrink,
    hardshrink_grad,
    hardsigmoid,
    hardsigmoid_grad,
    hardswish,
    hardswish_grad,
    hardtanh,
    hardtanh_grad,
    leaky_relu,
    leaky_relu_grad,
    prelu,
    prelu_grad,
    relu,
    relu_grad,
    softshrink,
    softshrink_grad,
    threshold,
    threshold_grad,
)
from nnmed.kernels.activation.smooth import (
    elu,
    elu_grad,
    glu,
    glu_grad,
    logsigmoid,
    logsigmoid_grad,
    mish,
    mish_grad,
    sigmoid,
    sigmoid_grad,
    silu,
    silu_grad,
    softplus,
    softplus_grad,
    softsign,
    softsign_grad,
    tanh,
    tanh_grad,
    tanhshrink,
    tanhshrink_grad,
)
from nnmed.kernels.activation.softmax import (
    log_softmax,
    log_softmax_grad,
    softmax,
    softmax_grad,
)

__all__ = [
    "dropout", "dropout_grad", "elu", "elu_grad", "erf", "erf_grad", "gelu", "gelu_grad", "glu",
    "glu_grad", "hardshrink", "hardshrink_grad", "hardsigmoid", "hardsigmoid_grad", "hardswish",
    "hardswish_grad", "hardtanh", "hardtanh_grad", "leaky_relu", "leaky_relu_grad",
    "log_softmax", "log_softmax_grad", "logsigmoid", "logsigmoid_grad", "mish", "mish_grad",
    "prelu", "prelu_grad", "random_slopes", "relu", "relu_grad", "sigmoid", "sigmoid_grad",
    "silu", "silu_grad", "softmax", "softmax_grad", "softplus", "softplus_grad", "softshrink",
    "softshrink_grad", "softsign", "softsign_grad", "tanh", "tanh_grad", "tanhshrink",
    "tanhshrink_grad", "threshold", "threshold_grad",
]  # fmt: skip
