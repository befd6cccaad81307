"""Dropout, with masks that are a function of (seed, stream, step)."""

from __future__ import annotations

import math

import numpy as np

from nnmed.autograd import Notation, Op, Tensor, made_when_read
from nnmed.backend.arrays import to_device
from nnmed.backend.random import draw_key
from nnmed.errors import UsageError
from nnmed.kernels import select
from nnmed.ops.arguments import as_tensor, check_numbers, check_same_dtype, reject_inplace


def _notation(shape, bits, p) -> Notation:
    """Return what the symbols in formulas with a mask stand for; i numbers all elements."""

    def mask():
        ones = np.ones(shape)
        return select("activation", ones).dropout_grad(ones, to_device(bits, "cpu"), 0.0).ravel()

    return Notation({"m": made_when_read(mask), "p": p}, views={"x": np.ravel, "y": np.ravel})


class Dropout(Op):
    """y = m x / (1 - p),   dx = m dy / (1 - p),   m = 1 with probability 1 - p, else 0

    Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting",
    JMLR 15 (2014), scaled in training instead of in testing.

    The mask m is a function of the Philox `key` alone: element i is kept if word i of the
    key's sequence is at least p * 2^32, the elements of an (N, C, H, W) or (N, C, D, H, W)
    array being numbered with C last and those of others in row-major order, wherever and
    however they lie in memory. One bit an element is kept for backward.
    """

    forward_latex = r"y_i = \frac{m_i}{1 - p}\, x_i, \quad m_i \sim \operatorname{Bernoulli}(1-p)"
    backward_latex = {
        "x": r"\frac{\partial L}{\partial x_i} = \frac{m_i}{1 - p} \frac{\partial L}{\partial y_i}"
    }

    def __init__(self, p: float, key: tuple[int, int]):
        self.p, self.key = p, key

    def notation(self):
        return _notation(self.input_shapes[0], self.kept["bits"], self.p)

    def forward(self, x):
        y, bits = select("activation", x).dropout(x, self.p, self.key)
        self.keep(bits=bits)
        return y

    def backward(self, dy):
        return DropoutGrad(self.p, self.kept["bits"])(dy)

    def flops(self, inputs, output):
        return 2 * math.prod(output)


class DropoutGrad(Op):
    """y = m x / (1 - p),   dx = m dy / (1 - p),   for a mask m that was drawn before"""

    forward_latex = r"y_i = \frac{m_i}{1 - p}\, x_i"
    backward_latex = Dropout.backward_latex

    def __init__(self, p: float, bits):
        self.p, self.bits = p, bits

    def notation(self):
        return _notation(self.input_shapes[0], self.bits, self.p)

    def forward(self, x):
        return select("activation", x).dropout_grad(x, self.bits, self.p)

    def backward(self, dy):
        return DropoutGrad(self.p, self.bits)(dy)

    def flops(self, inputs, output):
        return 2 * math.prod(output)


def dropout(
    input, p: float = 0.5, training: bool = True, inplace: bool = False, *, stream: int = 0
) -> Tensor:
    """Zero each element with probability `p` and scale the others by 1 / (1 - p).

    Parameters
    ----------
    input : Tensor
        Any shape.
    p : float
        Probability of an element to be zeroed, in [0, 1].
    training : bool
        Without it the input itself is returned.
    stream : int
        Stream of random numbers (``nnmed.backend.random.new_stream``); each call takes its
        next step. ``nn.Dropout`` has one of its own; calls without share stream 0.

    Raises
    ------
    UsageError
        If `p` lies outside [0, 1].
    """
    x = checked_dropout("dropout", input, p, inplace)
    if not training or p == 0:
        return x
    return Dropout(float(p), draw_key(stream))(x)


def checked_dropout(name: str, input, p: float, inplace: bool) -> Tensor:
    """Return `input` as a tensor, once the arguments of function `name` have been checked."""
    reject_inplace(name, inplace)
    check_numbers(name, p=p)
    if not 0 <= p <= 1:
        raise UsageError(f"{name}: p must lie in [0, 1], got {p}")
    x = as_tensor(input)
    check_same_dtype(name, input=x)
    return x
