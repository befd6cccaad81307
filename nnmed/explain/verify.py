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

import numpy as np

from nnmed.autograd import Op, Tensor
from nnmed.backend import random
from nnmed.errors import GradientError
from nnmed.explain.check import Check
from nnmed.explain.clone import in_float64, node_in_float64, recorded_gradients
from nnmed.explain.comparison import allowed, compare
from nnmed.explain.differences import Point
from nnmed.explain.step import Step

_ATTEMPTS = 2  # a kink may be met by chance, once; an error is everywhere
# Relative error of a sum of gradients of several paths.
_SUMMED = 1e-4


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
            return _answer(step)
    except GradientError:
        raise
    except Exception as error:  # of an op of one's own that takes float32 alone, for instance
        message = f"it does not run once more, in float64: {type(error).__name__}: {error}"
        return Check("failed" if _is_ours(step) else "skipped", message=_at(step) + message)


def _answer(step: Step) -> Check:
    if _stops_gradients(step):
        return Check("skipped", message="no gradient goes on from here")
    followed = compare(step, random.generator("verify", step.index))
    if followed.message:
        return Check("failed", followed.error, followed.input, message=_at(step) + followed.message)
    point, wrong = _tried(step)
    if not point.repeats():
        return Check("skipped", message="its forward does not do the same again")
    if wrong is not None:
        return _failed(step, followed.error, *wrong, "central differences")
    if not followed.error <= allowed(step):
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


def _stops_gradients(step: Step) -> bool:
    """Tell whether no gradient goes on, and backward says so."""
    if any(item.gradient is not None for item in step.inputs):
        return False
    dy = Tensor._wrap(in_float64(step._gradient))
    return all(g is None for g in recorded_gradients(node_in_float64(step.op), dy))


def _tried(step: Step):
    """Return the point at which the formula was last tried, and an entry that is wrong, or None."""
    for attempt in range(_ATTEMPTS):
        point = Point(step, random.generator("verify", step.index, attempt))
        wrong = point.wrong_entry() if point.is_finite else point.wrong_infinity()
        is_hidden = not point.is_drawn and (point.is_unclear or point.hides_gradients())
        if wrong is None and is_hidden:
            point = Point(step, random.generator("verify", step.index, attempt), is_drawn=True)
            wrong = point.wrong_entry() if point.is_finite else None
        if wrong is None:
            break
    is_known = all(value is not None for value in point.real)
    if wrong is None and is_known and point.has_ties():
        wrong = copy.copy(point).wrong_at_ties()
    return point, wrong


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


def _is_ours(step: Step) -> bool:
    return type(step.op).__module__.startswith("nnmed.")


def _failed(step, error, name, entry, value, expected, method) -> Check:
    where = "of all entries together, times these," if entry is None else f"at {entry}"
    message = f"{_at(step)}the gradient of {name} {where} is {value:.9g}, {method}: {expected:.9g}"
    return Check("failed", error, name, entry, value, expected, message)


def _at(step: Step) -> str:
    layer = f" in {step.layer}" if step.layer else ""
    return f"step {step.index}, {step.op_name}{layer} at {step.file}:{step.line}: "
