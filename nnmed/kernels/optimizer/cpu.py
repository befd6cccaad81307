"""Update steps in NumPy, in chunks small enough that a chain of operations stays in cache.

The formulas, and the meaning of the arguments, stand in ``reference.py``. A rule here is
written for one chunk; :func:`update_all` takes the chunks of all parameters at once to the
threads. Every operation is element-wise, so neither the chunks nor the threads change a bit
of the result.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from nnmed.backend.threads import chunks, parallel_for
from nnmed.kernels.elementwise import quietly, temporaries
from nnmed.kernels.optimizer.reference import rectification

# Elements in a chunk. Small ones would stay in L2, but then the calls into NumPy, one thread
# at a time, cost more than the memory they save. Measured on the 11.2 million parameters of a
# ResNet-18 (Adam, ms, one thread | two): 25 | 40 at 16384, 21 | 16 at 65536, 20 | 12 at 262144.
CHUNK = 262144

_rules: dict = {}


def update_all(name: str, calls: list[tuple]) -> None:
    """Call the function `name` of this module with each of the tuples of arguments."""
    _rules[name](calls)


def unscaled(arrays, numbers) -> list:
    """Return copies of `arrays`, divided by the loss scale, and note whether one is not finite.

    `numbers`, float32, are the scale; 1; and a flag, which becomes 1 if an element is infinite or
    NaN.
    """
    if not all(np.isfinite(array).all() for array in arrays):
        numbers[2] = 1
    return [np.divide(array, array.dtype.type(numbers[0])) for array in arrays]


def _elementwise(rule):
    """Make of a rule for one chunk a function on whole arrays of any layout."""
    _rules[rule.__name__] = functools.partial(_run, rule)

    @functools.wraps(rule)
    def step(*arguments):
        _run(rule, [arguments])

    return step


def _run(rule, calls) -> list[list]:
    """Call `rule` on flat chunks of the arrays of each call; return what it gave for each."""
    flat = [[_flat(argument) for argument in arguments] for arguments in calls]
    pieces = [
        (number, start, stop)
        for number, arguments in enumerate(flat)
        for start, stop in chunks(arguments[0].size, CHUNK)
    ]
    results: list = [None] * len(pieces)

    def task(index):
        number, start, stop = pieces[index]
        results[index] = quietly(rule, *[
            a[start:stop] if isinstance(a, np.ndarray) else a for a in flat[number]
        ])  # fmt: skip

    parallel_for(task, len(pieces))
    for arguments, flattened in zip(calls, flat):
        for position, array in enumerate(arguments):
            # A transposed array was copied into order, so the result goes back.
            if isinstance(array, np.ndarray) and position != 1 and not array.flags.c_contiguous:
                array[...] = flattened[position].reshape(array.shape)
    grouped: list = [[] for _ in calls]
    for (number, _, _), result in zip(pieces, results):
        grouped[number].append(result)
    return grouped


def _flat(argument):
    if isinstance(argument, np.ndarray):
        return np.ascontiguousarray(argument).reshape(-1)
    return argument


def _gradient(p, g, weight_decay, maximize, out):
    """Return what the formulas call g, in `out` unless it is the gradient itself."""
    if weight_decay:
        np.multiply(p, weight_decay, out=out)
        return np.subtract(out, g, out=out) if maximize else np.add(out, g, out=out)
    return np.negative(g, out=out) if maximize else g


def _average(mean, value, weight, scratch):
    """``mean = (1 - weight) * mean + weight * value``"""
    np.multiply(value, weight, out=scratch)
    mean *= 1 - weight
    mean += scratch


def _average_square(mean, value, weight, scratch):
    """``mean = (1 - weight) * mean + weight * value^2``"""
    np.multiply(value, value, out=scratch)
    scratch *= weight
    mean *= 1 - weight
    mean += scratch


@_elementwise
def sgd(p, g, b, lr, momentum, dampening, weight_decay, nesterov, first, maximize):
    """One step of gradient descent with momentum."""
    scratch, other = temporaries(2, p.size, p.dtype)
    d = _gradient(p, g, weight_decay, maximize, scratch)
    if b is not None:
        if first:
            b[...] = d
        else:
            b *= momentum
            b += np.multiply(d, 1 - dampening, out=other) if dampening else d
        d = np.add(d, np.multiply(b, momentum, out=other), out=scratch) if nesterov else b
    p -= np.multiply(d, lr, out=scratch)


@_elementwise
def adam(p, g, m, v, u, step, lr, beta1, beta2, eps, weight_decay, decoupled, maximize):
    """One step of Adam or AdamW."""
    scratch, other = temporaries(2, p.size, p.dtype)
    g = _decayed(p, g, lr, weight_decay, decoupled, maximize, other)
    _average(m, g, 1 - beta1, scratch)
    _average_square(v, g, 1 - beta2, scratch)
    if u is not None:
        v = np.maximum(u, v, out=u)
    # m / (sqrt(v) / root + eps) = root * m / (sqrt(v) + root * eps) saves a division.
    root = math.sqrt(1 - beta2**step)
    np.sqrt(v, out=scratch)
    scratch += root * eps
    np.divide(m, scratch, out=scratch)
    scratch *= lr * root / (1 - beta1**step)
    p -= scratch


def _decayed(p, g, lr, weight_decay, decoupled, maximize, out):
    """Return g; where weight decay is decoupled, apply it to the parameter."""
    if decoupled and weight_decay:
        p *= 1 - lr * weight_decay
    return _gradient(p, g, 0 if decoupled else weight_decay, maximize, out)


@_elementwise
def rmsprop(p, g, v, a, b, lr, alpha, eps, weight_decay, momentum, maximize):
    """One step of RMSprop."""
    scratch, other = temporaries(2, p.size, p.dtype)
    g = _gradient(p, g, weight_decay, maximize, other)
    _average_square(v, g, 1 - alpha, scratch)
    if a is not None:
        _average(a, g, 1 - alpha, scratch)
        np.multiply(a, a, out=scratch)
        np.subtract(v, scratch, out=scratch)
        v = np.maximum(scratch, 0, out=scratch)
    np.sqrt(v, out=scratch)
    scratch += eps
    d = np.divide(g, scratch, out=scratch)
    if b is not None:
        b *= momentum
        b += d
        d = b
    p -= np.multiply(d, lr, out=scratch)


@_elementwise
def adagrad(p, g, s, step, lr, lr_decay, weight_decay, eps, maximize):
    """One step of Adagrad."""
    scratch, other = temporaries(2, p.size, p.dtype)
    g = _gradient(p, g, weight_decay, maximize, other)
    s += np.multiply(g, g, out=scratch)
    np.sqrt(s, out=scratch)
    scratch += eps
    np.divide(g, scratch, out=scratch)
    scratch *= lr / (1 + (step - 1) * lr_decay)
    p -= scratch


@_elementwise
def adadelta(p, g, v, u, lr, rho, eps, weight_decay, maximize):
    """One step of Adadelta."""
    scratch, other, d = temporaries(3, p.size, p.dtype)
    g = _gradient(p, g, weight_decay, maximize, other)
    _average_square(v, g, 1 - rho, scratch)
    np.sqrt(np.add(u, eps, out=d), out=d)
    d /= np.sqrt(np.add(v, eps, out=scratch), out=scratch)
    d *= g
    _average_square(u, d, 1 - rho, scratch)
    d *= lr
    p -= d


@_elementwise
def adamax(p, g, m, u, step, lr, beta1, beta2, eps, weight_decay, maximize):
    """One step of Adamax."""
    scratch, other = temporaries(2, p.size, p.dtype)
    g = _gradient(p, g, weight_decay, maximize, other)
    _average(m, g, 1 - beta1, scratch)
    u *= beta2
    np.abs(g, out=scratch)
    scratch += eps
    np.maximum(u, scratch, out=u)
    np.divide(m, u, out=scratch)
    scratch *= lr / (1 - beta1**step)
    p -= scratch


@_elementwise
def nadam(
    p, g, m, v, step, mu, mu_next, mu_product,
    lr, beta1, beta2, eps, weight_decay, decoupled, maximize,
):  # fmt: skip
    """One step of NAdam."""
    scratch, other, d = temporaries(3, p.size, p.dtype)
    g = _decayed(p, g, lr, weight_decay, decoupled, maximize, other)
    _average(m, g, 1 - beta1, scratch)
    _average_square(v, g, 1 - beta2, scratch)
    np.multiply(g, lr * (1 - mu) / (1 - mu_product), out=d)
    d += np.multiply(m, lr * mu_next / (1 - mu_product * mu_next), out=scratch)
    np.multiply(v, 1 / (1 - beta2**step), out=scratch)
    np.sqrt(scratch, out=scratch)
    scratch += eps
    d /= scratch
    p -= d


@_elementwise
def radam(p, g, m, v, step, lr, beta1, beta2, eps, weight_decay, decoupled, maximize):
    """One step of RAdam."""
    scratch, other = temporaries(2, p.size, p.dtype)
    g = _decayed(p, g, lr, weight_decay, decoupled, maximize, other)
    _average(m, g, 1 - beta1, scratch)
    _average_square(v, g, 1 - beta2, scratch)
    size, r = lr / (1 - beta1**step), rectification(step, beta2)
    if r is None:
        np.multiply(m, size, out=scratch)
    else:
        np.sqrt(v, out=scratch)
        scratch += eps
        np.divide(m, scratch, out=scratch)
        scratch *= size * r * math.sqrt(1 - beta2**step)
    p -= scratch


@_elementwise
def lion(p, g, m, lr, beta1, beta2, weight_decay, maximize):
    """One step of Lion."""
    scratch, other, d = temporaries(3, p.size, p.dtype)
    g = _decayed(p, g, lr, weight_decay, True, maximize, other)
    np.multiply(m, beta1, out=d)
    d += np.multiply(g, 1 - beta1, out=scratch)
    np.sign(d, out=d)
    d *= lr
    p -= d
    _average(m, g, 1 - beta2, scratch)


@_elementwise
def average(mean, value, weight):
    """Move a running mean towards a value."""
    (scratch,) = temporaries(1, mean.size, mean.dtype)
    np.subtract(value, mean, out=scratch)
    scratch *= weight
    mean += scratch


def lamb(*arguments):
    """One step of LAMB."""
    _lamb([arguments])


def _lamb(calls):
    directions = [np.empty(arguments[0].size, arguments[0].dtype) for arguments in calls]
    squares = _run(_lamb_direction, [
        (d, gradient, parameter, *rest)
        for d, (parameter, gradient, *rest) in zip(directions, calls)
    ])  # fmt: skip
    moves = []
    for (parameter, _, _, _, _, lr, *_), d, parts in zip(calls, directions, squares):
        length, direction = (math.sqrt(math.fsum(column)) for column in zip((0, 0), *parts))
        ratio = length / direction if length > 0 and direction > 0 else 1.0
        moves.append((parameter, d, lr * ratio))
    _run(_lamb_move, moves)


_rules["lamb"] = _lamb


def _lamb_direction(d, g, p, m, v, step, lr, beta1, beta2, eps, weight_decay, maximize):
    """Write LAMB's direction; return the sums of squares of its chunk and the parameter's."""
    scratch, other = temporaries(2, p.size, p.dtype)
    g = _gradient(p, g, 0, maximize, other)
    _average(m, g, 1 - beta1, scratch)
    _average_square(v, g, 1 - beta2, scratch)
    root = math.sqrt(1 - beta2**step)
    np.sqrt(v, out=scratch)
    scratch += root * eps
    np.divide(m, scratch, out=d)
    d *= root / (1 - beta1**step)
    if weight_decay:
        d += np.multiply(p, weight_decay, out=scratch)
    return float(np.dot(p, p)), float(np.dot(d, d))


def _lamb_move(p, d, size):
    d *= size
    p -= d
