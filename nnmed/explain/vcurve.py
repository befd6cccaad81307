"""The V-curve: how far central differences are from the gradient, for every step size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnmed.autograd import Tensor, grad, no_grad
from nnmed.backend import random
from nnmed.backend.arrays import to_device
from nnmed.errors import ShapeError, UsageError


@dataclass(frozen=True)
class VCurve:
    """Errors of central differences.

    Attributes
    ----------
    steps : array
        The step sizes h, growing.
    errors : dict of str to array
        By dtype (``"float64"``, ``"float32"``) the relative error for each of them.
    derivative : float
        The derivative along the direction, by backward in float64.
    """

    steps: np.ndarray
    errors: dict[str, np.ndarray]
    derivative: float

    def best(self, dtype: str = "float64") -> tuple[float, float]:
        """Return the step size with the smallest error, and that error."""
        errors = self.errors[dtype]  # NaN where a step left the function's domain
        index = int(np.argmin(np.where(np.isnan(errors), np.inf, errors)))
        return float(self.steps[index]), float(self.errors[dtype][index])

    def plot(self, path):
        """Draw the curves with both slopes; return the path.

        Raises
        ------
        DataError
            If the file cannot be written.
        """
        from nnmed.explain.figures import v_curve  # figures bring matplotlib

        return v_curve(self, path)


def v_curve(function, inputs) -> VCurve:
    r"""Compare the gradient of `function` with central differences of every step size.

    Along a random direction v, the difference is

        (f(x + h v) - f(x - h v)) / 2h = f'(x) + h^2 f'''(x) / 6 + ... + rounding of order eps / h

    so that the error falls with h^2 where h is large: the *truncation* of the Taylor series,
    slope 2 on a double logarithmic scale. Where h is small, the two values of f agree in most
    of their digits, which the subtraction takes away; what stays is their rounding, about
    eps times the size of f, divided by h: slope -1. The two meet near h = eps^(1/3), which is
    6e-6 in float64 and 5e-3 in float32, at an error of eps^(2/3): 4e-11 and 2e-5. So gradients
    cannot be checked to more than four digits in float32, and :func:`nnmed.gradcheck` wants
    float64.

    A wrong gradient shows itself as a curve that stays up however h is chosen.

    Parameters
    ----------
    function : callable
        Takes `inputs` as float32 or float64 Tensors, returns a scalar Tensor.
    inputs : Tensor or sequence of Tensor
        The point. Floats are moved, integers stay.

    Returns
    -------
    VCurve

    Raises
    ------
    ShapeError
        If the function returns no scalar.
    UsageError
        If no input is a float, or the derivative along the direction is 0.

    Examples
    --------
    >>> import nnmed
    >>> from nnmed.explain import v_curve
    >>> curve = v_curve(lambda x: nnmed.exp(x).sum(), nnmed.Tensor([0.5, 1.0]))
    >>> curve.best("float64")[1] < 1e-9 < curve.best("float32")[1]
    True
    """
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    line = _Line(function, inputs)
    derivative = line.derivative()
    if not derivative:
        raise UsageError("v_curve: the derivative is 0 here, there is no relative error")
    steps = np.logspace(-13, 0, 53)
    errors = {
        dtype: np.array([abs(line.difference(h, dtype) / derivative - 1) for h in steps])
        for dtype in ("float64", "float32")
    }
    return VCurve(steps, errors, derivative)


class _Line:
    """The function along a straight line through the point."""

    def __init__(self, function, inputs):
        self.function, self.inputs = function, inputs
        self.moved = [i for i, x in enumerate(inputs) if x.dtype.kind == "f"]
        if not self.moved:
            raise UsageError("v_curve: no input is a float tensor, there is nothing to move")
        rng = random.generator("v_curve")
        self.direction = {i: rng.uniform(-1, 1, inputs[i].shape) for i in self.moved}

    def at(self, h: float, dtype: str) -> list[Tensor]:
        """Return the inputs at x + h v."""
        inputs = list(self.inputs)
        for i in self.moved:
            x = inputs[i].numpy().astype(np.float64) + h * self.direction[i]
            x = to_device(np.asarray(x, dtype), inputs[i].device)
            inputs[i] = Tensor(x, requires_grad=True)
        return inputs

    def derivative(self) -> float:
        """Return the derivative at h = 0 from the gradient."""
        inputs = self.at(0.0, "float64")
        y = self.function(*inputs)
        if y.shape != ():
            raise ShapeError(f"v_curve: the function must return a scalar, it returned {y.shape}")
        gradients = grad(y, [inputs[i] for i in self.moved], allow_unused=True)
        return sum(
            float((g.numpy() * self.direction[i]).sum())
            for i, g in zip(self.moved, gradients)
            if g is not None
        )

    def difference(self, h: float, dtype: str) -> float:
        """Return the central difference."""
        with no_grad():
            ahead, behind = (self.function(*self.at(step, dtype)).item() for step in (h, -h))
        return (ahead - behind) / (2 * h)
