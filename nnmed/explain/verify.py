"""Check a step of backward on its own, in float64.

Three questions are asked.

Is the formula right? The op runs again in float64 near the real point, and the gradient that
its backward gives there is compared with central differences of its forward:
(f(x + h v) - f(x - h v)) / 2h. Small inputs are moved entry by entry, large ones along random
directions v; where one fails, halving it finds the entry (:mod:`nnmed.explain.differences`).

Did backward follow it? The gradient that the step gave, in float32 and by the fused kernels, is
compared entry by entry with the formula in float64, put on what the op had kept. A sum of terms
of both signs is off by the size of its terms, not of its result: what the formula gives for dy
with random signs tells that size.

And are the formulas that are shown those of the code? For small arrays they are computed
(:mod:`nnmed.explain.formula`).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np

from nnmed.autograd import Op, Tensor
from nnmed.backend import precision, random
from nnmed.backend.arrays import device_of, to_device
from nnmed.errors import GradientError
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
# Relative error of a sum of gradients of several paths.
_SUMMED = 1e-4


@dataclass(frozen=True)
class Check:
    """The verdict on a step.

    Attributes
    ----------
    verdict : {"passed", "failed", "skipped"}
    error : float
        Largest difference between the gradients of the step and the formula in float64,
        relative to the terms that they are the sum of.
    input : str
        Name of the input for which it is largest, or which fails.
    entry : tuple of int or None
        Where in that input's gradient.
    value, expected : float
        What backward gives there, and what it should.
    message : str
        Why it failed or was skipped, in a sentence; empty if it passed.
    """

    verdict: str
    error: float = 0.0
    input: str = ""
    entry: tuple[int, ...] | None = None
    value: float = np.nan
    expected: float = np.nan
    message: str = ""


def check_step(step: Step) -> Check:
    """Answer the three questions for a step.

    Raises GradientError if a tensor that the op kept was changed in place since.
    """
    from nnmed.nn.hooks import GradientProbe  # loads all layers

    if isinstance(step.op, GradientProbe):
        return Check("skipped", message="a hook may change this gradient")
    if not np.prod(step.shape) or not all(np.prod(item.shape) for item in step.inputs):
        return Check("skipped", message="there are no entries")
    if type(step.op).backward is Op.backward:
        return Check("skipped", message="its backward cannot be recorded, and so not in float64")
    try:
        with np.errstate(all="ignore"):  # points outside an op's domain are tried and left
            return _checked(step)
    except GradientError:
        raise
    except Exception as error:  # of an op of one's own that takes float32 alone, for instance
        message = f"it does not run once more, in float64: {type(error).__name__}: {error}"
        return Check("failed" if _is_ours(step) else "skipped", message=_at(step) + message)


def _checked(step: Step) -> Check:
    if all(item.gradient is None for item in step.inputs):
        dy = Tensor._wrap(in_float64(step._gradient))
        if all(g is None for g in recorded_gradients(node_in_float64(step.op), dy)):
            return Check("skipped", message="no gradient goes on from here")
    followed = _compare(step, random.generator("verify", step.index))
    if followed.message:
        return Check("failed", followed.error, followed.input, message=_at(step) + followed.message)
    for attempt in range(2):  # a kink may be met by chance, once; an error is everywhere
        point = Point(step, random.generator("verify", step.index, attempt))
        if not point.repeats():
            return Check("skipped", message="its forward does not do the same again")
        wrong = point.wrong_entry() if point.is_finite else point.wrong_infinity()
        is_hidden = not point.is_drawn and (point.is_unclear or point.hides_gradients())
        if wrong is None and is_hidden:
            point = Point(step, random.generator("verify", step.index, attempt), is_drawn=True)
            wrong = point.wrong_entry() if point.is_finite else None
        if wrong is None:
            break
    if wrong is None and all(value is not None for value in point.real) and point.has_ties():
        wrong = copy.copy(point).wrong_at_ties()
    if wrong is not None:
        return _failed(step, followed.error, *wrong, "central differences")
    if not followed.error <= _allowed(step):
        found = followed.input, followed.entry, followed.value, followed.expected
        return _failed(step, followed.error, *found, "the formula in float64")
    formulas = [*step.false_formulas, *(step.unread_formulas if _is_ours(step) else ())]
    if formulas:
        return Check("failed", followed.error, message=_at(step) + formulas[0])
    if not point.is_finite:
        return Check("skipped", message="no point was found at which all numbers are finite")
    if point.is_drawn and (point.is_unclear or point.hides_all()):
        return Check("skipped", message="rounding hides what the gradient does, in float64 too")
    return followed


def _is_ours(step: Step) -> bool:
    return type(step.op).__module__.startswith("nnmed.")


def check_sum(item, steps: list[Step]) -> Check | None:
    """Check that the gradient of a step's output, or of a leaf, is what other steps brought.

    Returns None if it is. The loss begins with 1.
    """
    parts = [steps[index].inputs[position].gradient for index, position in item.contributions]
    if not parts:
        parts = [np.ones_like(item.gradient)]
    expected, size = sum(np.float64(part) for part in parts), sum(np.abs(part) for part in parts)
    with np.errstate(all="ignore"):
        error = np.abs(item.gradient - expected) / np.maximum(size, np.finfo(np.float64).tiny)
    error = np.where(np.isfinite(expected), error, 0)  # infinities, and their differences
    if not error.size or error.max() <= _SUMMED:
        return None
    entry = tuple(int(i) for i in np.unravel_index(np.argmax(error), error.shape))
    value, wanted = float(item.gradient[entry]), float(expected[entry])
    message = (
        f"the gradient of {item.name} at {entry} is {value:.9g}, the sum of what "
        f"{len(parts)} steps brought: {wanted:.9g}"
    )
    return Check("failed", float(error.max()), item.name, entry, value, wanted, message)


def _failed(step, error, name, entry, value, expected, method) -> Check:
    where = "of all entries together, times these," if entry is None else f"at {entry}"
    message = f"{_at(step)}the gradient of {name} {where} is {value:.9g}, {method}: {expected:.9g}"
    return Check("failed", error, name, entry, value, expected, message)


def _at(step: Step) -> str:
    layer = f" in {step.layer}" if step.layer else ""
    return f"step {step.index}, {step.op_name}{layer} at {step.file}:{step.line}: "


def _compare(step: Step, rng) -> Check:
    """Compare the step's gradients with the formula in float64."""
    dy = in_float64(step._gradient)
    signs = rng.choice([-1.0, 1.0], dy.shape) * rng.uniform(0.5, 1.0, dy.shape)
    exact = node_in_float64(step.op)

    def gradients(node, dy):
        dy = np.asarray(dy) if isinstance(dy, np.generic) else dy  # NumPy makes 0-d results so
        return recorded_gradients(node, Tensor._wrap(dy))

    expected = gradients(exact, dy)
    terms = gradients(exact, dy * to_device(np.asarray(signs), step.device))
    check = _worst(step, expected, terms)
    if check.error > _allowed(step):  # unless rounding of what goes in explains it
        near = []
        for sign in (1, -1):  # to either side, for what turns at a bound
            same, eps = copy.deepcopy(rng), sign * np.finfo(step.dtype).eps
            near.append(gradients(_rounded(exact, same, eps), _rounded(dy, same, eps)))
        check = _worst(step, expected, terms, near)
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


def _worst(step: Step, expected, terms, near=()) -> Check:
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
        scale = _CONDITION * max(changes, default=0.0) / _allowed(step)
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


def _allowed(step: Step) -> float:
    if step.dtype == np.float64 and all(item.dtype in (None, np.float64) for item in step.inputs):
        return _ALLOWED_FLOAT64
    with precision.multiplying_in(step.op.precision):
        return _ALLOWED[precision.current()]
