"""A derivation as JSON."""

from __future__ import annotations

import json
import math

import numpy as np

from nnmed.explain.written import LARGEST


def write(derivation) -> str:
    """Return the steps and leaves with their attributes; NaN and infinity become null."""
    content = {
        "steps": [_step(step) for step in derivation],
        "leaves": [
            {
                "name": leaf.name,
                "shape": leaf.shape,
                "contributions": leaf.contributions,
                "gradient": _gradient(leaf),
                "chain_rule": derivation.chain_rule(leaf.name),
            }
            for leaf in derivation.leaves
        ],
    }
    return json.dumps(_finite(content), indent=1, allow_nan=False)


def _step(step) -> dict:
    return {
        "index": step.index,
        "op": step.op_name,
        "name": step.name,
        "layer": step.layer,
        "file": step.file,
        "line": step.line,
        "source": step.source,
        "forward": step.forward_latex,
        "shape": step.shape,
        "dtype": str(step.dtype),
        "gradient": _gradient(step),
        "contributions": step.contributions,
        "inputs": [_input(item) for item in step.inputs],
        "saved": [{**vars(saved), "dtype": str(saved.dtype)} for saved in step.saved],
        "flops": step.flops,
        "bytes": step.nbytes,
        "forward_seconds": step.forward_seconds,
        "backward_seconds": step.backward_seconds,
        "notes": step.notes,
        "numbers": step.numbers,
        "check": vars(step.check) if step.check else None,
    }


def _input(item) -> dict:
    return {
        "name": item.name,
        "shape": item.shape,
        "dtype": None if item.dtype is None else str(item.dtype),
        "formula": item.formula,
        "source": item.source,
        "leaf": None if item.leaf is None else item.leaf.name,
        "gradient": _gradient(item),
    }


def _gradient(item) -> dict | None:
    """Return the statistics of a gradient, and its numbers if they are few."""
    if item.gradient is None:
        return None
    small = item.gradient.size <= LARGEST
    return {**vars(item.statistics), **({"values": item.gradient.tolist()} if small else {})}


def _finite(value):
    """Return `value` with null for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return value
