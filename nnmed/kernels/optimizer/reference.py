"""Update steps as loops over the elements, computed in float64.

Every function changes `parameter` and the state arrays in place and leaves `gradient` as
it is. All arrays have one shape. `lr`, `eps` and the other numbers are Python floats.
"""

from __future__ import annotations

import math

import numpy as np


def sgd(
    parameter, gradient, momentum_buffer, lr, momentum, dampening, weight_decay, nesterov, first
):
    """One step of gradient descent with momentum.

    ::

        g = gradient + weight_decay * parameter
        b = g                                       on the first step
        b = momentum * b + (1 - dampening) * g      afterwards
        d = g + momentum * b if nesterov else b     (d = g without momentum)
        parameter = parameter - lr * d

    Sutskever et al., "On the importance of initialization and momentum in deep learning",
    ICML 2013, in the form of PyTorch, where `lr` multiplies the buffer.

    Parameters
    ----------
    parameter, gradient : arrays of one shape
    momentum_buffer : array or None
        None where `momentum` is 0.
    lr, momentum, dampening, weight_decay : float
    nesterov : bool
    first : bool
        Whether `momentum_buffer` still has to be filled.
    """
    for i in np.ndindex(parameter.shape):
        p = float(parameter[i])
        d = float(gradient[i]) + weight_decay * p
        if momentum_buffer is not None:
            b = d if first else momentum * float(momentum_buffer[i]) + (1 - dampening) * d
            momentum_buffer[i] = b
            d = d + momentum * b if nesterov else b
        parameter[i] = p - lr * d


def adam(
    parameter, gradient, exp_avg, exp_avg_sq, max_exp_avg_sq,
    step, lr, beta1, beta2, eps, weight_decay, decoupled,
):  # fmt: skip
    """One step of Adam, or of AdamW where `decoupled`.

    ::

        g = gradient + weight_decay * parameter              Adam
        parameter = parameter * (1 - lr * weight_decay)      AdamW instead
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g^2
        u = max(u, v)                                        AMSGrad; else u = v
        parameter = parameter - lr * m / (1 - beta1^step)
                                / (sqrt(u / (1 - beta2^step)) + eps)

    Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1;
    Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019; Reddi et al.,
    "On the convergence of Adam and beyond", ICLR 2018, with the bias corrections of PyTorch.

    Parameters
    ----------
    parameter, gradient, exp_avg, exp_avg_sq : arrays of one shape
        `exp_avg` is m and `exp_avg_sq` is v.
    max_exp_avg_sq : array or None
        u of AMSGrad.
    step : int
        1 on the first step.
    lr, beta1, beta2, eps, weight_decay : float
    decoupled : bool
    """
    for i in np.ndindex(parameter.shape):
        p, g = float(parameter[i]), float(gradient[i])
        if decoupled:
            p = p * (1 - lr * weight_decay)
        else:
            g = g + weight_decay * p
        m = exp_avg[i] = beta1 * float(exp_avg[i]) + (1 - beta1) * g
        u = exp_avg_sq[i] = beta2 * float(exp_avg_sq[i]) + (1 - beta2) * g * g
        if max_exp_avg_sq is not None:
            u = max_exp_avg_sq[i] = max(float(max_exp_avg_sq[i]), u)
        denominator = math.sqrt(u / (1 - beta2**step)) + eps
        parameter[i] = p - lr * m / (1 - beta1**step) / denominator


def rmsprop(
    parameter, gradient, square_avg, grad_avg, momentum_buffer,
    lr, alpha, eps, weight_decay, momentum,
):  # fmt: skip
    """One step of RMSprop.

    ::

        g = gradient + weight_decay * parameter
        v = alpha * v + (1 - alpha) * g^2
        a = alpha * a + (1 - alpha) * g             centered; else a = 0
        d = g / (sqrt(max(v - a^2, 0)) + eps)
        b = momentum * b + d                        with momentum; else b = d
        parameter = parameter - lr * b

    Tieleman and Hinton, "Lecture 6.5", 2012; centered: Graves, "Generating sequences with
    recurrent neural networks", 2013, equations 38 to 45, with `eps` outside the root.
    v - a^2 is a variance; where rounding makes it negative it counts as 0.

    Parameters
    ----------
    parameter, gradient, square_avg : arrays of one shape
        `square_avg` is v.
    grad_avg : array or None
        a, where centered.
    momentum_buffer : array or None
        b, with momentum.
    lr, alpha, eps, weight_decay, momentum : float
    """
    for i in np.ndindex(parameter.shape):
        p = float(parameter[i])
        g = float(gradient[i]) + weight_decay * p
        variance = square_avg[i] = alpha * float(square_avg[i]) + (1 - alpha) * g * g
        if grad_avg is not None:
            a = grad_avg[i] = alpha * float(grad_avg[i]) + (1 - alpha) * g
            variance = max(variance - a * a, 0.0)
        d = g / (math.sqrt(variance) + eps)
        if momentum_buffer is not None:
            d = momentum_buffer[i] = momentum * float(momentum_buffer[i]) + d
        parameter[i] = p - lr * d
