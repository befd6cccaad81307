"""Activation functions, element by element.

The fused gradients are kernels; the recorded ones are made of ops, so that they can be
differentiated again.
"""

from __future__ import annotations

import math

from nnmed.autograd import Notation, Op, Tensor
from nnmed.errors import UsageError
from nnmed.kernels import select
from nnmed.ops.arguments import as_tensor, check_numbers, check_same_dtype, reject_inplace
from nnmed.ops.elementwise import exp
from nnmed.ops.selection import clip, where

DX = r"\frac{\partial L}{\partial x} = \frac{\partial L}{\partial y}"

# Further out, exp(-x^2 / 2) is 0 and tanh is 1 in float64: their derivatives may as well be
# taken here, where no square or cube overflows.
_FLAT = 40.0


class Activation(Op):
    """y = f(x), element by element.

    A subclass names the kernel that computes y; with ``_grad`` at its end, that is the one
    which computes dx from dy and what is kept: x, or y where the derivative is a function
    of y. Both take the parameters last.
    """

    kernel = ""
    symbols: tuple[str, ...] = ()  # of the parameters in the formulas
    of_output = False
    operations = 1  # floating point operations an element, an exp counted as one

    def __init__(self, *parameters):
        self.parameters = parameters

    def notation(self):
        return Notation(values=dict(zip(self.symbols, self.parameters)))

    def forward(self, x):
        self.keep(inputs=() if self.of_output else (0,), output=self.of_output)
        return getattr(select("activation", x), self.kernel)(x, *self.parameters)

    def fused_backward(self, dy):
        kept = self.output if self.of_output else self.inputs[0]
        gradient = getattr(select("activation", dy), f"{self.kernel}_grad")
        return gradient(dy, kept._array, *self.parameters)

    def flops(self, inputs, output):
        return self.operations * math.prod(output)


class Relu(Activation):
    """y = max(x, 0),   dx = dy [y > 0]

    At the kink x = 0 the gradient is 0. A NaN stays one.
    """

    forward_latex = r"y = \max(x, 0)"
    backward_latex = {"x": DX + r"\, [\,y > 0\,]"}
    kernel, of_output = "relu", True

    def backward(self, dy):
        return where(self.output <= 0, 0.0, dy)


class LeakyRelu(Activation):
    """y = x if x > 0 else a x,   dx = dy (1 if x > 0 else a),   a the negative slope"""

    forward_latex = r"y = \begin{cases} x & x > 0 \\ a\, x & x \le 0 \end{cases}"
    backward_latex = {"x": DX + r"\begin{cases} 1 & x > 0 \\ a & x \le 0 \end{cases}"}
    kernel, symbols = "leaky_relu", ("a",)
    operations = 2

    def backward(self, dy):
        (slope,) = self.parameters
        return where(self.inputs[0] > 0, dy, dy * slope)


class Sigmoid(Activation):
    """y = 1 / (1 + exp(-x)),   dx = dy y (1 - y)"""

    forward_latex = r"y = \sigma(x) = \frac{1}{1 + e^{-x}}"
    backward_latex = {"x": DX + r"\, y\, (1 - y)"}
    kernel, of_output = "sigmoid", True
    operations = 4

    def backward(self, dy):
        y = self.output
        return dy * (y * (1.0 - y))


class Tanh(Activation):
    """y = tanh(x),   dx = dy (1 - y^2)"""

    forward_latex = r"y = \tanh x"
    backward_latex = {"x": DX + r"\, (1 - y^2)"}
    kernel, of_output = "tanh", True

    def backward(self, dy):
        y = self.output
        return dy * (1.0 - y * y)


class Silu(Activation):
    """y = x s,   dx = dy s (1 + x (1 - s)),   s = 1 / (1 + exp(-x))

    Elfwing et al., "Sigmoid-weighted linear units", Neural Networks 107 (2018).
    """

    forward_latex = r"y = x\, \sigma(x)"
    backward_latex = {"x": DX + r"\, \sigma(x) \left(1 + x\, (1 - \sigma(x))\right)"}
    kernel = "silu"
    operations = 4

    def backward(self, dy):
        (x,) = self.inputs
        s = Sigmoid()(x)
        return dy * (s * (1.0 + x * (1.0 - s)))


class Erf(Activation):
    """y = 2/sqrt(pi) (integral of exp(-t^2) from 0 to x),   dx = dy 2/sqrt(pi) exp(-x^2)"""

    forward_latex = r"y = \operatorname{erf} x = \frac{2}{\sqrt\pi} \int_0^x e^{-t^2}\, \mathrm{d}t"
    backward_latex = {"x": DX + r"\, \frac{2}{\sqrt\pi}\, e^{-x^2}"}
    kernel = "erf"
    operations = 16

    def backward(self, dy):
        x = clip(self.inputs[0], -_FLAT, _FLAT)
        return dy * (exp(-(x * x)) * (2 / math.sqrt(math.pi)))


class Gelu(Activation):
    r"""y = x Phi(x),   dx = dy (Phi(x) + x exp(-x^2/2) / sqrt(2 pi))

    Phi is the distribution function of the normal distribution, (1 + erf(x / sqrt(2))) / 2.
    Hendrycks and Gimpel, "Gaussian error linear units", 2016.
    """

    forward_latex = (
        r"y = x\, \Phi(x) = \frac{x}{2} \left(1 + \operatorname{erf} \frac{x}{\sqrt 2}\right)"
    )
    backward_latex = {"x": DX + r"\left(\Phi(x) + \frac{x}{\sqrt{2\pi}}\, e^{-x^2/2}\right)"}
    kernel = "gelu"
    operations = 18

    def backward(self, dy):
        (x,) = self.inputs
        cdf = (Erf()(x * math.sqrt(0.5)) + 1.0) * 0.5
        near = clip(x, -_FLAT, _FLAT)
        density = exp(near * near * -0.5) * math.sqrt(0.5 / math.pi)
        return dy * (cdf + near * density)


class GeluTanh(Gelu):
    r"""y = x (1 + t) / 2,   dx = dy ((1 + t) / 2 + x (1 - t^2) k (1 + 3 c x^2) / 2)

    t = tanh(k (x + c x^3)) with k = sqrt(2/pi) and c = 0.044715: equation 2 of Hendrycks
    and Gimpel. It differs from gelu by up to 5e-4.
    """

    forward_latex = (
        r"y = \frac{x}{2} (1 + t), \quad "
        r"t = \tanh\left(\sqrt{\tfrac{2}{\pi}}\, (x + 0.044715\, x^3)\right)"
    )
    backward_latex = {
        "x": DX + r"\left(\frac{1 + t}{2} + \frac{x}{2} (1 - t^2) "
        r"\sqrt{\tfrac{2}{\pi}}\, (1 + 3 \cdot 0.044715\, x^2)\right)"
    }
    operations = 8

    def backward(self, dy):
        near = clip(self.inputs[0], -_FLAT, _FLAT)
        k, c = math.sqrt(2 / math.pi), 0.044715
        square = near * near
        t = Tanh()(k * near * (1.0 + c * square))
        slope = (1.0 - t * t) * (k * (1.0 + 3 * c * square))
        return dy * (0.5 * (1.0 + t + near * slope))


def relu(input, inplace: bool = False) -> Tensor:
    """Return max(input, 0), as ``torch.nn.functional.relu``."""
    reject_inplace("relu", inplace)
    return Relu()(checked("relu", input))


def leaky_relu(input, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """Return the input where positive, `negative_slope` times it elsewhere."""
    reject_inplace("leaky_relu", inplace)
    check_numbers("leaky_relu", negative_slope=negative_slope)
    return LeakyRelu(float(negative_slope))(checked("leaky_relu", input))


def gelu(input, approximate: str = "none") -> Tensor:
    """Return the input times the normal distribution function of it.

    `approximate` is ``"none"`` or ``"tanh"``.
    """
    if approximate not in ("none", "tanh"):
        raise UsageError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")
    op = Gelu if approximate == "none" else GeluTanh
    return op(approximate)(checked("gelu", input))


def silu(input, inplace: bool = False) -> Tensor:
    """Return the input times its sigmoid (also called swish)."""
    reject_inplace("silu", inplace)
    return Silu()(checked("silu", input))


def sigmoid(input) -> Tensor:
    """Return 1 / (1 + exp(-input))."""
    return Sigmoid()(checked("sigmoid", input))


def tanh(input) -> Tensor:
    """Return the hyperbolic tangent."""
    return Tanh()(checked("tanh", input))


def erf(input) -> Tensor:
    """Return the error function; to 1e-15 in float64, 3e-7 in float32."""
    return Erf()(checked("erf", input))


def checked(name: str, input) -> Tensor:
    """Return `input` as a tensor; raise DTypeError unless it is of floats."""
    x = as_tensor(input)
    check_same_dtype(name, input=x)
    return x
