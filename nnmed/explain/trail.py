"""Follow a number to the loss: how much of its gradient passes through each step, and where.

Raised a little, a number x changes an entry y of a later output by dy/dx, and that the loss by
dL/dy. Summed over all entries of one output, (dy/dx) (dL/dy) is the part of dL/dx that passes
through that step: all of it where there is one way only, a share where ways part and meet again.
The changes dy/dx are made step by step from the same kept arrays as the gradients, in float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnmed.autograd import Op
from nnmed.errors import GradientError, OutOfRangeError, UsageError
from nnmed.explain.clone import pushed_forward
from nnmed.explain.step import Leaf, Step

MOST = 5
"""Entries of an output that are named, at most."""


@dataclass(frozen=True)
class Entry:
    """An entry of an output on the way.

    Attributes
    ----------
    place : tuple of int
    change : float
        Of the entry, for one unit of what is followed.
    gradient : float
        Of the loss by the entry.
    """

    place: tuple[int, ...]
    change: float
    gradient: float

    @property
    def part(self) -> float:
        """The part of the gradient that passes here."""
        return self.change * self.gradient

    def __str__(self) -> str:
        place = ", ".join(map(str, self.place))
        return f"[{place}]: {self.change:.3g} * {self.gradient:.3g} = {self.part:.3g}"


@dataclass(frozen=True)
class Passage:
    """What passes through the output of one step.

    Attributes
    ----------
    step : Step
    part : float
        Of the gradient of what is followed.
    sources : dict of (int or None) to float
        The steps from whose outputs it comes, with the part that each brings; None for the tensor
        that is followed.
    entries : list of Entry
        Those with the largest parts, largest first.
    """

    step: Step
    part: float
    sources: dict[int | None, float]
    entries: list[Entry]


@dataclass(frozen=True)
class Trail:
    """The way of a number to the loss.

    Attributes
    ----------
    name : str
        Of the tensor.
    index
        Which number it is; of several, they are raised together.
    value : float
        The mean of the numbers.
    gradient : float
        The sum of their gradients: raise them by h, and the loss changes by ``gradient * h``.
    passages : list of Passage
        From the tensor to the loss.
    """

    name: str
    index: object
    value: float
    gradient: float
    passages: list[Passage]

    def __str__(self) -> str:
        head = f"{self.name}[{_text(self.index)}] = {self.value:.6g}, dL/dx = {self.gradient:.6g}"
        rows = [("step", "op", "part", "through")]
        for passage in self.passages:
            step = passage.step
            op = f"{step.op_name} {step.layer}".strip()
            most = str(passage.entries[0]) if passage.entries else ""
            rows.append((str(step.index), op, f"{passage.part:.3g}", most))
        widths = [max(map(len, column)) for column in zip(*rows)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return "\n".join([head, *lines])


def follow(item: Leaf | Step, index, steps: list[Step]) -> Trail:
    """Return the trail of a leaf's, or of an output's, numbers at an index."""
    array = item.tensor.numpy() if isinstance(item, Leaf) else item.output_value
    direction = np.zeros(item.shape)
    try:
        direction[index] = 1.0
    except IndexError as error:
        raise OutOfRangeError(
            f"follow: {item.name} {item.shape} has no [{_text(index)}]: {error}"
        ) from None
    if not direction.any():
        raise UsageError(f"follow: [{_text(index)}] of {item.name} {item.shape} is no number")
    chosen = direction == 1
    key = item if isinstance(item, Leaf) else item.index
    gradient = float(item.gradient[chosen].sum(dtype=np.float64))
    with np.errstate(all="ignore"):  # numbers may be infinite
        passages = [*_passages({key: direction}, steps, np.isfinite(gradient))]
    value = np.nan if array is None else float(array[chosen].mean(dtype=np.float64))
    return Trail(item.name, index, value, gradient, passages)


def _passages(changes: dict, steps: list[Step], is_number: bool):
    """Yield what passes through each step that depends on what is followed.

    `changes` are those of tensors, by leaf or number of the step; at first what is followed, of
    which the gradient is a number or not.
    """
    (followed,) = changes
    for step in reversed(steps):
        keys = [item.leaf if item.source is None else item.source for item in step.inputs]
        if not any(key in changes for key in keys):
            continue
        if type(step.op).backward is Op.backward:
            raise GradientError(
                f"follow: {step.op_name} at {step.file}:{step.line} has no backward that can be "
                "recorded"
            )
        change = pushed_forward(step.op, [changes.get(k) for k in keys], step.shape, step.device)
        if is_number:  # what stays as it is counts 0, beside infinite slopes too
            change = np.where(np.isnan(change), 0.0, change)
        sources = _sources(step, keys, changes, followed)
        changes[step.index] = change
        yield _passage(step, change, sources)
        for key in {key for key in keys if key in changes}:
            if _last_use(key, steps) == step.index:
                del changes[key]


def _sources(step: Step, keys, changes: dict, followed) -> dict:
    """Return the part that comes from each source of a step."""
    sources: dict = {}
    for item, key in zip(step.inputs, keys):
        if key in changes and item.gradient is not None:
            source = None if key == followed else key
            part = float(_product(changes[key], item.gradient).sum())
            sources[source] = sources.get(source, 0.0) + part
    return sources


def _product(change: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    return np.where(change == 0, 0.0, change * gradient)


def _passage(step: Step, change: np.ndarray, sources: dict) -> Passage:
    gradient = step.gradient.astype(np.float64)
    parts = _product(change, gradient)
    order = np.argsort(-np.abs(parts), axis=None)[:MOST]
    places = [tuple(map(int, np.unravel_index(number, parts.shape))) for number in order]
    entries = [Entry(p, float(change[p]), float(gradient[p])) for p in places if parts[p]]
    return Passage(step, float(parts.sum()), sources, entries)


def _last_use(key, steps: list[Step]) -> int:
    """Return the number of the last step in forward order that a tensor goes into."""
    contributions = steps[key].contributions if isinstance(key, int) else key.contributions
    return min(index for index, _ in contributions)


def _text(index) -> str:
    """Return an index as it is written between brackets."""
    parts = index if isinstance(index, tuple) else (index,)
    return ", ".join(_part(part) for part in parts)


def _part(part) -> str:
    if part is Ellipsis:
        return "..."
    if not isinstance(part, slice):
        return str(part)
    bounds = ["" if bound is None else str(bound) for bound in (part.start, part.stop)]
    return ":".join([*bounds, *([] if part.step is None else [str(part.step)])])
