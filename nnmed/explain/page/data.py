"""A derivation as data for the page."""

from __future__ import annotations

import inspect
import textwrap
from functools import lru_cache
from html import escape
from pathlib import Path

from nnmed.explain.page.arrays import pack
from nnmed.explain.page.mathml import to_mathml
from nnmed.explain.page.reach import reach
from nnmed.explain.page.trail import trail_data


def run_data(derivation, trail=None, first=None) -> dict:
    """Return steps, tensors, arrays and a trail of a derivation, fit for JSON.

    A tensor is the output of a step (``s3``), a leaf (``l0``) or a constant (``c3.1``). `first` are
    the pictures of tensors that are to be shown before others.
    """
    leaves = {leaf: f"l{number}" for number, leaf in enumerate(derivation.leaves)}
    weights = {
        tensor_of(step, position, leaves)
        for step in derivation
        for position, item in enumerate(step.inputs)
        if item.name == "weight"
    }
    collected = _Collected(first or {}, weights)
    for leaf, key in leaves.items():
        collected.add_tensor(key, leaf.name, leaf.tensor.shape, None, len(leaf.contributions))
        collected.add_array(f"g{key}", leaf.gradient, key)
    for step in derivation:
        paths = len(step.contributions)
        collected.add_tensor(f"s{step.index}", step.name, step.shape, step.index, paths)
    return {
        "steps": [_step(step, leaves, collected) for step in derivation],
        "tensors": collected.tensors,
        "arrays": collected.arrays,
        "trail": None if trail is None else trail_data(trail, derivation),
    }


class _Collected:
    """Tensors and arrays by their names on the page."""

    def __init__(self, first: dict, weights: set[str]):
        self.first, self.weights = first, weights
        self.tensors: dict[str, dict] = {}
        self.arrays: dict[str, dict] = {}

    def add_tensor(self, key: str, name: str, shape, step: int | None, paths: int = 1) -> None:
        about = {"name": name, "shape": list(shape), "step": step, "paths": paths}
        self.tensors.setdefault(key, {**about, "array": key, "gradient": f"g{key}"})

    def add_array(self, key: str, array, tensor: str) -> None:
        """Add the value or a gradient of a tensor; all of them show the same pictures."""
        if array is not None and key not in self.arrays:
            self.arrays[key] = pack(array, tensor in self.weights, self.first.get(tensor, ()))


def tensor_of(step, position: int, leaves: dict) -> str:
    """Return what an input of a step is called on the page."""
    item = step.inputs[position]
    if item.source is not None:
        return f"s{item.source}"
    return f"c{step.index}.{position}" if item.leaf is None else leaves[item.leaf]


def _step(step, leaves, collected) -> dict:
    output = f"s{step.index}"
    collected.add_array(output, step.output_value, output)
    collected.add_array(f"g{output}", step.gradient, output)
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
    tensor = tensor_of(step, position, leaves)
    if tensor[0] == "c":
        collected.add_tensor(tensor, "", item.shape, None)
    collected.add_array(tensor, value, tensor)
    gradient = None
    if item.gradient is not None:
        gradient = f"e{step.index}.{position}"
        collected.add_array(gradient, item.gradient, tensor)
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
