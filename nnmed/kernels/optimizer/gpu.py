"""Update steps on the GPU: one launch for all parameters (LAMB: two).

The formulas, and the meaning of the arguments, stand in ``reference.py``. A function here is
called with them and returns what the kernel of its name in ``update.cu`` takes for a parameter:
a row of numbers, as computed from learning rate, step count and the like; the decorator then
makes it the step itself.

Nothing that changes between steps is an argument of a launch: the numbers lie in a table on the
device, which :mod:`gpu_table` keeps. So a step that was captured in a CUDA graph can be replayed
with others::

    with stream:
        update_all("adam", calls)            # once before, to compile
        stream.begin_capture()
        update_all("adam", calls)            # the graph holds the launches and the pointers
        graph = stream.end_capture()
        write_numbers("adam", later_calls)   # before each replay, the first too
        graph.launch()
"""

from __future__ import annotations

import functools
import math

import numpy as np

from nnmed.backend import cuda
from nnmed.backend.arrays import empty_like
from nnmed.backend.cuda import THREADS, Source
from nnmed.kernels.optimizer.gpu_norm import clipped, sum_of_squares, total_norm, unscaled
from nnmed.kernels.optimizer.gpu_table import find_table, group_by_dtype
from nnmed.kernels.optimizer.reference import rectification

__all__ = [
    "adadelta", "adagrad", "adam", "adamax", "average", "clipped", "lamb", "lion", "nadam",
    "radam", "rmsprop", "sgd", "sum_of_squares", "total_norm", "unscaled", "update_all",
    "write_numbers",
]  # fmt: skip

_update = Source(__file__, "update.cu")
_lamb = Source(__file__, "lamb.cu")
_rules: dict = {}


def update_all(name: str, calls: list[tuple], scaling=None) -> None:
    """Do what the function `name` of this module does with each of the tuples of arguments.

    Parameters
    ----------
    name : str
    calls : list of tuple
        Arguments of each parameter.
    scaling : cupy.ndarray, (2,), optional
        A number that the gradients are divided by, such as a loss scale, and a flag: where it
        is not 0, as after an overflow, nothing is changed. The host need not know them.
    """
    count, _ = _rules[name]
    for group in group_by_dtype(calls):
        used = [_alike(call[:count]) for call in group]
        table = find_table(name, [arrays[0] for arrays in used])
        table.write_numbers(_numbers(name, group))
        launch = _launch_lamb if name == "lamb" else _launch
        dtype = used[0][0].dtype
        factor_and_flag = None if scaling is None else scaling.astype(dtype, copy=False)
        launch(name, dtype, table, table.point(used), factor_and_flag)
        for call, arrays in zip(group, used):
            _write_back(call, arrays)


def write_numbers(name: str, calls: list[tuple]) -> None:
    """Bring the numbers of a step to the device, for the replay of a captured :func:`update_all`.

    `calls` has parameters of the same sizes in the same order; what else is captured, such as
    where gradients lie, stays. The current stream is the one that captured.
    """
    for group in group_by_dtype(calls):
        find_table(name, [call[0] for call in group]).write_numbers(_numbers(name, group))


def _numbers(name, calls) -> list[tuple]:
    _, rule = _rules[name]
    return [rule(*call) for call in calls]


def _launch(name, dtype, table, pointers, scaling):
    _update.launch(
        name, dtype, (table.blocks,), (THREADS,), table.chunks, pointers, table.numbers, scaling,
        table.length,
    )  # fmt: skip


def _launch_lamb(_, dtype, table, pointers, scaling):
    partials = cuda.cupy().empty((table.blocks, 2), np.float64)
    for kernel in ("lamb_moments", "lamb_move"):
        _lamb.launch(
            kernel, dtype, (table.blocks,), (THREADS,), table.chunks, pointers, table.numbers,
            scaling, partials, table.length,
        )  # fmt: skip


def _alike(arrays):
    """Return the arrays, or copies where they have gaps or another memory order than the first."""
    if all(array is None or array.flags.c_contiguous for array in arrays):
        return arrays
    strides = empty_like(arrays[0]).strides
    return [
        array if array is None or array.strides == strides else _copy_in_order_of(arrays[0], array)
        for array in arrays
    ]


def _copy_in_order_of(first, array):
    copy = empty_like(first)
    copy[...] = array
    return copy


def _write_back(arrays, used) -> None:
    """Write what was computed in copies into the arrays themselves, but for the gradient."""
    for position, (array, copy) in enumerate(zip(arrays, used)):
        if copy is not array and position != 1:
            array[...] = copy


# -- the rules, in the order of the structs in the .cu files --------------------------------------


def _rule(arrays: int):
    """Make of a function that returns a kernel's numbers a step on `arrays` arrays."""

    def decorate(function):
        name = function.__name__
        _rules[name] = arrays, function

        @functools.wraps(function)
        def step(*arguments):
            update_all(name, [arguments])

        return step

    return decorate


def _sign(maximize):
    return -1.0 if maximize else 1.0


def _decays(lr, weight_decay, decoupled):
    """Return what is added to the gradient, and what the parameter is multiplied by."""
    return (0.0, 1 - lr * weight_decay) if decoupled else (weight_decay, 1.0)


@_rule(arrays=3)
def sgd(p, g, b, lr, momentum, dampening, weight_decay, nesterov, first, maximize):
    """One step of gradient descent with momentum."""
    keep, take = (0.0, 1.0) if first else (momentum, 1 - dampening)
    look_ahead = momentum if nesterov else 0.0
    return _sign(maximize), weight_decay, keep, take, look_ahead, lr


@_rule(arrays=5)
def adam(p, g, m, v, u, step, lr, beta1, beta2, eps, weight_decay, decoupled, maximize):
    """One step of Adam or AdamW."""
    root = math.sqrt(1 - beta2**step)
    return (
        _sign(maximize), *_decays(lr, weight_decay, decoupled), beta1, 1 - beta1, beta2, 1 - beta2,
        root * eps, lr * root / (1 - beta1**step),
    )  # fmt: skip


@_rule(arrays=5)
def rmsprop(p, g, v, a, b, lr, alpha, eps, weight_decay, momentum, maximize):
    """One step of RMSprop."""
    return _sign(maximize), weight_decay, alpha, 1 - alpha, eps, momentum, lr


@_rule(arrays=3)
def adagrad(p, g, s, step, lr, lr_decay, weight_decay, eps, maximize):
    """One step of Adagrad."""
    return _sign(maximize), weight_decay, eps, lr / (1 + (step - 1) * lr_decay)


@_rule(arrays=4)
def adadelta(p, g, v, u, lr, rho, eps, weight_decay, maximize):
    """One step of Adadelta."""
    return _sign(maximize), weight_decay, rho, 1 - rho, eps, lr


@_rule(arrays=4)
def adamax(p, g, m, u, step, lr, beta1, beta2, eps, weight_decay, maximize):
    """One step of Adamax."""
    rate = lr / (1 - beta1**step)
    return _sign(maximize), weight_decay, beta1, 1 - beta1, beta2, eps, rate


@_rule(arrays=4)
def nadam(
    p, g, m, v, step, mu, mu_next, mu_product,
    lr, beta1, beta2, eps, weight_decay, decoupled, maximize,
):  # fmt: skip
    """One step of NAdam."""
    return (
        _sign(maximize), *_decays(lr, weight_decay, decoupled), beta1, 1 - beta1, beta2, 1 - beta2,
        lr * (1 - mu) / (1 - mu_product), lr * mu_next / (1 - mu_product * mu_next),
        1 / (1 - beta2**step), eps,
    )  # fmt: skip


@_rule(arrays=4)
def radam(p, g, m, v, step, lr, beta1, beta2, eps, weight_decay, decoupled, maximize):
    """One step of RAdam."""
    r, rate = rectification(step, beta2), lr / (1 - beta1**step)
    if r is not None:
        rate *= r * math.sqrt(1 - beta2**step)
    return (
        _sign(maximize), *_decays(lr, weight_decay, decoupled), beta1, 1 - beta1, beta2, 1 - beta2,
        float(r is not None), eps, rate,
    )  # fmt: skip


@_rule(arrays=4)
def lamb(p, g, m, v, step, lr, beta1, beta2, eps, weight_decay, maximize):
    """One step of LAMB."""
    root = math.sqrt(1 - beta2**step)
    return (
        _sign(maximize), weight_decay, beta1, 1 - beta1, beta2, 1 - beta2,
        root * eps, root / (1 - beta1**step), lr,
    )  # fmt: skip


@_rule(arrays=3)
def lion(p, g, m, lr, beta1, beta2, weight_decay, maximize):
    """One step of Lion."""
    shrink = 1 - lr * weight_decay
    return _sign(maximize), shrink, beta1, 1 - beta1, beta2, 1 - beta2, lr


@_rule(arrays=2)
def average(mean, value, weight):
    """Move a running mean towards a value."""
    return (weight,)
