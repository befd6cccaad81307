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


def unary(op, x=NUMBERS, /, **values):
    """Return the case of an op of x alone; `op` is made of the parameters, in their order."""
    return Case(lambda: op(*values.values()), dict(x=x), values)


def binary(op, a=NUMBERS, b=OTHERS):
    """Return the case of an op of a and b."""
    return Case(op, dict(a=a, b=b))


def shrink(op):
    """Return the case of an op with a threshold lambda."""
    return Case(lambda: op(0.6), dict(x=NUMBERS), {r"\lambda": 0.6})


def exponential(op, alpha, scale=1.0, input_scale=1.0):
    """Return the case of an exponential linear unit."""
    values = {r"\alpha": alpha, "s": scale}
    return Case(lambda: op(alpha, scale, input_scale), dict(x=NUMBERS), values)


def glu(dim):
    """Return the case of a gated linear unit, whose formula speaks of the halves of x."""
    a, b = np.split(NUMBERS, 2, dim)
    views = dict(x=lambda x: np.stack(np.split(x, 2, dim)))
    return Case(lambda: smooth.Glu(dim), dict(x=NUMBERS), dict(a=a, b=b), views=views)


def dropped(op, p, bits):
    """Return the case of a dropout op; bit i tells whether element i is kept."""
    mask = np.unpackbits(bits, bitorder="little")[: MANY.size]
    values = dict(p=p, m=mask.astype(float))
    return Case(op, dict(x=MANY), values, views=dict(x=np.ravel, y=np.ravel))


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
    unary(ew.PowScalar, POSITIVE, p=-1.7),
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
    unary(selection.Clip, l=-1.0, h=0.5),
    Case(
        selection.Where,
        dict(condition=HOLDS, a=NUMBERS, b=OTHERS),
        symbols=dict(condition="c"),
    ),
]
ACTIVATIONS = [
    unary(act.Relu),
    unary(act.LeakyRelu, a=0.2),
    unary(act.Sigmoid),
    unary(act.Tanh),
    unary(act.Silu),
    unary(act.Erf),
    unary(lambda: act.Gelu("none")),
    unary(lambda: act.GeluTanh("tanh")),
    unary(piecewise.Threshold, t=0.5, v=-1.5),
    unary(piecewise.Hardtanh, l=-1.0, h=0.5),
    unary(piecewise.Hardsigmoid),
    unary(piecewise.Hardswish),
    shrink(piecewise.Hardshrink),
    shrink(piecewise.Softshrink),
    Case(piecewise.PRelu, dict(x=NUMBERS, w=OTHERS)),
    exponential(smooth.Elu, 0.7),
    exponential(smooth.Selu, 1.6732632423543772, 1.0507009873554805),
    exponential(smooth.Celu, 0.7, 1.0, 1 / 0.7),
    Case(lambda: smooth.Softplus(1.5, 2.0), dict(x=NUMBERS), {r"\beta": 1.5, "t": 2.0}),
    unary(smooth.LogSigmoid),
    unary(smooth.Softsign),
    unary(smooth.Tanhshrink),
    unary(smooth.Mish),
    glu(2),
]
DROPOUT = [
    dropped(lambda: dropout.Dropout(0.3, (5, 7)), 0.3, bits_of(0.3, (5, 7))),
    dropped(lambda: dropout.DropoutGrad(0.3, bits_of(0.3, (5, 7))), 0.3, bits_of(0.3, (5, 7))),
]
