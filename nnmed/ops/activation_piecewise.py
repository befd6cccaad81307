"""Further activation functions that are made of pieces."""

from __future__ import annotations

import math

from nnmed.autograd import Op, Tensor
from nnmed.backend.random import draw_key
from nnmed.errors import ShapeError, UsageError
from nnmed.kernels import select
from nnmed.ops.activation import DX, Activation, checked, leaky_relu
from nnmed.ops.arguments import as_tensor, check_numbers, check_same_dtype, reject_inplace
from nnmed.ops.selection import where
from nnmed.ops.shape import broadcast_to


class Threshold(Activation):
    """y = x if x > t else v,   dx = dy [x > t]"""

    forward_latex = r"y = \begin{cases} x & x > t \\ v & x \le t \end{cases}"
    backward_latex = {"x": DX + r"\, [\,x > t\,]"}
    kernel, symbols = "threshold", ("t", "v")

    def backward(self, dy):
        threshold, _ = self.parameters
        return where(self.inputs[0] <= threshold, 0.0, dy)


class Hardtanh(Activation):
    """y = min(max(x, l), h),   dx = dy [l < x < h]"""

    forward_latex = r"y = \min(\max(x, l), h)"
    backward_latex = {"x": DX + r"\, [\,l < x < h\,]"}
    kernel, symbols, operations = "hardtanh", ("l", "h"), 2

    def backward(self, dy):
        (x,), (low, high) = self.inputs, self.parameters
        return where((x <= low) | (x >= high), 0.0, dy)


class Hardsigmoid(Activation):
    """y = min(max(x + 3, 0), 6) / 6,   dx = dy [-3 < x < 3] / 6"""

    forward_latex = r"y = \frac{\min(\max(x + 3, 0), 6)}{6}"
    backward_latex = {"x": DX + r"\, \frac{[\,-3 < x < 3\,]}{6}"}
    kernel, operations = "hardsigmoid", 4

    def backward(self, dy):
        (x,) = self.inputs
        return where((x > -3) & (x < 3), dy * (1 / 6), 0.0)


class Hardswish(Activation):
    """y = x min(max(x + 3, 0), 6) / 6,   dx = dy (0 to -3, x / 3 + 1/2 to 3, then 1)

    Howard et al., "Searching for MobileNetV3", ICCV 2019.
    """

    forward_latex = r"y = x\, \frac{\min(\max(x + 3, 0), 6)}{6}"
    backward_latex = {
        "x": DX + r"\begin{cases} 0 & x \le -3 \\ \frac{x}{3} + \frac{1}{2} & -3 < x < 3 \\ "
        r"1 & x \ge 3 \end{cases}"
    }
    kernel, operations = "hardswish", 5

    def backward(self, dy):
        (x,) = self.inputs
        return where(x >= 3, dy, where(x <= -3, 0.0, dy * (x * (1 / 3) + 0.5)))


class Hardshrink(Activation):
    """y = x [|x| > l],   dx = dy [|x| > l]"""

    forward_latex = r"y = \begin{cases} x & |x| > \lambda \\ 0 & |x| \le \lambda \end{cases}"
    backward_latex = {"x": DX + r"\, [\,|x| > \lambda\,]"}
    kernel, symbols = "hardshrink", (r"\lambda",)

    def backward(self, dy):
        (x,), (lambd,) = self.inputs, self.parameters
        return where((x >= -lambd) & (x <= lambd), 0.0, dy)


class Softshrink(Hardshrink):
    """y = x - min(max(x, -l), l),   dx = dy [|x| > l]"""

    forward_latex = r"y = x - \min(\max(x, -\lambda), \lambda)"
    kernel, operations = "softshrink", 3


class PRelu(Op):
    """y = x if x > 0 else w x,   dx = dy (1 if x > 0 else w),   dw = dy (0 if x > 0 else x)

    The slope w is learnt. He et al., "Delving deep into rectifiers", ICCV 2015.
    """

    forward_latex = r"y = \begin{cases} x & x > 0 \\ w\, x & x \le 0 \end{cases}"
    backward_latex = {
        "x": DX + r"\begin{cases} 1 & x > 0 \\ w & x \le 0 \end{cases}",
        "w": r"\frac{\partial L}{\partial w} = \frac{\partial L}{\partial y} \min(x, 0)",
    }

    def forward(self, x, w):
        self.keep(inputs=(0, 1))
        return select("activation", x).prelu(x, w)

    def backward(self, dy):
        x, w = self.inputs
        dx = where(x > 0, dy, dy * w) if self.needs[0] else None
        return dx, where(x > 0, 0.0, dy * x) if self.needs[1] else None

    def fused_backward(self, dy):
        x, w = (tensor._array for tensor in self.inputs)
        return select("activation", dy).prelu_grad(dy, x, w)

    def flops(self, inputs, output):
        return 2 * math.prod(output)


def threshold(input, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """Return the input where it is greater than `threshold`, `value` elsewhere."""
    reject_inplace("threshold", inplace)
    check_numbers("threshold", threshold=threshold, value=value)
    return Threshold(float(threshold), float(value))(checked("threshold", input))


def hardtanh(input, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """Return the input limited to [min_val, max_val]; on the limits the gradient is 0."""
    reject_inplace("hardtanh", inplace)
    check_numbers("hardtanh", min_val=min_val, max_val=max_val)
    if min_val > max_val:
        raise UsageError(f"hardtanh: min_val {min_val} must not be above max_val {max_val}")
    return Hardtanh(float(min_val), float(max_val))(checked("hardtanh", input))


def relu6(input, inplace: bool = False) -> Tensor:
    """Return the input limited to [0, 6]; on the limits the gradient is 0."""
    reject_inplace("relu6", inplace)
    return Hardtanh(0.0, 6.0)(checked("relu6", input))


def hardsigmoid(input, inplace: bool = False) -> Tensor:
    """Return ``(input + 3) / 6``, limited to [0, 1]."""
    reject_inplace("hardsigmoid", inplace)
    return Hardsigmoid()(checked("hardsigmoid", input))


def hardswish(input, inplace: bool = False) -> Tensor:
    """Return the input times its :func:`hardsigmoid`."""
    reject_inplace("hardswish", inplace)
    return Hardswish()(checked("hardswish", input))


def hardshrink(input, lambd: float = 0.5) -> Tensor:
    """Return the input, and 0 where it lies in [-lambd, lambd]."""
    check_numbers("hardshrink", lambd=lambd)
    return Hardshrink(float(lambd))(checked("hardshrink", input))


def softshrink(input, lambd: float = 0.5) -> Tensor:
    """Return the input moved towards 0 by `lambd`, and 0 where it lies in [-lambd, lambd]."""
    check_numbers("softshrink", lambd=lambd)
    if not lambd >= 0:
        raise UsageError(f"softshrink: lambd must be at least 0, got {lambd}")
    return Softshrink(float(lambd))(checked("softshrink", input))


def prelu(input, weight) -> Tensor:
    """Return the input where positive, the learnt `weight` times it elsewhere.

    Parameters
    ----------
    input : Tensor
        (N, C, ...), or any shape if `weight` is one number.
    weight : Tensor
        (C,) or (1,).

    Raises
    ------
    ShapeError
        If `weight` has neither one number nor one a channel.
    """
    x, weight = as_tensor(input), as_tensor(weight)
    check_same_dtype("prelu", input=x, weight=weight)
    channels = x.shape[1] if x.ndim > 1 else 1
    count = math.prod(weight.shape)
    if weight.ndim > 1 or count not in (1, channels):
        raise ShapeError(
            f"prelu: weight must have 1 element or one for each of {channels} channels: "
            f"input {x.shape}, weight {weight.shape}"
        )
    shape = [1] * x.ndim
    if count > 1:
        shape[1] = channels
    return PRelu()(x, broadcast_to(weight.reshape(shape), x.shape))


def rrelu(
    input,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    inplace: bool = False,
    *,
    stream: int = 0,
) -> Tensor:
    """Return the input where positive, a random slope in [lower, upper] times it elsewhere.

    Each element has a slope of its own, drawn as :func:`nnmed.functional.dropout` draws;
    outside training all slopes are the middle of the range. Xu et al., "Empirical
    evaluation of rectified activations in convolutional network", 2015.

    Raises
    ------
    UsageError
        If `lower` is greater than `upper`.
    """
    reject_inplace("rrelu", inplace)
    check_numbers("rrelu", lower=lower, upper=upper)
    if not lower <= upper:
        raise UsageError(f"rrelu: lower {lower} must not be above upper {upper}")
    if not training:
        return leaky_relu(input, (lower + upper) / 2)
    x = checked("rrelu", input)
    slopes = select("activation", x._array).random_slopes(
        x._array, float(lower), float(upper), draw_key(stream)
    )
    return x * Tensor._wrap(slopes)
