"""How far a number reaches through one op: what the page needs to follow it."""

from __future__ import annotations

from nnmed import ops
from nnmed.explain.formula.nodes import Fold, Symbol, parts
from nnmed.explain.formula.parser import parse
from nnmed.explain.formula.scope import head


def reach(step) -> dict:
    """Return which places of the output depend on a place of the first input.

    ``{"kind": "same"}``, ``{"kind": "all"}``, or kernel, stride, padding before and dilation of
    the windows, with the kind ``"window"`` or, for a transposed convolution, ``"transposed"``.
    """
    op, shape = step.op, step.inputs[0].shape if step.inputs else ()
    if isinstance(op, (ops.conv.Conv, ops.conv.ConvTranspose)) and len(shape) == 4:
        stride, padding, dilation, _ = op.windows
        kind = "window" if isinstance(op, ops.conv.Conv) else "transposed"
        return _windows(kind, step.inputs[1].shape[2:], stride, padding, dilation)
    if isinstance(op, (ops.pooling_ops.MaxPool2d, ops.pooling_ops.AvgPool2d)):
        kernel, stride, padding, *dilation = op.windows
        return _windows("window", kernel, stride, padding, *(dilation or [(1, 1)]))
    if isinstance(op, ops.shape.Concatenate) and len(shape) == 4 and op.dim == 1:
        return {"kind": "same"}
    is_ours = type(op).__module__.startswith("nnmed.")
    same = is_ours and len(shape) >= 3 and shape[-2:] == step.shape[-2:] and _is_in_place(step)
    return {"kind": "same" if same else "all"}


def _is_in_place(step) -> bool:
    """Tell whether each number of the output depends on the number at its place in the first input.

    That is what the formula says where it adds nothing up, and both have the same indices.
    """
    if isinstance(step.op, ops.shape.BroadcastTo):
        return True
    equations = parse(step.forward_latex)
    output, x = head(equations[0]), step.op.notation().symbol(step.inputs[0].name)
    if output.name.isupper() or any(isinstance(part, Fold) for part in parts(equations)):
        return False  # matrices, sums
    uses = [part for part in parts(equations) if isinstance(part, Symbol) and part.name == x]
    return all(use.subscripts == output.subscripts for use in uses)


def _windows(kind, kernel, stride, padding, dilation) -> dict:
    before = [ends if isinstance(ends, int) else ends[0] for ends in padding]
    return {
        "kind": kind, "kernel": list(kernel), "stride": list(stride), "before": before,
        "dilation": list(dilation),
    }  # fmt: skip
