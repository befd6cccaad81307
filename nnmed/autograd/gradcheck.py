"""Check gradients against central differences in float64.

Along a random direction v, the derivative of f is (f(x + h v) - f(x - h v)) / 2h, with an
error of order h**2 from the third derivative and of order eps/h from rounding; h = 1e-6
balances them. One direction costs two evaluations whatever the size of x, and a wrong
gradient agrees along a random direction with probability zero.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np

from nnmed.autograd.engine import grad
from nnmed.autograd.tensor import Tensor
from nnmed.backend import random
from nnmed.backend.arrays import to_device
from nnmed.errors import GradientError


def gradcheck(
    func: Callable,
    inputs: Tensor | Sequence,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    directions: int = 3,
    raise_exception: bool = True,
) -> bool:
    """Compare the gradients of `func` with central differences.

    Parameters
    ----------
    func : callable
        Takes `inputs`, returns a Tensor or a tuple of Tensors. It must be a function of its
        inputs alone: one that draws random numbers must draw the same ones each time.
    inputs : Tensor or sequence
        The float64 tensors with ``requires_grad`` are checked; all else is passed as it is.
    eps : float
        Step along a direction of unit maximum.
    atol, rtol : float
        Allowed in an element: ``|analytic - numerical| <= atol + rtol * |numerical|``. Along
        a direction v: ``atol + rtol / 100 * sum |g v|``, with g the gradient.
    directions : int
        How many random directions are tried.
    raise_exception : bool
        Raise on failure, or return False.

    Returns
    -------
    bool
        Whether all gradients agree.

    Raises
    ------
    GradientError
        On failure: element by element, with the worst entry named.

    Warns
    -----
    UserWarning
        Where the one-sided derivatives differ: the point is a kink (of relu, max, abs),
        at which the derivative does not exist and the check means nothing.
    """
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    checked = [i for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad]
    if not checked:
        raise GradientError("gradcheck: no input has requires_grad=True")
    for i in checked:
        if inputs[i].dtype != np.float64:
            raise GradientError(
                f"gradcheck: input {i} is {inputs[i].dtype}, central differences need float64"
            )
    check = _Check(func, inputs, checked, eps, atol, rtol)
    try:
        for number in range(directions):
            check.along_direction(random.generator("gradcheck", number))
    except GradientError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(func: Callable, inputs, grad_outputs=None, **options) -> bool:
    """Compare second derivatives of `func` with central differences of its gradients.

    Takes the arguments of :func:`gradcheck`. `grad_outputs` are the gradients of the
    outputs to differentiate with; random ones by default.
    """
    inputs = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    checked = [i for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad]
    if grad_outputs is None:
        rng = random.generator("gradgradcheck")
        grad_outputs = [_tensor(rng.standard_normal(y.shape), y) for y in _outputs(func(*inputs))]
    elif isinstance(grad_outputs, Tensor):
        grad_outputs = [grad_outputs]
    count = len(inputs)

    def first_gradients(*arguments):
        outputs = _outputs(func(*arguments[:count]))
        used = [(y, w) for y, w in zip(outputs, arguments[count:]) if y.requires_grad]
        return grad(
            [y for y, _ in used],
            [arguments[i] for i in checked],
            [w for _, w in used],
            create_graph=True,
            allow_unused=True,
        )

    return gradcheck(first_gradients, [*inputs, *grad_outputs], **options)


class _Check:
    def __init__(self, func, inputs, checked, eps, atol, rtol):
        self.func, self.inputs, self.checked = func, inputs, checked
        self.eps, self.atol, self.rtol = eps, atol, rtol
        self.point = [inputs[i].numpy().copy() for i in checked]

    def evaluate(self, arrays) -> list[np.ndarray]:
        """Return the outputs as arrays, with `arrays` in the place of the checked inputs."""
        inputs = list(self.inputs)
        for i, array in zip(self.checked, arrays):
            inputs[i] = _tensor(array, inputs[i])
        return [y.numpy() for y in _outputs(self.func(*inputs))]

    def along_direction(self, rng) -> None:
        directions = [rng.uniform(-1, 1, x.shape) for x in self.point]
        outputs = _outputs(self.func(*self.inputs))
        weights = [np.asarray(rng.standard_normal(y.shape)) for y in outputs]
        if not any(y.requires_grad for y in outputs):
            gradients = [np.zeros_like(x) for x in self.point]
        else:
            gradients = self.analytic(outputs, weights)
        analytic = sum(float((g * v).sum()) for g, v in zip(gradients, directions))

        def scalar(step):
            arrays = [x + step * v for x, v in zip(self.point, directions)]
            return sum(float((y * w).sum()) for y, w in zip(self.evaluate(arrays), weights))

        middle, ahead, behind = scalar(0.0), scalar(self.eps), scalar(-self.eps)
        numerical = (ahead - behind) / (2 * self.eps)
        self.warn_at_kink((middle - behind) / self.eps, (ahead - middle) / self.eps)
        scale = sum(float(np.abs(g * v).sum()) for g, v in zip(gradients, directions))
        # Terms of both signs cancel in the sum: the tolerance follows their size.
        if not abs(analytic - numerical) <= self.atol + self.rtol * 1e-2 * scale:
            self.element_by_element(gradients, weights)
            raise GradientError(
                f"gradcheck: along a random direction the gradient gives {analytic:.9g}, "
                f"central differences {numerical:.9g}"
            )

    def analytic(self, outputs, weights) -> list[np.ndarray]:
        used = [(y, _tensor(w, y).detach()) for y, w in zip(outputs, weights) if y.requires_grad]
        gradients = grad(
            [y for y, _ in used],
            [self.inputs[i] for i in self.checked],
            [w for _, w in used],
            allow_unused=True,
        )
        return [np.zeros_like(x) if g is None else g.numpy() for g, x in zip(gradients, self.point)]

    def warn_at_kink(self, left: float, right: float) -> None:
        # A smooth function's one-sided slopes differ by eps * f''; a kink's by a jump.
        if abs(right - left) > 1e-3 * max(1.0, abs(left), abs(right)):
            warnings.warn(
                f"gradcheck: the slope is {left:.6g} on one side and {right:.6g} on the other; "
                "the function has a kink here and the check means nothing",
                stacklevel=4,
            )

    def element_by_element(self, gradients, weights) -> None:
        """Find the entry with the worst error and raise it."""
        worst, message = -1.0, ""
        for position, (x, gradient) in enumerate(zip(self.point, gradients)):
            for index in np.ndindex(x.shape):
                numerical = self.element(position, index, weights)
                analytic = float(gradient[index])
                excess = abs(analytic - numerical) - self.rtol * abs(numerical)
                if not excess <= worst:  # a NaN is the worst of all
                    worst = excess
                    message = (
                        f"gradcheck: input {self.checked[position]}, element {index}: the "
                        f"gradient is {analytic:.9g}, central differences give {numerical:.9g}"
                    )
        if not worst <= self.atol:
            raise GradientError(message)

    def element(self, position, index, weights) -> float:
        values = []
        for step in (self.eps, -self.eps):
            arrays = [x.copy() for x in self.point]
            arrays[position][index] += step
            outputs = self.evaluate(arrays)
            values.append(sum(float((y * w).sum()) for y, w in zip(outputs, weights)))
        return (values[0] - values[1]) / (2 * self.eps)


def _tensor(values, like: Tensor) -> Tensor:
    """Return a leaf of the dtype of `like`, on its device; `values` may be a scalar."""
    array = to_device(np.asarray(values, like.dtype), like.device)
    return Tensor(array, requires_grad=True)


def _outputs(result) -> list[Tensor]:
    results = [result] if isinstance(result, Tensor) else list(result)
    return [y for y in results if y is not None and y.dtype.kind == "f"]
