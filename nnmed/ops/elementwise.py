"""Element-wise arithmetic. Operands have one shape; broadcasting is an op of its own."""

from __future__ import annotations

import numpy as np

from nnmed.autograd import Notation, Op, Tensor
from nnmed.backend.arrays import array_module, in_memory_order
from nnmed.errors import DTypeError
from nnmed.kernels.elementwise import apply, elementwise
from nnmed.ops.arguments import as_float, as_tensor, cast, operands, plain_number, wrap
from nnmed.ops.fused_on_gpu import FusedOnGpu
from nnmed.ops.selection import where
from nnmed.ops.shape import broadcast_operands

# Elements from which a sum, which joins the branches of a residual network, is worth sharing.
_LARGE = 1 << 18

_DY = r"\frac{\partial L}{\partial y}"
_BY_A = r"\frac{\partial L}{\partial a} = " + _DY
_BY_B = r"\frac{\partial L}{\partial b} = " + _DY
_BY_X = r"\frac{\partial L}{\partial x} = " + _DY


class Add(Op):
    """y = a + b,   da = dy,   db = dy"""

    forward_latex = r"y = a + b"
    backward_latex = {"a": _BY_A, "b": _BY_B}
    arithmetic = True

    def forward(self, a, b):
        _keep_number(self, a, b)
        alike = a.dtype == b.dtype and a.strides == b.strides
        if a.size < _LARGE or not alike or array_module(a) is not np:
            return elementwise(np.add, a, b)
        return apply(lambda y, a, b: np.add(a, b, out=y), a, b)

    def backward(self, dy):
        return dy, dy


class Sub(Op):
    """y = a - b,   da = dy,   db = -dy"""

    forward_latex = r"y = a - b"
    backward_latex = {"a": _BY_A, "b": r"\frac{\partial L}{\partial b} = -" + _DY}
    arithmetic = True

    def forward(self, a, b):
        _keep_number(self, a, b)
        return elementwise(np.subtract, a, b)

    def backward(self, dy):
        return dy, -dy if self.needs[1] else None


class Mul(FusedOnGpu):
    """y = a b,   da = dy b,   db = dy a"""

    forward_latex = r"y = a\, b"
    backward_latex = {"a": _BY_A + r"\, b", "b": _BY_B + r"\, a"}
    arithmetic = True
    kernel = "mul"

    def forward(self, a, b):
        self.keep(inputs=[i for i in (0, 1) if self.needs[1 - i]])
        return elementwise(np.multiply, a, b)

    def backward(self, dy):
        a, b = self.inputs
        return dy * b if self.needs[0] else None, dy * a if self.needs[1] else None


class Div(FusedOnGpu):
    """y = a / b,   da = dy / b,   db = -dy a / b^2"""

    forward_latex = r"y = \frac{a}{b}"
    backward_latex = {
        "a": _BY_A + r"\, \frac{1}{b}",
        "b": r"\frac{\partial L}{\partial b} = -" + _DY + r"\, \frac{a}{b^2}",
    }
    arithmetic = True
    kernel = "div"

    def forward(self, a, b):
        self.keep(inputs=(0, 1) if self.needs[1] else (1,))
        return elementwise(np.true_divide, a, b)

    def backward(self, dy):
        a, b = self.inputs
        da = dy / b
        return da if self.needs[0] else None, -da * (a / b) if self.needs[1] else None


class Neg(Op):
    """y = -x,   dx = -dy"""

    forward_latex = r"y = -x"
    backward_latex = {"x": r"\frac{\partial L}{\partial x} = -" + _DY}
    arithmetic = True

    def forward(self, x):
        return in_memory_order(np.negative, x)

    def backward(self, dy):
        return -dy


class Pow(FusedOnGpu):
    """y = a^b,   da = dy b a^(b-1),   db = dy y log a

    At a = 0 and b >= 0 the gradient of b is taken as 0, its limit from above for b > 0.
    """

    forward_latex = r"y = a^b"
    backward_latex = {"a": _BY_A + r"\, b\, a^{b-1}", "b": _BY_B + r"\, y \ln a"}
    kernel = "pow"

    def forward(self, a, b):
        self.keep(inputs=(0, 1), output=self.needs[1])
        return elementwise(np.power, a, b)

    def terms(self):
        return [*self.inputs, self.output if self.needs[1] else None]

    def backward(self, dy):
        a, b = self.inputs
        da = None
        if self.needs[0]:  # at 0^0, b a^(b-1) is 0 times infinity: y is 1 there for every a
            da = dy * b * where((a == 0) & (b == 0), 1.0, a) ** (b - 1)
        if not self.needs[1]:
            return da, None
        at_zero = (a == 0) & (b >= 0)
        return da, where(at_zero, 0.0, dy * self.output * log(where(at_zero, 1.0, a)))


class PowScalar(FusedOnGpu):
    """y = x^p for a number p,   dx = dy p x^(p-1)"""

    forward_latex = r"y = x^p"
    backward_latex = {"x": _BY_X + r"\, p\, x^{p-1}"}
    arithmetic = True
    kernel = "pow_scalar"

    def __init__(self, exponent: float):
        self.exponent = exponent

    def notation(self):
        return Notation(values={"p": self.exponent})

    def forward(self, x):
        self.keep(inputs=(0,))
        # The operator squares faster than np.power.
        return elementwise(lambda x: x**self.exponent, x)

    def parameters(self):
        return (self.exponent,)

    def backward(self, dy):
        (x,) = self.inputs
        p = self.exponent
        if p == 0:
            return dy * 0.0
        return dy * p if p == 1 else dy * (p * x ** (p - 1))


class Exp(Op):
    """y = exp(x),   dx = dy y"""

    forward_latex = r"y = e^x"
    backward_latex = {"x": _BY_X + r"\, y"}
    arithmetic = True

    def forward(self, x):
        self.keep(output=True)
        return elementwise(np.exp, x)

    def backward(self, dy):
        return dy * self.output


class Log(Op):
    """y = log(x), to base e,   dx = dy / x"""

    forward_latex = r"y = \ln x"
    backward_latex = {"x": _BY_X + r"\, \frac{1}{x}"}
    arithmetic = True

    def forward(self, x):
        self.keep(inputs=(0,))
        return elementwise(np.log, x)

    def backward(self, dy):
        (x,) = self.inputs
        return dy / x


class Sqrt(FusedOnGpu):
    """y = sqrt(x),   dx = dy / (2 y)"""

    forward_latex = r"y = \sqrt{x}"
    backward_latex = {"x": _BY_X + r"\, \frac{1}{2 y}"}
    arithmetic = True
    kernel = "sqrt"

    def forward(self, x):
        self.keep(output=True)
        return elementwise(np.sqrt, x)

    def terms(self):
        return [self.output]

    def backward(self, dy):
        return dy / (self.output * 2.0)


class Sin(FusedOnGpu):
    """y = sin(x),   dx = dy cos(x)"""

    forward_latex = r"y = \sin x"
    backward_latex = {"x": _BY_X + r"\, \cos x"}
    kernel = "sin"

    def forward(self, x):
        self.keep(inputs=(0,))
        return elementwise(np.sin, x)

    def backward(self, dy):
        (x,) = self.inputs
        return dy * cos(x)


class Cos(FusedOnGpu):
    """y = cos(x),   dx = -dy sin(x)"""

    forward_latex = r"y = \cos x"
    backward_latex = {"x": r"\frac{\partial L}{\partial x} = -" + _DY + r"\, \sin x"}
    kernel = "cos"

    def forward(self, x):
        self.keep(inputs=(0,))
        return elementwise(np.cos, x)

    def backward(self, dy):
        (x,) = self.inputs
        return -dy * sin(x)


class Abs(FusedOnGpu):
    """y = |x|,   dx = dy sign(x)

    At 0, where |x| has a kink, the gradient is 0.
    """

    forward_latex = r"y = |x|"
    backward_latex = {"x": _BY_X + r"\, \operatorname{sign} x"}
    kernel = "abs"

    def forward(self, x):
        self.keep(inputs=(0,))
        return in_memory_order(np.abs, x)

    def backward(self, dy):
        (x,) = self.inputs
        return dy * sign(x)


class Cast(Op):
    """y = x in another float dtype,   dx = dy in the dtype of x"""

    forward_latex = r"y = x"
    backward_latex = {"x": _BY_X}

    def __init__(self, dtype):
        self.target = dtype

    def forward(self, x):
        self.source = x.dtype
        return in_memory_order(lambda x: x.astype(self.target, order="K"), x)

    def backward(self, dy):
        return cast(dy, self.source)


class Clone(Op):
    """y = x on memory of its own,   dx = dy"""

    forward_latex = r"y = x"
    backward_latex = {"x": _BY_X}
    arithmetic = True

    def forward(self, x):
        return in_memory_order(lambda x: x.copy(order="K"), x)

    def backward(self, dy):
        return dy


def add(a, b) -> Tensor:
    """Return ``a + b``, broadcast."""
    return Add()(*broadcast_operands(*operands(a, b)))


def sub(a, b) -> Tensor:
    """Return ``a - b``, broadcast."""
    a, b = operands(a, b)
    if a.dtype == bool:
        raise DTypeError("bool tensors have no difference: use != for where they differ")
    return Sub()(*broadcast_operands(a, b))


def mul(a, b) -> Tensor:
    """Return ``a * b``, broadcast."""
    return Mul()(*broadcast_operands(*operands(a, b)))


def div(a, b) -> Tensor:
    """Return ``a / b``, broadcast; integers become float32."""
    a, b = operands(a, b)
    return Div()(*broadcast_operands(as_float(a), as_float(b)))


def neg(x) -> Tensor:
    """Return ``-x``."""
    x = as_tensor(x)
    if x.dtype == bool:
        raise DTypeError("a bool tensor has no negative: use ~ for where it does not hold")
    return Neg()(x)


def pow(a, b) -> Tensor:
    """Return ``a ** b``, broadcast.

    Raises
    ------
    DTypeError
        If an integer would be raised to a negative power.
    """
    b = plain_number(b)
    if isinstance(b, (int, float)) and not isinstance(b, bool):
        a = as_tensor(a)
        if a.dtype.kind == "f":
            return PowScalar(b)(a)
    a, b = operands(a, b)
    if b.dtype.kind == "i" and (b._array < 0).any():
        raise DTypeError("integers have no negative integer powers: convert one with .float()")
    return Pow()(*broadcast_operands(a, b))


def exp(x) -> Tensor:
    """Return e to the power of `x`."""
    return Exp()(as_float(x))


def log(x) -> Tensor:
    """Return the natural logarithm of `x`; -inf at 0 and NaN below."""
    return Log()(as_float(x))


def sqrt(x) -> Tensor:
    """Return the square root of `x`; NaN below 0."""
    return Sqrt()(as_float(x))


def sin(x) -> Tensor:
    """Return the sine of `x` in radians."""
    return Sin()(as_float(x))


def cos(x) -> Tensor:
    """Return the cosine of `x` in radians."""
    return Cos()(as_float(x))


def abs(x) -> Tensor:
    """Return the absolute value of `x`."""
    return Abs()(as_tensor(x))


def sign(x) -> Tensor:
    """Return -1, 0 or 1; constant wherever it can be differentiated, so it has no graph."""
    return wrap(in_memory_order(np.sign, as_tensor(x)._array))


def clone(x: Tensor) -> Tensor:
    """Return a copy of `x` that gradients flow through."""
    return Clone()(x)


def _keep_number(op: Op, a, b) -> None:
    """Keep an operand that is a number: backward needs it not, but explain writes it out."""
    by_a, by_b = op.needs
    if by_a and not by_b and not b.ndim:
        op.keep(inputs=(1,))
    elif by_b and not by_a and not a.ndim:
        op.keep(inputs=(0,))
