"""Activation functions on the GPU; formulas in reference.py, kernels in the .cu files beside.

The signatures are those of ``reference.py`` and ``cpu.py``.
"""

from __future__ import annotations

from nnmed.backend.cuda import Source
from nnmed.kernels.activation.gpu_dropout import dropout, dropout_grad, random_slopes
from nnmed.kernels.activation.gpu_softmax import (
    log_softmax,
    log_softmax_grad,
    softmax,
    softmax_grad,
)
from nnmed.kernels.elementwise_gpu import apply

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

_piecewise, _smooth = Source(__file__, "piecewise.cu"), Source(__file__, "smooth.cu")


def relu(x):
    """Return max(x, 0)."""
    return _map(_piecewise, "relu", x)


def relu_grad(dy, y):
    """Return dy where the output `y` is positive, 0 elsewhere."""
    return _gradient(_piecewise, "relu_grad", dy, y)


def leaky_relu(x, negative_slope):
    """Return x where positive, negative_slope * x elsewhere."""
    return _map(_piecewise, "leaky_relu", x, negative_slope)


def leaky_relu_grad(dy, x, negative_slope):
    """Return dy times 1 where x is positive, times negative_slope elsewhere."""
    return _gradient(_piecewise, "leaky_relu_grad", dy, x, negative_slope)


def prelu(x, w):
    """Return x where positive, w * x elsewhere."""
    return apply(_piecewise, "prelu", (x, w))[0]


def prelu_grad(dy, x, w):
    """Return dy times 1 or w, and dy times 0 or x, where x is positive or not."""
    return apply(_piecewise, "prelu_grad", (x, dy, w), wanted=(True, True))


def threshold(x, threshold, value):
    """Return x unless it is at most `threshold`: there `value`."""
    return _map(_piecewise, "threshold", x, threshold, value)


def threshold_grad(dy, x, threshold, value):
    """Return dy unless x is at most `threshold`: there 0."""
    return _gradient(_piecewise, "threshold_grad", dy, x, threshold)


def hardtanh(x, low, high):
    """Return min(max(x, low), high)."""
    return _map(_piecewise, "hardtanh", x, low, high)


def hardtanh_grad(dy, x, low, high):
    """Return dy unless x is at most `low` or at least `high`: there 0."""
    return _gradient(_piecewise, "hardtanh_grad", dy, x, low, high)


def hardsigmoid(x):
    """Return min(max(x + 3, 0), 6) / 6."""
    return _map(_piecewise, "hardsigmoid", x)


def hardsigmoid_grad(dy, x):
    """Return dy / 6 where -3 < x < 3, 0 elsewhere."""
    return _gradient(_piecewise, "hardsigmoid_grad", dy, x)


def hardswish(x):
    """Return x * min(max(x + 3, 0), 6) / 6."""
    return _map(_piecewise, "hardswish", x)


def hardswish_grad(dy, x):
    """Return dy times 0 up to -3, x / 3 + 1/2 up to 3, and 1 from there."""
    return _gradient(_piecewise, "hardswish_grad", dy, x)


def hardshrink(x, lambd):
    """Return x unless abs(x) <= lambd: there 0."""
    return _map(_piecewise, "hardshrink", x, lambd)


def hardshrink_grad(dy, x, lambd):
    """Return dy unless abs(x) <= lambd: there 0."""
    return _gradient(_piecewise, "hardshrink_grad", dy, x, lambd)


def softshrink(x, lambd):
    """Return x, moved towards 0 by `lambd` and no further than 0."""
    return _map(_piecewise, "softshrink", x, lambd)


softshrink_grad = hardshrink_grad


def elu(x, alpha, scale=1.0, input_scale=1.0):
    """Return scale * x where positive, scale * alpha * (exp(input_scale * x) - 1) elsewhere."""
    return _map(_smooth, "elu", x, alpha, scale, input_scale)


def elu_grad(dy, x, alpha, scale=1.0, input_scale=1.0):
    """Return dy times scale, or scale * alpha * input_scale * exp(input_scale * x)."""
    return _gradient(_smooth, "elu_grad", dy, x, alpha, scale, input_scale)


def sigmoid(x):
    """Return 1 / (1 + exp(-x))."""
    return _map(_smooth, "sigmoid", x)


def sigmoid_grad(dy, y):
    """Return dy * y * (1 - y)."""
    return _gradient(_smooth, "sigmoid_grad", dy, y)


def logsigmoid(x):
    """Return log(sigmoid(x))."""
    return _map(_smooth, "logsigmoid", x)


def logsigmoid_grad(dy, x):
    """Return dy / (1 + exp(x))."""
    return _gradient(_smooth, "logsigmoid_grad", dy, x)


def softplus(x, beta, threshold):
    """Return log(1 + exp(beta * x)) / beta, and x where beta * x > threshold."""
    return _map(_smooth, "softplus", x, beta, threshold)


def softplus_grad(dy, x, beta, threshold):
    """Return dy / (1 + exp(-beta * x)), and dy where beta * x > threshold."""
    return _gradient(_smooth, "softplus_grad", dy, x, beta, threshold)


def tanh(x):
    """Return tanh(x)."""
    return _map(_smooth, "tanh_of", x)


def tanh_grad(dy, y):
    """Return dy * (1 - y**2)."""
    return _gradient(_smooth, "tanh_grad", dy, y)


def tanhshrink(x):
    """Return x - tanh(x)."""
    return _map(_smooth, "tanhshrink", x)


def tanhshrink_grad(dy, x):
    """Return dy * tanh(x)**2."""
    return _gradient(_smooth, "tanhshrink_grad", dy, x)


def softsign(x):
    """Return x / (1 + abs(x))."""
    return _map(_smooth, "softsign", x)


def softsign_grad(dy, x):
    """Return dy / (1 + abs(x))**2."""
    return _gradient(_smooth, "softsign_grad", dy, x)


def silu(x):
    """Return x / (1 + exp(-x))."""
    return _map(_smooth, "silu", x)


def silu_grad(dy, x):
    """Return dy * s * (1 + x * (1 - s)), s = sigmoid(x)."""
    return _gradient(_smooth, "silu_grad", dy, x)


def mish(x):
    """Return x * tanh(log(1 + exp(x)))."""
    return _map(_smooth, "mish", x)


def mish_grad(dy, x):
    """Return dy times the derivative of :func:`mish`."""
    return _gradient(_smooth, "mish_grad", dy, x)


def glu(a, b):
    """Return a * sigmoid(b)."""
    return apply(_smooth, "glu", (a, b))[0]


def glu_grad(dy, a, b):
    """Return dy * s and dy * a * s * (1 - s), s = sigmoid(b)."""
    return apply(_smooth, "glu_grad", (a, b, dy), wanted=(True, True))


def erf(x):
    """Return the error function of x."""
    return _map(_smooth, "erf_of", x)


def erf_grad(dy, x):
    """Return dy * 2/sqrt(pi) * exp(-x**2)."""
    return _gradient(_smooth, "erf_grad", dy, x)


def gelu(x, approximate):
    """Return x * Phi(x), or its tanh approximation."""
    return _map(_smooth, "gelu_tanh" if approximate == "tanh" else "gelu", x)


def gelu_grad(dy, x, approximate):
    """Return dy times the derivative of :func:`gelu`."""
    kernel = "gelu_tanh_grad" if approximate == "tanh" else "gelu_grad"
    return _gradient(_smooth, kernel, dy, x)


def _map(source, kernel, x, *parameters):
    """Return what a kernel makes of x."""
    return apply(source, kernel, (x,), *parameters)[0]


def _gradient(source, kernel, dy, x, *parameters):
    """Return what a kernel makes of x and dy."""
    return apply(source, kernel, (x, dy), *parameters)[0]
