"""The trail of a number as data for the page, and the pictures that it asks for."""

from __future__ import annotations

import math

import numpy as np

from nnmed.explain.step import Leaf
from nnmed.explain.trail import Trail

_CHANNELS = 2  # of each output, those that most passes through


def trail_data(trail: Trail, derivation) -> dict:
    """Return a trail fit for JSON."""
    item = derivation.tensor(trail.name)
    key = f"l{derivation.leaves.index(item)}" if isinstance(item, Leaf) else f"s{item.index}"
    return {
        "tensor": key,
        "index": _whole_index(trail.index, len(item.shape)),
        "value": _finite(trail.value),
        "gradient": _finite(trail.gradient),
        "passages": {passage.step.index: _passage(passage) for passage in trail.passages},
    }


def _passage(passage) -> dict:
    entries = [
        [entry.place, _finite(entry.change), _finite(entry.gradient)] for entry in passage.entries
    ]
    return {"part": _finite(passage.part), "entries": entries}


def pictures_on(trail: Trail, derivation) -> dict[str, list]:
    """Return, by tensor of the page, which of its pictures the trail passes through."""
    leaves = {leaf: f"l{number}" for number, leaf in enumerate(derivation.leaves)}
    wanted: dict[str, list] = {}
    for passage in trail.passages:
        step = passage.step
        if len(step.shape) < 3:
            continue
        channels = dict.fromkeys(entry.place[1] for entry in passage.entries)
        channels = [*channels][:_CHANNELS]
        wanted[f"s{step.index}"] = [(0, channel) for channel in channels]
        for item in step.inputs:
            if item.name == "weight" and item.leaf is not None and len(item.shape) > 2:
                wanted[leaves[item.leaf]] = [(c, i) for c in channels for i in range(item.shape[1])]
    return wanted


def _whole_index(index, dims: int) -> list:
    """Return an index for each dimension; what is no number stands for all: [0, :, 52, 18]."""
    index = index if isinstance(index, tuple) else (index,)
    if Ellipsis in index:
        at = index.index(Ellipsis)
        index = (*index[:at], *[":"] * (dims + 1 - len(index)), *index[at + 1 :])
    whole = [int(i) if isinstance(i, (int, np.integer)) else ":" for i in index]
    return [*whole, *[":"] * (dims - len(whole))]


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None  # JSON has neither NaN nor infinity
