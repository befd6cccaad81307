"""How far a number reaches through one op: what the page needs to follow it."""

from __future__ import annotations

from nnmed import ops

# Ops that work number by number, or along the channels alone: the output at a place depends on
# that place of the inputs.
_IN_PLACE = (
    "Add", "Sub", "Mul", "Div", "Neg", "Pow", "PowScalar", "Exp", "Log", "Sqrt", "Sin", "Cos",
    "Abs", "Cast", "Clone", "Maximum", "Minimum", "Clip", "Where", "Dropout", "DropoutGrad",
    "PRelu", "BatchNormInference", "BatchNormReluInference", "BroadcastTo", "ToDevice",
)  # fmt: skip


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
    in_place = isinstance(op, ops.activation.Activation) or op.name in _IN_PLACE
    is_ours = type(op).__module__.startswith("nnmed.")
    same = in_place and is_ours and len(shape) >= 3 and shape[-2:] == step.shape[-2:]
    return {"kind": "same" if same else "all"}


def _windows(kind, kernel, stride, padding, dilation) -> dict:
    before = [ends if isinstance(ends, int) else ends[0] for ends in padding]
    return {
        "kind": kind, "kernel": list(kernel), "stride": list(stride), "before": before,
        "dilation": list(dilation),
    }  # fmt: skip
