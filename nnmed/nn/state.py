"""What ``Module.state_dict`` collects and ``Module.load_state_dict`` checks and writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from nnmed.autograd.tensor import Tensor, array_like
from nnmed.backend.arrays import to_device
from nnmed.errors import ModelError

# A message lists so many names of a kind, then counts the rest.
_LISTED = 12


class LoadResult(NamedTuple):
    """Names that a state lacked, and names that the module does not know."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return (
            f"LoadResult(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"
        )


def collect(module, prefix: str = "") -> dict[str, Tensor]:
    """Return the parameters and persistent buffers by name, in PyTorch's order.

    A tensor that two names share appears under both, as PyTorch's readers expect.
    """
    own = {
        **module._parameters,
        **{n: b for n, b in module._buffers.items() if n not in module._temporary},
    }
    result = {prefix + name: tensor for name, tensor in own.items() if tensor is not None}
    for name, child in module._modules.items():
        if child is not None:
            result.update(collect(child, f"{prefix}{name}."))
    return result


def load(module, state_dict, strict: bool) -> LoadResult:
    """Write `state_dict` into the module, all of it or, on any misfit, nothing."""
    kind = type(module).__name__
    if not isinstance(state_dict, Mapping):
        raise ModelError(f"{kind}: a state is a mapping from names, got {type(state_dict)}")
    own = collect(module)
    missing = [name for name in own if name not in state_dict]
    unexpected = [name for name in state_dict if name not in own]
    arrays, misfits = {}, []
    for name, tensor in own.items():
        if name in state_dict:
            arrays[name] = array_like(state_dict[name])
            problem = _misfit(arrays[name], tensor)
            if problem:
                misfits.append(f"{name} ({problem})")
    problems = [("does not fit", misfits)]
    if strict:
        problems += [("missing", missing), ("unexpected", unexpected)]
    lines = [f"  {what}: {_listing(names)}" for what, names in problems if names]
    if lines:
        raise ModelError("\n".join([f"the state does not fit {kind}:", *lines]))
    for name, array in arrays.items():
        own[name]._assign(..., to_device(array, own[name].device))
    return LoadResult(missing, unexpected)


def _misfit(array, tensor: Tensor) -> str:
    """Return what is wrong with writing `array` into `tensor`, or nothing."""
    if array.shape != tensor.shape:
        return f"shape {array.shape}, expected {tensor.shape}"
    kinds = "f" if tensor.dtype.kind == "f" else "iu"
    if array.dtype.kind not in kinds:
        return f"dtype {array.dtype}, expected {tensor.dtype}"
    return ""


def _listing(names: list) -> str:
    text = ", ".join(map(str, names[:_LISTED]))
    return text if len(names) <= _LISTED else f"{text} and {len(names) - _LISTED} more"
