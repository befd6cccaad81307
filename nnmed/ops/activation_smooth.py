"""Further smooth activation functions: made of exp, tanh and log."""

from __future__ import annotations

import math

import numpy as np

from nnmed.autograd import Notation, Op, Tensor
from nnmed.backend.arrays import empty_like
from nnmed.errors import ShapeError, UsageError
from nnmed.kernels import select
from nnmed.ops.activation import DX, Activation, Sigmoid, Tanh, checked
from nnmed.ops.arguments import check_numbers, dimension, reject_inplace
from nnmed.ops.elementwise import abs, exp
from nnmed.ops.selection import clip, where
from nnmed.ops.shape import concatenate, split

_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


class Elu(Activation):
    """y = x if x > 0 else a (exp(x) - 1),   dx = dy (1 if x > 0 else a exp(x))

    Clevert et al., "Fast and accurate deep network learning by exponential linear units",
    ICLR 2016.
    """

    forward_latex = r"y = \begin{cases} x & x > 0 \\ \alpha\, (e^x - 1) & x \le 0 \end{cases}"
    backward_latex = {"x": DX + r"\begin{cases} 1 & x > 0 \\ \alpha\, e^x & x \le 0 \end{cases}"}
    kernel, symbols, operations = "elu", (r"\alpha", "s"), 3

    def __init__(self, alpha: float, scale: float = 1.0, input_scale: float = 1.0):
        super().__init__(alpha, scale, input_scale)

    def backward(self, dy):
        (x,), (alpha, scale, input_scale) = self.inputs, self.parameters
        # Without the limit, exp would overflow where its value is not used.
        power = exp(clip(x, max=0.0) * input_scale)
        return where(x > 0, dy * scale, dy * (alpha * scale * input_scale * power))


class Selu(Elu):
    """y = s x if x > 0 else s a (exp(x) - 1),   dx = dy (s if x > 0 else s a exp(x))

    With s = 1.0507... and a = 1.6733... the activations of a deep network keep mean 0 and
    variance 1. Klambauer et al., "Self-normalizing neural networks", NeurIPS 2017.
    """

    forward_latex = (
        r"y = s \begin{cases} x & x > 0 \\ \alpha\, (e^x - 1) & x \le 0 \end{cases}, \quad "
        r"s \approx 1.0507, \quad \alpha \approx 1.6733"
    )
    backward_latex = {
        "x": DX + r"\, s \begin{cases} 1 & x > 0 \\ \alpha\, e^x & x \le 0 \end{cases}"
    }


class Celu(Elu):
    """y = x if x > 0 else a (exp(x / a) - 1),   dx = dy (1 if x > 0 else exp(x / a))

    Barron, "Continuously differentiable exponential linear units", 2017.
    """

    forward_latex = (
        r"y = \begin{cases} x & x > 0 \\ \alpha\, (e^{x / \alpha} - 1) & x \le 0 \end{cases}"
    )
    backward_latex = {"x": DX + r"\begin{cases} 1 & x > 0 \\ e^{x / \alpha} & x \le 0 \end{cases}"}


class Softplus(Activation):
    """y = log(1 + exp(b x)) / b,   dx = dy / (1 + exp(-b x));   y = x and dx = dy where b x > t"""

    forward_latex = (
        r"y = \begin{cases} \frac{1}{\beta} \ln\left(1 + e^{\beta x}\right) & \beta x \le t \\ "
        r"x & \beta x > t \end{cases}"
    )
    backward_latex = {
        "x": DX + r"\begin{cases} \sigma(\beta x) & \beta x \le t \\ 1 & \beta x > t \end{cases}"
    }
    kernel, symbols, operations = "softplus", (r"\beta", "t"), 6

    def backward(self, dy):
        (x,), (beta, threshold) = self.inputs, self.parameters
        return where(x * beta > threshold, dy, dy * Sigmoid()(x * beta))


class LogSigmoid(Activation):
    """y = log(1 / (1 + exp(-x))),   dx = dy / (1 + exp(x))"""

    forward_latex = r"y = \ln \sigma(x) = -\ln\left(1 + e^{-x}\right)"
    backward_latex = {"x": DX + r"\, \sigma(-x)"}
    kernel, operations = "logsigmoid", 5

    def backward(self, dy):
        return dy * Sigmoid()(-self.inputs[0])


class Softsign(Activation):
    """y = x / (1 + |x|),   dx = dy / (1 + |x|)^2"""

    forward_latex = r"y = \frac{x}{1 + |x|}"
    backward_latex = {"x": DX + r"\, \frac{1}{(1 + |x|)^2}"}
    kernel, operations = "softsign", 3

    def backward(self, dy):
        a = 1.0 + abs(self.inputs[0])
        return dy / a / a


class Tanhshrink(Activation):
    """y = x - tanh(x),   dx = dy tanh(x)^2"""

    forward_latex = r"y = x - \tanh x"
    backward_latex = {"x": DX + r"\, \tanh^2 x"}
    kernel, operations = "tanhshrink", 2

    def backward(self, dy):
        t = Tanh()(self.inputs[0])
        return dy * (t * t)


class Mish(Activation):
    """y = x t,   dx = dy (t + x (1 - t^2) s),   t = tanh(log(1 + exp(x))), s = sigmoid(x)

    Misra, "Mish: a self regularized non-monotonic activation function", BMVC 2020.
    """

    forward_latex = r"y = x\, t, \quad t = \tanh \ln\left(1 + e^x\right)"
    backward_latex = {"x": DX + r"\left(t + x\, (1 - t^2)\, \sigma(x)\right)"}
    kernel, operations = "mish", 7

    def backward(self, dy):
        (x,) = self.inputs
        t = Tanh()(Softplus(1.0, 40.0)(x))
        near = clip(x, -750.0, 40.0)  # beyond, the slope is 0: infinity times that would be NaN
        return dy * (t + near * ((1.0 - t * t) * Sigmoid()(x)))


class Glu(Op):
    """y = a s(b),   da = dy s(b),   db = dy a s(b) (1 - s(b));   a, b the halves of x, s sigmoid

    Dauphin et al., "Language modeling with gated convolutional networks", ICML 2017.
    """

    forward_latex = r"y_i = a_i\, \sigma(b_i), \quad a_i = x_{0i}, \quad b_i = x_{1i}"
    backward_latex = {
        "x": r"\frac{\partial L}{\partial x_{0i}} = \frac{\partial L}{\partial y_i}\, \sigma(b_i), "
        r"\quad \frac{\partial L}{\partial x_{1i}} = "
        r"\frac{\partial L}{\partial y_i}\, a_i\, \sigma(b_i)\, (1 - \sigma(b_i))"
    }

    def __init__(self, dim: int):
        self.dim = dim

    def notation(self):
        def halves(x):
            return np.stack(np.split(x, 2, self.dim)).reshape(2, -1)

        return Notation(views={"x": halves, "y": np.ravel})

    def forward(self, x):
        self.keep(inputs=(0,))
        return select("activation", x).glu(*np.split(x, 2, self.dim))

    def backward(self, dy):
        (x,) = self.inputs
        a, b = split(x, [x.shape[self.dim] // 2] * 2, self.dim)
        s = Sigmoid()(b)
        da = dy * s
        return concatenate([da, da * (a * (1.0 - s))], self.dim)

    def fused_backward(self, dy):
        x = self.inputs[0]._array
        dx = empty_like(x)
        gradients = select("activation", dy).glu_grad(dy, *np.split(x, 2, self.dim))
        for half, gradient in zip(np.split(dx, 2, self.dim), gradients):
            half[...] = gradient
        return dx

    def flops(self, inputs, output):
        return 4 * math.prod(output)


def elu(input, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Return the input where positive, ``alpha * (exp(input) - 1)`` elsewhere."""
    reject_inplace("elu", inplace)
    check_numbers("elu", alpha=alpha)
    return Elu(float(alpha))(checked("elu", input))


def selu(input, inplace: bool = False) -> Tensor:
    """Return elu with the two constants of self-normalizing networks."""
    reject_inplace("selu", inplace)
    return Selu(_SELU_ALPHA, _SELU_SCALE)(checked("selu", input))


def celu(input, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Return the input where positive, ``alpha * (exp(input / alpha) - 1)`` elsewhere."""
    reject_inplace("celu", inplace)
    check_numbers("celu", alpha=alpha)
    if alpha == 0:
        raise UsageError("celu: alpha must not be 0")
    return Celu(float(alpha), 1.0, 1 / alpha)(checked("celu", input))


def softplus(input, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """Return ``log(1 + exp(beta * input)) / beta``; the input where beta * input > threshold."""
    check_numbers("softplus", beta=beta, threshold=threshold)
    if beta == 0:
        raise UsageError("softplus: beta must not be 0")
    return Softplus(float(beta), float(threshold))(checked("softplus", input))


def logsigmoid(input) -> Tensor:
    """Return the logarithm of the sigmoid, exact where the sigmoid itself rounds to 0 or 1."""
    return LogSigmoid()(checked("logsigmoid", input))


def softsign(input) -> Tensor:
    """Return ``input / (1 + abs(input))``."""
    return Softsign()(checked("softsign", input))


def tanhshrink(input) -> Tensor:
    """Return ``input - tanh(input)``."""
    return Tanhshrink()(checked("tanhshrink", input))


def mish(input, inplace: bool = False) -> Tensor:
    """Return ``input * tanh(softplus(input))``."""
    reject_inplace("mish", inplace)
    return Mish()(checked("mish", input))


def glu(input, dim: int = -1) -> Tensor:
    """Return the first half of the input along `dim` times the sigmoid of the second half.

    Raises
    ------
    ShapeError
        If the length of the dimension is odd, or there is no dimension.
    """
    x = checked("glu", input)
    if x.ndim == 0:
        raise ShapeError("glu: expected at least 1 dimension, got a number")
    dim = dimension(dim, x.ndim)
    if x.shape[dim] % 2:
        raise ShapeError(f"glu: dimension {dim} must be of even length, got shape {x.shape}")
    return Glu(dim)(x)
