"""What the tensors of a graph are called, and which module each op ran in."""

from __future__ import annotations

from pathlib import Path

from nnmed.autograd import Op, Tensor


def parameter_names(model) -> dict:
    """Return the names of a model's parameters, by parameter; nothing without a model."""
    return {} if model is None else {p: name for name, p in model.named_parameters()}


def variable_names(frame) -> dict:
    """Return the names of the tensors among a caller's variables, by op or leaf."""
    names: dict = {}
    for name, value in frame.f_locals.items():
        if isinstance(value, Tensor) and name.isidentifier() and not name.startswith("_"):
            names.setdefault(value._op or value, name)
    return names


def layers_of(ops: list[Op], parameters: dict) -> dict[Op, str]:
    """Return the name of the module in which each op ran, empty where it is unknown.

    Exact if the graph was made under ``nnmed.recording(model)``. Otherwise an op belongs to the
    module whose parameter it uses, and one without parameters to the innermost module that both
    its neighbours in time belong to: so the last ``relu`` of a residual block counts to the
    block's parent.

    Parameters
    ----------
    ops : list of Op
        In the order in which they ran.
    parameters : dict of Tensor to str
    """
    recorded = {op: op.record.layer for op in ops if op.record is not None}
    if any(recorded.values()):
        return {op: recorded.get(op, "") for op in ops}
    known = [_by_parameter(op, parameters) for op in ops]
    before, after = _last_known(known), _last_known(known[::-1])[::-1]
    return {
        op: _common(earlier, later) if layer is None else layer
        for op, layer, earlier, later in zip(ops, known, before, after)
    }


def place_of(op: Op) -> str:
    """Return the user's line that ran an op, without the file's folder."""
    return f"{Path(op.code.co_filename).name}:{op.line}"


def is_within(layer: str, name: str) -> bool:
    """Tell whether `layer` is the module `name` or one below it."""
    return layer == name or layer.startswith(f"{name}.")


def _by_parameter(op, parameters) -> str | None:
    names = [parameters[edge] for edge in op.edges if edge in parameters]
    return names[0].rpartition(".")[0] if names else None


def _last_known(layers) -> list[str]:
    result, last = [], ""
    for layer in layers:
        last = last if layer is None else layer
        result.append(last)
    return result


def _common(one: str, other: str) -> str:
    parts = []
    for a, b in zip(one.split("."), other.split(".")):
        if a != b:
            break
        parts.append(a)
    return ".".join(parts)
