"""Compare the gradients that a step gave with what its backward gives in float64."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np

from nnmed.autograd import Op, Tensor
from nnmed.backend import precision
from nnmed.backend.arrays import device_of, to_device
from nnmed.explain.check import Check
from nnmed.explain.clone import in_float64, node_in_float64, recorded_gradients
from nnmed.explain.differences import NOTHING, Point
from nnmed.explain.step import Step

# Allowed error, relative to the terms of a sum: for float32 arrays by the format of products.
_ALLOWED = {"float32": 1e-4, "tfloat32": 1e-2, "float16": 1e-2, "bfloat16": 6e-2}
_ALLOWED_FLOAT64 = 1e-9
# Where terms cancel, float32 loses digits whichever way the formula is computed: so many times what
# rounding all that goes into it changes is allowed.
_CONDITION = 10
# A gradient is a linear function of that which arrives, so multiples of that are tried.
_FACTORS = 2.0**12, 2.0**-12


def allowed(step: Step) -> float:
    """Return the error that is allowed, relative to the terms of a sum."""
    if step.dtype == np.float64 and all(item.dtype in (None, np.float64) for item in step.inputs):
        return _ALLOWED_FLOAT64
    with precision.multiplying_in(step.op.precision):
        return _ALLOWED[precision.current()]


def compare(step: Step, rng) -> Check:
    """Return the largest error of a step's gradients, by what backward gives in float64.

    The message tells of what is wrong in another way.
    """
    dy = in_float64(step._gradient)
    signs = rng.choice([-1.0, 1.0], dy.shape) * rng.uniform(0.5, 1.0, dy.shape)
    exact = node_in_float64(step.op)

    def gradients(node, dy):
        dy = np.asarray(dy) if isinstance(dy, np.generic) else dy  # NumPy makes 0-d results so
        return recorded_gradients(node, Tensor._wrap(dy))

    expected = gradients(exact, dy)
    terms = gradients(exact, dy * to_device(np.asarray(signs), step.device))
    check = _worst(step, expected, terms)
    if check.error > allowed(step):  # unless rounding of what goes in explains it
        near = []
        for sign in (1, -1):  # to either side, for what turns at a bound
            same, eps = copy.deepcopy(rng), sign * np.finfo(step.dtype).eps
            near.append(gradients(_rounded(exact, same, eps), _rounded(dy, same, eps)))
        check = _worst(step, expected, terms, near, _ordinary(step, dy, rng))
    for factor in _FACTORS:
        scaled = gradients(exact, dy * factor)
        for item, one, other in zip(step.inputs, expected, scaled):
            if one is not None and not _is_multiple(one, other, factor):
                message = f"the gradient of {item.name} is no linear function of that which arrives"
                return replace(check, input=item.name, message=message)
    return check


def _is_multiple(one, other, factor: float) -> bool:
    size = np.abs(one[np.isfinite(one)]).max(initial=0)
    return np.allclose(other / factor, one, rtol=1e-6, atol=1e-9 * size, equal_nan=True)


def _rounded(value, rng, eps: float):
    """Return arrays, or a node with all it kept, as other numbers in float64 that round alike."""
    if isinstance(value, Op):
        node = copy.copy(value)
        node._versions = [
            (position, Tensor._wrap(_rounded(tensor._array, rng, eps)), 0)
            for position, tensor, _ in value._versions
        ]
        if value._output is not None:
            node._output = _rounded(value._output[0], rng, eps), *value._output[1:]
        node._kept = {name: _rounded(array, rng, eps) for name, array in value._kept.items()}
        return node
    if value.dtype.kind != "f":
        return value
    noise = np.asarray(1 + eps * rng.choice([-1.0, 1.0], value.shape))
    rounded = value * to_device(noise, device_of(value))
    return np.asarray(rounded) if isinstance(rounded, np.generic) else rounded


def _ordinary(step: Step, dy, rng) -> dict:
    """Return the gradients for the same dy where the inputs are of ordinary size.

    A gradient that is next to nothing, as of a softmax that is sure, is no more exact than these.
    """
    point = Point(step, rng, is_drawn=True)
    return point.backward(to_device(np.asarray(dy), "cpu")) if point.is_finite else {}


def _worst(step: Step, expected, terms, near=(), ordinary=None) -> Check:
    """Return the check of the input whose gradient is furthest off."""
    checks = []
    for position, item in enumerate(step.inputs):
        if not item.is_wanted:
            continue
        given, truth, size = (
            np.zeros(item.shape) if array is None else array
            for array in (item.gradient, expected[position], terms[position])
        )
        if given.shape != truth.shape:
            message = f"the gradient of {item.name} has the shapes {given.shape} and {truth.shape}"
            return Check("passed", np.inf, item.name, message=message)
        changes = [_largest(g[position] - truth) for g in near if g[position] is not None]
        if ordinary and position in ordinary:
            changes.append(np.finfo(step.dtype).eps * _largest(ordinary[position]))
        scale = _CONDITION * max(changes, default=0.0) / allowed(step)
        checks.append(_largest_error(item.name, given, truth, size, scale))
    return max(checks, key=lambda check: check.error)


def _largest(difference) -> float:
    finite = np.abs(difference[np.isfinite(difference)])
    return float(finite.max()) if finite.size else 0.0


def _largest_error(name: str, given, expected, terms, scale: float) -> Check:
    """Return where the relative difference of two gradients is largest."""
    finite = terms[np.isfinite(terms)]
    rms = np.sqrt(np.mean(np.square(finite))) if finite.size else 0.0
    size = np.abs(expected) + rms + scale + max(np.finfo(given.dtype).tiny, NOTHING)
    error = np.abs(given - expected) / size
    same = given == expected.astype(given.dtype)  # what float32 cannot hold is infinite
    same |= np.isnan(given) & np.isnan(expected)
    error = np.where(same, 0.0, np.where(np.isnan(error), np.inf, error))
    entry = tuple(int(i) for i in np.unravel_index(np.argmax(error), error.shape))
    numbers = float(given[entry]), float(expected[entry])
    return Check("passed", float(error[entry]), name, entry, *numbers)
