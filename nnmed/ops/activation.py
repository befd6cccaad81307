"""Activation functions, element by element.

The fused gradients are kernels; the recorded ones are made of ops, so that they can be
differentiated again.
"""

from __future__ import annotations

import math

from nnmed.autograd import Op, Tensor
from nnmed.errors import UsageError
from nnmed.kernels import select
from nnmed.ops.arguments import as_tensor, check_same_dtype, reject_inplace
from nnmed.ops.elementwise import exp
from nnmed.ops.selection import clip, where

_DX = r"\frac{\partial L}{\partial x} = \frac{\partial L}{\partial y}"

# Further out, exp(-x^2 / 2) is 0 and tanh is 1 in float64: their derivatives may as well be
# taken here, where no square or cube overflows.
_FLAT = 40.0


class Activation(Op):
    """y = f(x), element by element."""

    operations = 1  # floating point operations an element, an exp counted as one

    def kernels(self, array):
        return select("activation", array)

    def flops(self, inputs, output):
        return self.operations * math.prod(output)


class Relu(Activation):
    """y = max(x, 0),   dx = dy [y > 0]

    At the kink x = 0 the gradient is 0. A NaN stays one.
    """

    forward_latex = r"y = \max(x, 0)"
    backward_latex = {"x": _DX + r"\, [\,y > 0\,]"}

    def forward(self, x):
        self.keep(output=True)
        return self.kernels(x).relu(x)

    def backward(self, dy):
        return where(self.output <= 0, 0.0, dy)

    def fused_backward(self, dy):
        return self.kernels(dy).relu_grad(dy, self.output._array)


class LeakyRelu(Activation):
    """y = x if x > 0 else a x,   dx = dy (1 if x > 0 else a),   a the negative slope"""

    forward_latex = r"y = \begin{cases} x & x > 0 \\ a\, x & x \le 0 \end{cases}"
    backward_latex = {"x": _DX + r"\begin{cases} 1 & x > 0 \\ a & x \le 0 \end{cases}"}
    operations = 2

    def __init__(self, negative_slope: float):
        self.slope = negative_slope

    def forward(self, x):
        self.keep(inputs=(0,))
        return self.kernels(x).leaky_relu(x, self.slope)

    def backward(self, dy):
        return where(self.inputs[0] > 0, dy, dy * self.slope)

    def fused_backward(self, dy):
        return self.kernels(dy).leaky_relu_grad(dy, self.inputs[0]._array, self.slope)


class Elu(Activation):
    """y = x if x > 0 else a (exp(x) - 1),   dx = dy (1 if x > 0 else a exp(x))

    Clevert et al., "Fast and accurate deep network learning by exponential linear units",
    ICLR 2016.
    """

    forward_latex = r"y = \begin{cases} x & x > 0 \\ \alpha\, (e^x - 1) & x \le 0 \end{cases}"
    backward_latex = {"x": _DX + r"\begin{cases} 1 & x > 0 \\ \alpha\, e^x & x \le 0 \end{cases}"}
    operations = 3

    def __init__(self, alpha: float):
        self.alpha = alpha

    def forward(self, x):
        self.keep(inputs=(0,))
        return self.kernels(x).elu(x, self.alpha)

    def backward(self, dy):
        (x,) = self.inputs
        # Without the limit, exp would overflow where its value is not used.
        return where(x > 0, dy, dy * (self.alpha * exp(clip(x, max=0.0))))

    def fused_backward(self, dy):
        return self.kernels(dy).elu_grad(dy, self.inputs[0]._array, self.alpha)


class Sigmoid(Activation):
    """y = 1 / (1 + exp(-x)),   dx = dy y (1 - y)"""

    forward_latex = r"y = \sigma(x) = \frac{1}{1 + e^{-x}}"
    backward_latex = {"x": _DX + r"\, y\, (1 - y)"}
    operations = 4

    def forward(self, x):
        self.keep(output=True)
        return self.kernels(x).sigmoid(x)

    def backward(self, dy):
        y = self.output
        return dy * (y * (1.0 - y))

    def fused_backward(self, dy):
        return self.kernels(dy).sigmoid_grad(dy, self.output._array)


class Tanh(Activation):
    """y = tanh(x),   dx = dy (1 - y^2)"""

    forward_latex = r"y = \tanh x"
    backward_latex = {"x": _DX + r"\, (1 - y^2)"}

    def forward(self, x):
        self.keep(output=True)
        return self.kernels(x).tanh(x)

    def backward(self, dy):
        y = self.output
        return dy * (1.0 - y * y)

    def fused_backward(self, dy):
        return self.kernels(dy).tanh_grad(dy, self.output._array)


class Silu(Activation):
    """y = x s,   dx = dy s (1 + x (1 - s)),   s = 1 / (1 + exp(-x))

    Elfwing et al., "Sigmoid-weighted linear units", Neural Networks 107 (2018).
    """

    forward_latex = r"y = x\, \sigma(x)"
    backward_latex = {"x": _DX + r"\, \sigma(x) \left(1 + x\, (1 - \sigma(x))\right)"}
    operations = 4

    def forward(self, x):
        self.keep(inputs=(0,))
        return self.kernels(x).silu(x)

    def backward(self, dy):
        (x,) = self.inputs
        s = Sigmoid()(x)
        return dy * (s * (1.0 + x * (1.0 - s)))

    def fused_backward(self, dy):
        return self.kernels(dy).silu_grad(dy, self.inputs[0]._array)


class Erf(Activation):
    """y = 2/sqrt(pi) (integral of exp(-t^2) from 0 to x),   dx = dy 2/sqrt(pi) exp(-x^2)"""

    forward_latex = r"y = \operatorname{erf} x = \frac{2}{\sqrt\pi} \int_0^x e^{-t^2} dt"
    backward_latex = {"x": _DX + r"\, \frac{2}{\sqrt\pi}\, e^{-x^2}"}
    operations = 16

    def forward(self, x):
        self.keep(inputs=(0,))
        return self.kernels(x).erf(x)

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
    backward_latex = {"x": _DX + r"\left(\Phi(x) + \frac{x}{\sqrt{2\pi}}\, e^{-x^2/2}\right)"}
    operations = 18
    approximate = "none"

    def forward(self, x):
        self.keep(inputs=(0,))
        return self.kernels(x).gelu(x, self.approximate)

    def backward(self, dy):
        (x,) = self.inputs
        cdf = (Erf()(x * math.sqrt(0.5)) + 1.0) * 0.5
        near = clip(x, -_FLAT, _FLAT)
        density = exp(near * near * -0.5) * math.sqrt(0.5 / math.pi)
        return dy * (cdf + x * density)

    def fused_backward(self, dy):
        return self.kernels(dy).gelu_grad(dy, self.inputs[0]._array, self.approximate)


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
        "x": _DX + r"\left(\frac{1 + t}{2} + \frac{x}{2} (1 - t^2) "
        r"\sqrt{\tfrac{2}{\pi}}\, (1 + 3 \cdot 0.044715\, x^2)\right)"
    }
    operations = 8
    approximate = "tanh"

    def backward(self, dy):
        x, near = self.inputs[0], clip(self.inputs[0], -_FLAT, _FLAT)
        k, c = math.sqrt(2 / math.pi), 0.044715
        square = near * near
        t = Tanh()(k * near * (1.0 + c * square))
        slope = (1.0 - t * t) * (k * (1.0 + 3 * c * square))
        return dy * (0.5 * (1.0 + t + x * slope))


def relu(input, inplace: bool = False) -> Tensor:
    """Return max(input, 0), as ``torch.nn.functional.relu``."""
    reject_inplace("relu", inplace)
    return Relu()(_checked("relu", input))


def leaky_relu(input, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """Return the input where positive, `negative_slope` times it elsewhere."""
    reject_inplace("leaky_relu", inplace)
    return LeakyRelu(float(negative_slope))(_checked("leaky_relu", input))


def elu(input, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """Return the input where positive, ``alpha * (exp(input) - 1)`` elsewhere."""
    reject_inplace("elu", inplace)
    return Elu(float(alpha))(_checked("elu", input))


def gelu(input, approximate: str = "none") -> Tensor:
    """Return the input times the normal distribution function of it.

    `approximate` is ``"none"`` or ``"tanh"``.
    """
    if approximate not in ("none", "tanh"):
        raise UsageError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")
    op = Gelu() if approximate == "none" else GeluTanh()
    return op(_checked("gelu", input))


def silu(input, inplace: bool = False) -> Tensor:
    """Return the input times its sigmoid (also called swish)."""
    reject_inplace("silu", inplace)
    return Silu()(_checked("silu", input))


def sigmoid(input) -> Tensor:
    """Return 1 / (1 + exp(-input))."""
    return Sigmoid()(_checked("sigmoid", input))


def tanh(input) -> Tensor:
    """Return the hyperbolic tangent."""
    return Tanh()(_checked("tanh", input))


def erf(input) -> Tensor:
    """Return the error function; to 1e-15 in float64, 3e-7 in float32."""
    return Erf()(_checked("erf", input))


def _checked(name: str, input) -> Tensor:
    x = as_tensor(input)
    check_same_dtype(name, input=x)
    return x
