"""Cases of ops that go element by element: arithmetic, activations, choices, dropout."""

from __future__ import annotations

import numpy as np

from nnmed import kernels
from nnmed.nn.hooks import GradientProbe
from nnmed.ops import activation as act
from nnmed.ops import activation_piecewise as piecewise
from nnmed.ops import activation_smooth as smooth
from nnmed.ops import device, dropout, selection
from nnmed.ops import elementwise as ew
from tests.ops.formulas.case import Case

rng = np.random.default_rng(3)
NUMBERS = rng.standard_normal((2, 3, 4)) * 2
NUMBERS[0, 0], NUMBERS[0, 1, :2] = (0, -1, 0.5, 0.6), (3, -3)  # kinks and limits
OTHERS = rng.standard_normal((2, 3, 4)) * 2
POSITIVE = np.abs(NUMBERS) + 0.3
TIED = np.where(rng.random((2, 3, 4)) < 0.3, NUMBERS, OTHERS)
MANY = np.random.default_rng(4).standard_normal((4, 10, 10))  # enough to show a probability
HOLDS = rng.integers(0, 2, (2, 3, 4)).astype(bool)


def unary(op, x=NUMBERS, /, *parameters):
    """Return the case of an op of x alone."""
    return Case(lambda: op(*parameters), dict(x=x))


def binary(op, a=NUMBERS, b=OTHERS):
    """Return the case of an op of a and b."""
    return Case(op, dict(a=a, b=b))


def bits_of(p, key):
    """Return the mask that dropout draws from `key`."""
    return kernels.select("activation", MANY).dropout(MANY, p, key)[1]


ARITHMETIC = [
    binary(ew.Add),
    binary(ew.Sub),
    binary(ew.Mul),
    binary(ew.Div),
    binary(ew.Pow, a=POSITIVE),
    unary(ew.Neg),
    unary(ew.PowScalar, POSITIVE, -1.7),
    unary(ew.Exp),
    unary(ew.Log, POSITIVE),
    unary(ew.Sqrt, POSITIVE),
    unary(ew.Sin),
    unary(ew.Cos),
    unary(ew.Abs),
    unary(ew.Clone),
    Case(lambda: ew.Cast(np.dtype(np.float64)), dict(x=NUMBERS)),
    Case(lambda: device.ToDevice("cpu"), dict(x=NUMBERS)),
    Case(lambda: GradientProbe(lambda dy: None), dict(x=NUMBERS)),
]
CHOICES = [
    binary(selection.Maximum, b=TIED),
    binary(selection.Minimum, b=TIED),
    unary(selection.Clip, NUMBERS, -1.0, 0.5),
    Case(lambda: selection.Clip(None, 0.5), dict(x=NUMBERS), "above"),
    Case(lambda: selection.Clip(-1.0, None), dict(x=NUMBERS), "below"),
    Case(selection.Where, dict(condition=HOLDS, a=NUMBERS, b=OTHERS)),
]
ACTIVATIONS = [
    unary(act.Relu),
    unary(act.LeakyRelu, NUMBERS, 0.2),
    unary(act.Sigmoid),
    unary(act.Tanh),
    unary(act.Silu),
    unary(act.Erf),
    unary(lambda: act.Gelu("none")),
    unary(lambda: act.GeluTanh("tanh")),
    unary(piecewise.Threshold, NUMBERS, 0.5, -1.5),
    unary(piecewise.Hardtanh, NUMBERS, -1.0, 0.5),
    unary(piecewise.Hardsigmoid),
    unary(piecewise.Hardswish),
    unary(piecewise.Hardshrink, NUMBERS, 0.6),
    unary(piecewise.Softshrink, NUMBERS, 0.6),
    Case(piecewise.PRelu, dict(x=NUMBERS, w=OTHERS)),
    unary(smooth.Elu, NUMBERS, 0.7),
    unary(smooth.Selu, NUMBERS, 1.6732632423543772, 1.0507009873554805),
    unary(smooth.Celu, NUMBERS, 0.7, 1.0, 1 / 0.7),
    unary(smooth.Softplus, NUMBERS, 1.5, 2.0),
    unary(smooth.LogSigmoid),
    unary(smooth.Softsign),
    unary(smooth.Tanhshrink),
    unary(smooth.Mish),
    unary(smooth.Glu, NUMBERS, 2),
]
DROPOUT = [
    unary(dropout.Dropout, MANY, 0.3, (5, 7)),
    unary(dropout.DropoutGrad, MANY, 0.3, bits_of(0.3, (5, 7))),
]
