"""Update steps as loops over the elements, computed in float64.

Every function changes `parameter` and the state arrays in place and leaves `gradient` as
it is. All arrays have one shape. `lr`, `eps` and the other numbers are Python floats; a
`step` is 1 the first time. In all formulas g is::

    g = gradient + weight_decay * parameter         (-gradient where `maximize`)

and where weight decay is `decoupled`, g is the bare gradient and instead, first of all::

    parameter = parameter * (1 - lr * weight_decay)
"""

from __future__ import annotations

import math

import numpy as np


def update_all(name: str, calls: list[tuple]) -> None:
    """Call the function `name` of this module with each of the tuples of arguments."""
    for arguments in calls:
        globals()[name](*arguments)


def unscaled(arrays, numbers) -> list:
    """Return copies of `arrays`, divided by the loss scale, and note whether one is not finite.

    `numbers`, float32, are the scale; 1; and a flag, which becomes 1 if an element is infinite or
    NaN.
    """
    results = []
    for array in arrays:
        result = np.empty_like(array)
        for i in np.ndindex(array.shape):
            if not math.isfinite(array[i]):
                numbers[2] = 1
            result[i] = float(array[i]) / float(numbers[0])
        results.append(result)
    return results


def _start(parameter, gradient, i, weight_decay, maximize, decoupled_lr=0.0):
    """Return parameter and g of one element, as floats."""
    p, g = float(parameter[i]), float(gradient[i])
    g = -g if maximize else g
    if decoupled_lr:
        return p * (1 - decoupled_lr * weight_decay), g
    return p, g + weight_decay * p


def sgd(
    parameter, gradient, momentum_buffer,
    lr, momentum, dampening, weight_decay, nesterov, first, maximize,
):  # fmt: skip
    """One step of gradient descent with momentum.

    ::

        b = g                                       on the first step
        b = momentum * b + (1 - dampening) * g      afterwards
        d = g + momentum * b if nesterov else b     (d = g without momentum)
        parameter = parameter - lr * d

    Sutskever et al., "On the importance of initialization and momentum in deep learning",
    ICML 2013, in the form of PyTorch, where `lr` multiplies the buffer.

    `momentum_buffer` is None where `momentum` is 0; `first` tells whether it still has to be
    filled.
    """
    for i in np.ndindex(parameter.shape):
        p, d = _start(parameter, gradient, i, weight_decay, maximize)
        if momentum_buffer is not None:
            b = d if first else momentum * float(momentum_buffer[i]) + (1 - dampening) * d
            momentum_buffer[i] = b
            d = d + momentum * b if nesterov else b
        parameter[i] = p - lr * d


def adam(
    parameter, gradient, exp_avg, exp_avg_sq, max_exp_avg_sq,
    step, lr, beta1, beta2, eps, weight_decay, decoupled, maximize,
):  # fmt: skip
    """One step of Adam, or of AdamW where `decoupled`.

    ::

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g^2
        u = max(u, v)                                        AMSGrad; else u = v
        parameter = parameter - lr * m / (1 - beta1^step)
                                / (sqrt(u / (1 - beta2^step)) + eps)

    Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1;
    Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019; Reddi et al.,
    "On the convergence of Adam and beyond", ICLR 2018, with the bias corrections of PyTorch.

    `exp_avg` is m, `exp_avg_sq` is v, and `max_exp_avg_sq` is u of AMSGrad or None.
    """
    for i in np.ndindex(parameter.shape):
        p, g = _start(parameter, gradient, i, weight_decay, maximize, lr if decoupled else 0)
        m = exp_avg[i] = beta1 * float(exp_avg[i]) + (1 - beta1) * g
        u = exp_avg_sq[i] = beta2 * float(exp_avg_sq[i]) + (1 - beta2) * g * g
        if max_exp_avg_sq is not None:
            u = max_exp_avg_sq[i] = max(float(max_exp_avg_sq[i]), u)
        denominator = math.sqrt(u / (1 - beta2**step)) + eps
        parameter[i] = p - lr * m / (1 - beta1**step) / denominator


def rmsprop(
    parameter, gradient, square_avg, grad_avg, momentum_buffer,
    lr, alpha, eps, weight_decay, momentum, maximize,
):  # fmt: skip
    """One step of RMSprop.

    ::

        v = alpha * v + (1 - alpha) * g^2
        a = alpha * a + (1 - alpha) * g             centered; else a = 0
        d = g / (sqrt(max(v - a^2, 0)) + eps)
        b = momentum * b + d                        with momentum; else b = d
        parameter = parameter - lr * b

    Tieleman and Hinton, "Lecture 6.5", 2012; centered: Graves, "Generating sequences with
    recurrent neural networks", 2013, equations 38 to 45, with `eps` outside the root.
    v - a^2 is a variance; where rounding makes it negative it counts as 0.

    `square_avg` is v, `grad_avg` is a or None, `momentum_buffer` is b or None.
    """
    for i in np.ndindex(parameter.shape):
        p, g = _start(parameter, gradient, i, weight_decay, maximize)
        variance = square_avg[i] = alpha * float(square_avg[i]) + (1 - alpha) * g * g
        if grad_avg is not None:
            a = grad_avg[i] = alpha * float(grad_avg[i]) + (1 - alpha) * g
            variance = max(variance - a * a, 0.0)
        d = g / (math.sqrt(variance) + eps)
        if momentum_buffer is not None:
            d = momentum_buffer[i] = momentum * float(momentum_buffer[i]) + d
        parameter[i] = p - lr * d


def adagrad(parameter, gradient, sum, step, lr, lr_decay, weight_decay, eps, maximize):
    """One step of Adagrad.

    ::

        s = s + g^2
        parameter = parameter - lr / (1 + (step - 1) * lr_decay) * g / (sqrt(s) + eps)

    Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and
    stochastic optimization", JMLR 12 (2011). `sum` is s.
    """
    for i in np.ndindex(parameter.shape):
        p, g = _start(parameter, gradient, i, weight_decay, maximize)
        s = sum[i] = float(sum[i]) + g * g
        parameter[i] = p - lr / (1 + (step - 1) * lr_decay) * g / (math.sqrt(s) + eps)


def adadelta(parameter, gradient, square_avg, acc_delta, lr, rho, eps, weight_decay, maximize):
    """One step of Adadelta.

    ::

        v = rho * v + (1 - rho) * g^2
        d = sqrt(u + eps) / sqrt(v + eps) * g
        u = rho * u + (1 - rho) * d^2
        parameter = parameter - lr * d

    Zeiler, "Adadelta: an adaptive learning rate method", 2012, algorithm 1, where lr = 1.
    `square_avg` is v and `acc_delta` is u.
    """
    for i in np.ndindex(parameter.shape):
        p, g = _start(parameter, gradient, i, weight_decay, maximize)
        v = square_avg[i] = rho * float(square_avg[i]) + (1 - rho) * g * g
        u = float(acc_delta[i])
        d = math.sqrt(u + eps) / math.sqrt(v + eps) * g
        acc_delta[i] = rho * u + (1 - rho) * d * d
        parameter[i] = p - lr * d


def adamax(
    parameter, gradient, exp_avg, exp_inf, step, lr, beta1, beta2, eps, weight_decay, maximize
):
    """One step of Adamax.

    ::

        m = beta1 * m + (1 - beta1) * g
        u = max(beta2 * u, |g| + eps)
        parameter = parameter - lr / (1 - beta1^step) * m / u

    Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 2, with
    PyTorch's `eps`. `exp_avg` is m and `exp_inf` is u.
    """
    for i in np.ndindex(parameter.shape):
        p, g = _start(parameter, gradient, i, weight_decay, maximize)
        m = exp_avg[i] = beta1 * float(exp_avg[i]) + (1 - beta1) * g
        u = exp_inf[i] = max(beta2 * float(exp_inf[i]), abs(g) + eps)
        parameter[i] = p - lr / (1 - beta1**step) * m / u


def nadam(
    parameter, gradient, exp_avg, exp_avg_sq,
    step, mu, mu_next, mu_product, lr, beta1, beta2, eps, weight_decay, decoupled, maximize,
):  # fmt: skip
    """One step of NAdam: Adam with Nesterov's momentum.

    ::

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g^2
        d = (1 - mu) / (1 - mu_product) * g + mu_next / (1 - mu_product * mu_next) * m
        parameter = parameter - lr * d / (sqrt(v / (1 - beta2^step)) + eps)

    Dozat, "Incorporating Nesterov momentum into Adam", 2016. `mu` is the momentum of this
    step, `mu_next` that of the next, `mu_product` the product of all up to this one.
    """
    for i in np.ndindex(parameter.shape):
        p, g = _start(parameter, gradient, i, weight_decay, maximize, lr if decoupled else 0)
        m = exp_avg[i] = beta1 * float(exp_avg[i]) + (1 - beta1) * g
        v = exp_avg_sq[i] = beta2 * float(exp_avg_sq[i]) + (1 - beta2) * g * g
        d = (1 - mu) / (1 - mu_product) * g + mu_next / (1 - mu_product * mu_next) * m
        parameter[i] = p - lr * d / (math.sqrt(v / (1 - beta2**step)) + eps)


def radam(
    parameter, gradient, exp_avg, exp_avg_sq,
    step, lr, beta1, beta2, eps, weight_decay, decoupled, maximize,
):  # fmt: skip
    """One step of RAdam: Adam that leaves v out while v is uncertain.

    ::

        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g^2
        d = m / (1 - beta1^step)
        d = d * r * sqrt(1 - beta2^step) / (sqrt(v) + eps)         if r is not None
        parameter = parameter - lr * d

    with r from :func:`rectification`. Liu et al., "On the variance of the adaptive learning
    rate and beyond", ICLR 2020, algorithm 2.
    """
    r = rectification(step, beta2)
    for i in np.ndindex(parameter.shape):
        p, g = _start(parameter, gradient, i, weight_decay, maximize, lr if decoupled else 0)
        m = exp_avg[i] = beta1 * float(exp_avg[i]) + (1 - beta1) * g
        v = exp_avg_sq[i] = beta2 * float(exp_avg_sq[i]) + (1 - beta2) * g * g
        d = m / (1 - beta1**step)
        if r is not None:
            d = d * r * math.sqrt(1 - beta2**step) / (math.sqrt(v) + eps)
        parameter[i] = p - lr * d


def rectification(step: int, beta2: float) -> float | None:
    """Return RAdam's factor r, or None where the variance cannot be estimated.

    ::

        n = 2 / (1 - beta2) - 1
        k = n - 2 * step * beta2^step / (1 - beta2^step)
        r = sqrt((k - 4) (k - 2) n / ((n - 4) (n - 2) k))          for k > 5
    """
    n = 2 / (1 - beta2) - 1
    k = n - 2 * step * beta2**step / (1 - beta2**step)
    return math.sqrt((k - 4) * (k - 2) * n / ((n - 4) * (n - 2) * k)) if k > 5 else None


def lamb(
    parameter, gradient, exp_avg, exp_avg_sq, step, lr, beta1, beta2, eps, weight_decay, maximize
):
    """One step of LAMB: Adam's direction at a length that follows the parameter's.

    ::

        m = beta1 * m + (1 - beta1) * gradient
        v = beta2 * v + (1 - beta2) * gradient^2
        d = m / (1 - beta1^step) / (sqrt(v / (1 - beta2^step)) + eps)
        d = d + weight_decay * parameter
        parameter = parameter - lr * |parameter| / |d| * d

    where |.| is the norm of the whole array; a quotient with a norm of 0 counts as 1.
    You et al., "Large batch optimization for deep learning: training BERT in 76 minutes",
    ICLR 2020, algorithm 2 with the identity for phi.
    """
    d = np.empty(parameter.shape)
    for i in np.ndindex(parameter.shape):
        p, g = _start(parameter, gradient, i, 0.0, maximize)
        m = exp_avg[i] = beta1 * float(exp_avg[i]) + (1 - beta1) * g
        v = exp_avg_sq[i] = beta2 * float(exp_avg_sq[i]) + (1 - beta2) * g * g
        d[i] = m / (1 - beta1**step) / (math.sqrt(v / (1 - beta2**step)) + eps) + weight_decay * p
    length = math.sqrt(sum_of_squares(parameter))
    direction = math.sqrt(sum_of_squares(d))
    ratio = length / direction if length > 0 and direction > 0 else 1.0
    for i in np.ndindex(parameter.shape):
        parameter[i] = float(parameter[i]) - lr * ratio * d[i]


def sum_of_squares(array) -> float:
    """Return the sum of the squares of the elements."""
    return math.fsum(float(array[i]) ** 2 for i in np.ndindex(array.shape))


def lion(parameter, gradient, exp_avg, lr, beta1, beta2, weight_decay, maximize):
    """One step of Lion: the sign of a momentum, with decoupled weight decay.

    ::

        d = sign(beta1 * m + (1 - beta1) * gradient)
        parameter = parameter * (1 - lr * weight_decay) - lr * d
        m = beta2 * m + (1 - beta2) * gradient

    Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023, program 1.
    `exp_avg` is m.
    """
    for i in np.ndindex(parameter.shape):
        p, g = _start(parameter, gradient, i, weight_decay, maximize, lr)
        m = float(exp_avg[i])
        d = float(np.sign(beta1 * m + (1 - beta1) * g))
        parameter[i] = p - lr * d
        exp_avg[i] = beta2 * m + (1 - beta2) * g


def average(mean, value, weight):
    """Move a running mean towards a value: ``mean = mean + weight * (value - mean)``."""
    for i in np.ndindex(mean.shape):
        mean[i] = float(mean[i]) + weight * (float(value[i]) - float(mean[i]))
