"""Activation functions as loops: one number, or one row, at a time, in float64."""

from __future__ import annotations

import math

import numpy as np

from nnmed.backend.random import philox_uint32
from nnmed.kernels.activation.dropout import element_order, lowest_kept


def relu(x):
    """y = x if x > 0, else 0."""
    return _each(lambda x: 0.0 if x <= 0 else x, x)


def relu_grad(dy, y):
    """dx = dy where y > 0, else 0."""
    return _each(lambda y, dy: 0.0 if y <= 0 else dy, y, dy)


def leaky_relu(x, negative_slope):
    """y = x if x > 0, else negative_slope * x."""
    return _each(lambda x: x if x > 0 else negative_slope * x, x)


def leaky_relu_grad(dy, x, negative_slope):
    """dx = dy * (1 if x > 0, else negative_slope)."""
    return _each(lambda x, dy: dy * (1.0 if x > 0 else negative_slope), x, dy)


def prelu(x, w):
    """y = x if x > 0, else w * x."""
    return _each(lambda x, w: x if x > 0 else w * x, x, w)


def prelu_grad(dy, x, w):
    """dx = dy * (1 if x > 0, else w), dw = dy * (0 if x > 0, else x)."""
    dx = _each(lambda x, dy, w: dy * (1.0 if x > 0 else w), x, dy, w)
    return dx, _each(lambda x, dy: 0.0 if x > 0 else dy * x, x, dy)


def threshold(x, threshold, value):
    """y = value if x <= threshold, else x."""
    return _each(lambda x: value if x <= threshold else x, x)


def threshold_grad(dy, x, threshold, value):
    """dx = 0 if x <= threshold, else dy."""
    return _each(lambda x, dy: 0.0 if x <= threshold else dy, x, dy)


def hardtanh(x, low, high):
    """y = low if x < low, high if x > high, else x."""
    return _each(lambda x: low if x < low else high if x > high else x, x)


def hardtanh_grad(dy, x, low, high):
    """dx = 0 if x <= low or x >= high, else dy."""
    return _each(lambda x, dy: 0.0 if x <= low or x >= high else dy, x, dy)


def hardsigmoid(x):
    """y = x / 6 + 1/2, limited to [0, 1]."""
    return _each(_hardsigmoid, x)


def hardsigmoid_grad(dy, x):
    """dx = dy / 6 if -3 < x < 3, else 0."""
    return _each(lambda x, dy: dy / 6 if -3 < x < 3 else 0.0, x, dy)


def hardswish(x):
    """y = x * hardsigmoid(x)."""
    return _each(lambda x: x * _hardsigmoid(x), x)


def hardswish_grad(dy, x):
    """dx = 0 if x <= -3, dy if x >= 3, else dy * (x / 3 + 1/2)."""
    return _each(lambda x, dy: 0.0 if x <= -3 else dy if x >= 3 else dy * (x / 3 + 0.5), x, dy)


def hardshrink(x, lambd):
    """y = 0 if -lambd <= x <= lambd, else x."""
    return _each(lambda x: 0.0 if -lambd <= x <= lambd else x, x)


def hardshrink_grad(dy, x, lambd):
    """dx = 0 if -lambd <= x <= lambd, else dy."""
    return _each(lambda x, dy: 0.0 if -lambd <= x <= lambd else dy, x, dy)


def softshrink(x, lambd):
    """y = x - lambd if x > lambd, x + lambd if x < -lambd, else 0."""
    return _each(lambda x: x - lambd if x > lambd else x + lambd if x < -lambd else 0 * x, x)


softshrink_grad = hardshrink_grad


def elu(x, alpha, scale=1.0, input_scale=1.0):
    """y = scale * (x if x > 0, else alpha * (exp(input_scale * x) - 1))."""
    return _each(lambda x: scale * (x if x > 0 else alpha * math.expm1(input_scale * x)), x)


def elu_grad(dy, x, alpha, scale=1.0, input_scale=1.0):
    """dx = dy * scale * (1 if x > 0, else alpha * input_scale * exp(input_scale * x))."""

    def one(x, dy):
        return dy * scale * (1 if x > 0 else alpha * input_scale * math.exp(input_scale * x))

    return _each(one, x, dy)


def sigmoid(x):
    """y = 1 / (1 + exp(-x))."""
    return _each(_sigmoid, x)


def sigmoid_grad(dy, y):
    """dx = dy * y * (1 - y)."""
    return _each(lambda y, dy: dy * y * (1 - y), y, dy)


def logsigmoid(x):
    """y = log(1 / (1 + exp(-x)))."""
    return _each(lambda x: -_softplus(-x), x)


def logsigmoid_grad(dy, x):
    """dx = dy * sigmoid(-x)."""
    return _each(lambda x, dy: dy * _sigmoid(-x), x, dy)


def softplus(x, beta, threshold):
    """y = x if beta * x > threshold, else log(1 + exp(beta * x)) / beta."""
    return _each(lambda x: x if beta * x > threshold else _softplus(beta * x) / beta, x)


def softplus_grad(dy, x, beta, threshold):
    """dx = dy * (1 if beta * x > threshold, else sigmoid(beta * x))."""
    return _each(lambda x, dy: dy * (1 if beta * x > threshold else _sigmoid(beta * x)), x, dy)


def softsign(x):
    """y = x / (1 + abs(x))."""
    return _each(lambda x: x / (1 + abs(x)), x)


def softsign_grad(dy, x):
    """dx = dy / (1 + abs(x))**2."""
    return _each(lambda x, dy: dy / (1 + abs(x)) ** 2, x, dy)


def tanhshrink(x):
    """y = x - tanh(x)."""
    return _each(lambda x: x - math.tanh(x), x)


def tanhshrink_grad(dy, x):
    """dx = dy * tanh(x)**2."""
    return _each(lambda x, dy: dy * math.tanh(x) ** 2, x, dy)


def mish(x):
    """y = x * tanh(log(1 + exp(x)))."""
    return _each(lambda x: x * math.tanh(_softplus(x)), x)


def mish_grad(dy, x):
    """dx = dy * (t + x * (1 - t**2) * sigmoid(x)), t = tanh(log(1 + exp(x)))."""

    def one(x, dy):
        t = math.tanh(_softplus(x))
        return dy * (t + x * (1 - t * t) * _sigmoid(x))

    return _each(one, x, dy)


def glu(a, b):
    """y = a * sigmoid(b)."""
    return _each(lambda a, b: a * _sigmoid(b), a, b)


def glu_grad(dy, a, b):
    """da = dy * s, db = dy * a * s * (1 - s), s = sigmoid(b)."""
    da = _each(lambda b, dy: dy * _sigmoid(b), b, dy)
    return da, _each(lambda a, b, dy: dy * a * _sigmoid(b) * _sigmoid(-b), a, b, dy)


def tanh(x):
    """y = tanh(x)."""
    return _each(math.tanh, x)


def tanh_grad(dy, y):
    """dx = dy * (1 - y**2)."""
    return _each(lambda y, dy: dy * (1 - y * y), y, dy)


def silu(x):
    """y = x * sigmoid(x)."""
    return _each(lambda x: x * _sigmoid(x), x)


def silu_grad(dy, x):
    """dx = dy * s * (1 + x * (1 - s)), s = sigmoid(x)."""

    def one(x, dy):
        s = _sigmoid(x)
        return dy * s * (1 + x * (1 - s))

    return _each(one, x, dy)


def erf(x):
    """y = erf(x)."""
    return _each(math.erf, x)


def erf_grad(dy, x):
    """dx = dy * 2/sqrt(pi) * exp(-x**2)."""
    return _each(lambda x, dy: dy * 2 / math.sqrt(math.pi) * math.exp(-x * x), x, dy)


def gelu(x, approximate):
    """y = x * Phi(x); "tanh": Phi(x) = (1 + tanh(sqrt(2/pi) * (x + 0.044715 x**3))) / 2."""
    return _each(lambda x: x * _gate(x, approximate)[0], x)


def gelu_grad(dy, x, approximate):
    """dx = dy * (Phi(x) + x * Phi'(x))."""

    def one(x, dy):
        gate, slope = _gate(x, approximate)
        return dy * (gate + x * slope)

    return _each(one, x, dy)


def softmax(x, dim):
    """y_c = exp(x_c) / sum over k of exp(x_k), along dim."""

    def row(x):
        largest = max(x, key=lambda v: math.inf if math.isnan(v) else v)
        powers = [math.exp(v - largest) for v in x]
        return [power / math.fsum(powers) for power in powers]

    return _each_row(row, dim, x)


def softmax_grad(dy, y, dim):
    """dx_c = y_c * (dy_c - sum over k of dy_k y_k), along dim."""

    def row(y, dy):
        total = math.fsum(a * b for a, b in zip(y, dy))
        return [a * (b - total) for a, b in zip(y, dy)]

    return _each_row(row, dim, y, dy)


def log_softmax(x, dim):
    """y_c = x_c - log(sum over k of exp(x_k)), along dim."""

    def row(x):
        largest = max(x, key=lambda v: math.inf if math.isnan(v) else v)
        total = math.log(math.fsum(math.exp(v - largest) for v in x))
        return [v - largest - total for v in x]

    return _each_row(row, dim, x)


def log_softmax_grad(dy, y, dim):
    """dx_c = dy_c - exp(y_c) * sum over k of dy_k, along dim."""

    def row(y, dy):
        total = math.fsum(dy)
        return [b - math.exp(a) * total for a, b in zip(y, dy)]

    return _each_row(row, dim, y, dy)


def dropout(x, p, key):
    """y = x / (1 - p) where the element's random word reaches p * 2**32, else 0 * x."""
    words = philox_uint32(key, 0, x.size)
    bits = np.zeros(-(-x.size // 8), np.uint8)
    for i, word in enumerate(words):
        if int(word) >= lowest_kept(p):
            bits[i // 8] |= np.uint8(1 << (i % 8))
    return dropout_grad(x, bits, p), bits


def dropout_grad(dy, bits, p):
    """dx = dy / (1 - p) where the element's bit is set, else 0 * dy."""
    order = element_order(dy.ndim)
    dx = np.empty(dy.shape, dy.dtype)
    for i, place in enumerate(np.ndindex(*(dy.shape[axis] for axis in order))):
        index = tuple(place[order.index(axis)] for axis in range(dy.ndim))
        kept = bits[i // 8] >> (i % 8) & 1
        dx[index] = float(dy[index]) * (1 / (1 - p) if kept else 0.0)
    return dx


def random_slopes(x, lower, upper, key):
    """1 if x > 0, else lower + (upper - lower) * (the element's random word) / 2**32."""
    order = element_order(x.ndim)
    slopes = np.empty(x.shape, x.dtype)
    words = philox_uint32(key, 0, x.size)
    for word, place in zip(words, np.ndindex(*(x.shape[axis] for axis in order))):
        index = tuple(place[order.index(axis)] for axis in range(x.ndim))
        slopes[index] = 1.0 if x[index] > 0 else lower + (upper - lower) * (int(word) / 2**32)
    return slopes


def _hardsigmoid(x):
    return min(max(x / 6 + 0.5, 0.0), 1.0)


def _softplus(x):
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _sigmoid(x):
    if x >= 0:
        return 1 / (1 + math.exp(-x))
    return math.exp(x) / (1 + math.exp(x))


def _gate(x, approximate):
    """Return Phi(x) and its derivative."""
    if approximate == "tanh":
        k = math.sqrt(2 / math.pi)
        t = math.tanh(k * (x + 0.044715 * x**3))
        return (1 + t) / 2, (1 - t * t) / 2 * k * (1 + 3 * 0.044715 * x * x)
    return math.erfc(-x / math.sqrt(2)) / 2, math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def _each(function, *arrays):
    """Apply `function` to the numbers at each place of the arrays."""
    result = np.empty(arrays[0].shape, arrays[0].dtype)
    for index in np.ndindex(*result.shape):
        result[index] = function(*(float(a[index]) for a in arrays))
    return result


def _each_row(function, dim, *arrays):
    """Apply `function` to the lists of numbers along `dim` at each place of the other axes."""
    if arrays[0].ndim == 0:
        return _each_row(function, 0, *(a.reshape(1) for a in arrays)).reshape(())
    result = np.empty(arrays[0].shape, arrays[0].dtype)
    if result.size == 0:
        return result
    rows = [np.moveaxis(a, dim, -1) for a in (result, *arrays)]
    for index in np.ndindex(*rows[0].shape[:-1]):
        rows[0][index] = function(*(row[index].astype(np.float64).tolist() for row in rows[1:]))
    return result
