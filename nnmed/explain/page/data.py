"""A derivation as data for the page."""

from __future__ import annotations

import inspect
import math
import textwrap
from functools import lru_cache
from html import escape
from pathlib import Path

import numpy as np

from nnmed.explain.page.arrays import pack
from nnmed.explain.page.mathml import to_mathml
from nnmed.explain.page.reach import reach
from nnmed.explain.step import Leaf


def run_data(derivation, follow=None) -> dict:
    """Return steps, tensors, arrays and a trail of a derivation, fit for JSON.

    A tensor is the output of a step (``s3``), a leaf (``l0``) or a constant (``c3.1``).
    """
    leaves = {leaf: f"l{number}" for number, leaf in enumerate(derivation.leaves)}
    collected = _Collected()
    weights = {item.leaf for step in derivation for item in step.inputs if item.name == "weight"}
    for leaf, key in leaves.items():
        collected.add_tensor(key, leaf.name, leaf.tensor.shape, None, len(leaf.contributions))
        collected.add_array(f"g{key}", leaf.gradient, leaf in weights)
    for step in derivation:
        paths = len(step.contributions)
        collected.add_tensor(f"s{step.index}", step.name, step.shape, step.index, paths)
    steps = [_step(step, leaves, collected) for step in derivation]
    trail = None if follow is None else _trail(derivation, leaves, *follow)
    return {
        "steps": steps, "tensors": collected.tensors, "arrays": collected.arrays, "trail": trail
    }  # fmt: skip


def _trail(derivation, leaves, name: str, index) -> dict:
    trail, item = derivation.follow(name, index), derivation.tensor(name)
    index = index if isinstance(index, tuple) else (index,)
    return {
        "tensor": leaves[item] if isinstance(item, Leaf) else f"s{item.index}",
        "index": _whole_index(index, len(item.shape)),
        "value": _finite(trail.value),
        "gradient": _finite(trail.gradient),
        "passages": {
            passage.step.index: {
                "part": _finite(passage.part),
                "entries": [
                    [entry.place, _finite(entry.change), _finite(entry.gradient)]
                    for entry in passage.entries
                ],
            }
            for passage in trail.passages
        },
    }


def _whole_index(index: tuple, dims: int) -> list:
    """Return an index for each dimension; what is no number stands for all: [0, :, 52, 18]."""
    if Ellipsis in index:
        at = index.index(Ellipsis)
        index = (*index[:at], *[":"] * (dims + 1 - len(index)), *index[at + 1 :])
    whole = [int(i) if isinstance(i, (int, np.integer)) else ":" for i in index]
    return [*whole, *[":"] * (dims - len(whole))]


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None  # JSON has neither NaN nor infinity


class _Collected:
    """Tensors and arrays by their names on the page."""

    def __init__(self):
        self.tensors: dict[str, dict] = {}
        self.arrays: dict[str, dict] = {}

    def add_tensor(self, key: str, name: str, shape, step: int | None, paths: int = 1) -> None:
        about = {"name": name, "shape": list(shape), "step": step, "paths": paths}
        self.tensors.setdefault(key, {**about, "array": key, "gradient": f"g{key}"})

    def add_array(self, key: str, array, is_weight: bool = False) -> None:
        if array is not None and key not in self.arrays:
            self.arrays[key] = pack(array, is_weight)


def _step(step, leaves, collected) -> dict:
    output = f"s{step.index}"
    collected.add_array(output, step.output_value)
    collected.add_array(f"g{output}", step.gradient)
    values = step.input_values
    inputs = [
        _input(step, position, item, values[position], leaves, collected)
        for position, item in enumerate(step.inputs)
    ]
    return {
        "order": step.op.order,
        "op": step.op_name,
        "layer": step.layer,
        "file": Path(step.file).name,
        "line": step.line,
        "source": step.source,
        "forward": _formula(step.forward_latex),
        "inputs": inputs,
        "output": output,
        "gradient": f"g{output}",
        "from": [index for index, _ in step.contributions],
        "saved": [{"what": item.what, "shape": list(item.shape)} for item in step.saved],
        "check": _check(step.check),
        "numbers": step.numbers,
        "code": _code_key(type(step.op)),
        "reach": reach(step),
    }


def _input(step, position, item, value, leaves, collected) -> dict:
    if item.source is not None:
        tensor = f"s{item.source}"
    elif item.leaf is not None:
        tensor = leaves[item.leaf]
    else:
        tensor = f"c{step.index}.{position}"
        collected.add_tensor(tensor, "", item.shape, None)
    is_weight = item.name == "weight"
    collected.add_array(tensor, value, is_weight)
    gradient = None
    if item.gradient is not None:
        gradient = f"e{step.index}.{position}"
        collected.add_array(gradient, item.gradient, is_weight)
    formula = _formula(item.formula) if item.formula and gradient else ""
    return {"name": item.name, "tensor": tensor, "formula": formula, "gradient": gradient}


def _check(check) -> dict | None:
    return None if check is None else {"verdict": check.verdict, "message": check.message}


@lru_cache(maxsize=1024)
def _formula(latex: str) -> str:
    """Return a formula as MathML; one that cannot be converted as it is, none as nothing."""
    if not latex:
        return ""
    try:
        return to_mathml(latex, "block")
    except ValueError:
        return f"<code>{escape(latex)}</code>"


def _code_key(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def code_of(derivation) -> dict[str, str]:
    """Return the source of each kind of op: what its forward and its backward do."""
    kinds = {type(step.op) for step in derivation}
    return {_code_key(kind): _source(kind) for kind in kinds}


def _source(kind: type) -> str:
    try:
        return textwrap.dedent(inspect.getsource(kind))
    except (OSError, TypeError):  # typed in, and in no file
        return ""
