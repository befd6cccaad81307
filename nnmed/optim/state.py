"""Storing an optimizer's state: checks on what is loaded, arrays apart from JSON."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nnmed.autograd.tensor import Tensor, array_like
from nnmed.backend.arrays import array_module, to_device
from nnmed.errors import ModelError

_COUNTERS = {"step": int, "mu_product": float}  # numbers of a parameter, not arrays


def pack_state(state_dict: dict) -> tuple[dict, dict[str, np.ndarray]]:
    """Separate an optimizer's state into what JSON can hold and named arrays.

    Parameters
    ----------
    state_dict : dict
        From ``Optimizer.state_dict()``.

    Returns
    -------
    metadata : dict
        The same tree, fit for JSON, without the arrays.
    arrays : dict from str to array
        Arrays on the CPU under names such as ``"0.exp_avg"``, fit for safetensors.
    """
    arrays, state = {}, {}
    for index, values in state_dict["state"].items():
        state[str(index)] = {}
        for name, value in values.items():
            if isinstance(value, (int, float, type(None))):
                state[str(index)][name] = value
            else:
                arrays[f"{index}.{name}"] = to_device(value, "cpu")
    return {"state": state, "param_groups": state_dict["param_groups"]}, arrays


def unpack_state(metadata: dict, arrays: Mapping[str, np.ndarray]) -> dict:
    """Put together what :func:`pack_state` separated, for ``Optimizer.load_state_dict``.

    Raises
    ------
    ModelError
        If `metadata` is not of this form, or an array belongs to no parameter in it.
    """
    saved = metadata.get("state") if isinstance(metadata, Mapping) else None
    if not isinstance(saved, Mapping) or not all(isinstance(v, Mapping) for v in saved.values()):
        raise ModelError("optimizer state: the metadata have no 'state' of the parameters")
    state = {index: dict(values) for index, values in saved.items()}
    for key, array in arrays.items():
        index, _, name = key.partition(".")
        if index not in state or not name:
            raise ModelError(f"optimizer state: the array {key!r} belongs to no parameter")
        state[index][name] = array
    return {"state": state, "param_groups": metadata.get("param_groups")}


def read_groups(owner: str, state_dict, groups: list[dict], required) -> list[dict]:
    """Return the options to load into `groups`; each must have the `required` names."""
    saved = state_dict.get("param_groups") if isinstance(state_dict, Mapping) else None
    if not isinstance(saved, (list, tuple)) or not all(
        isinstance(group, Mapping) and isinstance(group.get("params"), (list, tuple))
        for group in saved
    ):
        raise ModelError(f"{owner}: the state has no list of 'param_groups'")
    sizes = [len(group["params"]) for group in saved]
    expected = [len(group["params"]) for group in groups]
    if sizes != expected:
        raise ModelError(
            f"{owner}: the state has groups of {sizes} parameters, the optimizer of {expected}"
        )
    return [_read_options(owner, group, required) for group in saved]


def _read_options(owner, group, required):
    # Options that came later than the first states: absent, they are the optimizer's own.
    later = ("maximize", "decoupled_weight_decay")
    group = {**{name: required[name] for name in later if name in required}, **group}
    missing = [name for name in required if name not in group]
    if missing:
        raise ModelError(f"{owner}: the state lacks the options {', '.join(missing)}")
    # JSON knows no tuples: what it made a list becomes a tuple again.
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in group.items()
        if name != "params"
    }


def read_state(owner: str, state_dict: Mapping, parameters: list[Tensor]) -> dict:
    """Return the state of each of `parameters`, copied and checked against them."""
    saved = state_dict.get("state")
    if not isinstance(saved, Mapping):
        raise ModelError(f"{owner}: the state has no 'state'")
    result = {}
    for key, values in saved.items():
        index = int(key) if str(key).isdecimal() else -1
        if not 0 <= index < len(parameters) or not isinstance(values, Mapping):
            raise ModelError(
                f"{owner}: the state has an entry {key!r}, the optimizer has parameters 0 to "
                f"{len(parameters) - 1}"
            )
        result[parameters[index]] = {
            name: _read_value(owner, f"{key}.{name}", value, parameters[index])
            for name, value in values.items()
            if value is not None
        }
    return result


def _read_value(owner, key, value, parameter):
    """Return a counter as an int, an array as a copy on the parameter's device."""
    array = array_like(value)
    if array.dtype.kind not in "iuf":
        raise ModelError(f"{owner}: the state {key!r} is not made of numbers")
    counter = _COUNTERS.get(key.partition(".")[2])
    if counter is not None and array.size == 1:
        return counter(array.item())
    if array.shape != parameter.shape:
        raise ModelError(
            f"{owner}: the state {key!r} has shape {array.shape}, the parameter {parameter.shape}"
        )
    array = to_device(array, parameter.device)
    return array_module(array).array(array, dtype=parameter.dtype, order="C")
