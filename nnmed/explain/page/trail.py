"""The trail of a number as data for the page, and the pictures that it asks for."""

from __future__ import annotations

import math

import numpy as np

from nnmed.errors import UsageError
from nnmed.explain.step import Leaf
from nnmed.explain.trail import Trail
from nnmed.ops.conv import ConvTranspose

_CHANNELS = 2  # of each output, those that most passes through


def trail_data(trail: Trail, derivation) -> dict:
    """Return a trail fit for JSON."""
    item = derivation.tensor(trail.name)
    key = f"l{derivation.leaves.index(item)}" if isinstance(item, Leaf) else f"s{item.index}"
    return {
        "tensor": key,
        "index": _whole_index(trail.index, item.shape),
        "value": _finite(trail.value),
        "gradient": _finite(trail.gradient),
        "passages": {passage.step.index: _passage(passage) for passage in trail.passages},
    }


def _passage(passage) -> dict:
    entries = [
        [entry.place, _finite(entry.change), _finite(entry.gradient)] for entry in passage.entries
    ]
    sources = [[source, _finite(part)] for source, part in passage.sources.items()]
    return {"part": _finite(passage.part), "sources": sources, "entries": entries}


def pictures_on(trail: Trail, derivation) -> dict[str, list]:
    """Return, by tensor of the page, which of its pictures the trail passes through."""
    leaves = {leaf: f"l{number}" for number, leaf in enumerate(derivation.leaves)}
    wanted: dict[str, list] = {}
    for passage in trail.passages:
        step = passage.step
        if len(step.shape) < 3:
            continue
        places = [*dict.fromkeys(entry.place[:2] for entry in passage.entries)][:_CHANNELS]
        wanted[f"s{step.index}"] = places
        for item in step.inputs:
            if item.name == "weight" and item.leaf is not None and len(item.shape) > 2:
                wanted[leaves[item.leaf]] = _filters(step.op, item.shape, [c for _, c in places])
    return wanted


def _filters(op, shape, channels) -> list:
    """Return the places in a weight of the filters that make some channels of the output."""
    if isinstance(op, ConvTranspose):  # (in, out, ...)
        return [(i, c) for c in channels for i in range(shape[0]) if c < shape[1]]
    return [(c, i) for c in channels for i in range(shape[1])]


def _whole_index(index, shape) -> list:
    """Return an index with a number for each dimension, or ``":"`` for all along it.

    Raises UsageError for what the page has no words for, such as a part of a dimension.
    """
    if not shape:
        return []
    chosen = np.zeros(shape, bool)
    chosen[index] = True
    along = [np.unique(places) for places in np.nonzero(chosen)]
    whole = [int(places[0]) if len(places) == 1 else ":" for places, length in zip(along, shape)]
    is_whole = all(len(places) in (1, length) for places, length in zip(along, shape))
    if not is_whole or chosen.sum() != np.prod([len(places) for places in along]):
        raise UsageError("to_html: follow= is to be one number, or all along some dimensions")
    return whole


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None  # JSON has neither NaN nor infinity
