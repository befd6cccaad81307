"""Fold batch normalisation into the convolution before it, for inference.

In evaluation batch norm is a map ``y = scale * x + offset`` with constants for each channel,
and so is the end of a convolution: their product is a convolution with other weights.
"""

from __future__ import annotations

import copy

import numpy as np

from nnmed.autograd import modes
from nnmed.autograd import op as op_module
from nnmed.backend.arrays import to_device
from nnmed.errors import ShapeError, UsageError
from nnmed.nn.layers.activation import ReLU
from nnmed.nn.layers.conv import _Convolution, _ConvTranspose
from nnmed.nn.layers.linear import Identity
from nnmed.nn.layers.normalization import _BatchNorm
from nnmed.nn.module import Module
from nnmed.nn.parameter import Parameter


def fuse_conv_bn_eval(conv: Module, bn: Module) -> Module:
    """Return a copy of `conv` that does what `conv` and `bn` do one after the other.

    Parameters
    ----------
    conv : Conv1d, Conv2d, Conv3d or ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
        That it is transposed need not be said, unlike in PyTorch.
    bn : BatchNorm1d, BatchNorm2d or BatchNorm3d
        Both must be in evaluation mode.

    Returns
    -------
    Module
        weight * s and (bias - running_mean) * s + bn.bias, with
        s = bn.weight / sqrt(running_var + eps) for each output channel.

    Raises
    ------
    UsageError
        If one of the two is something else or in training mode, or `bn` has no running
        statistics or ends in relu.
    ShapeError
        If the numbers of channels differ.
    """
    _check(conv, bn)
    if bn.relu:
        raise UsageError(
            "fuse_conv_bn_eval: the batch norm ends in relu, which no convolution does: take "
            "fold_batch_norms, or one without relu=True"
        )
    return _fused(conv, bn)


def _fused(conv, bn) -> Module:
    channels = conv.out_channels
    mean, var = (t.numpy().astype(np.float64) for t in (bn.running_mean, bn.running_var))
    scale = _values(bn.weight, np.ones(channels)) / np.sqrt(var + bn.eps)
    offset = _values(bn.bias, np.zeros(channels))
    bias = (_values(conv.bias, np.zeros(channels)) - mean) * scale + offset
    fused = copy.deepcopy(conv)
    for name, values in (("weight", _scaled(conv, scale)), ("bias", bias)):
        values = to_device(values.astype(conv.weight.dtype), conv.weight.device)
        setattr(fused, name, Parameter(values, requires_grad=conv.weight.requires_grad))
    return fused


def fold_batch_norms(model: Module, input) -> Module:
    """Return a copy of `model` for inference, its batch norms folded into convolutions.

    `model` is run once on `input`, to see which convolution a batch norm follows. It is
    folded if nothing but the batch norm takes the output of the convolution, and both are
    called once; an Identity takes its place, or the ReLU that it ends in. All other modules
    stay as they are.

    Parameters
    ----------
    model : Module
        Any module that takes one tensor. Its forward must not choose its way by the input.
    input : Tensor
        One image is enough; the values do not matter.

    Returns
    -------
    Module
        In evaluation mode. Its outputs are those of ``model.eval()`` up to rounding.
    """
    model = copy.deepcopy(model).eval()
    replaced = {}
    for conv, bn in _find_pairs(model, input):
        replaced[conv], replaced[bn] = _fused(conv, bn), ReLU() if bn.relu else Identity()
    for module in list(model.modules()):
        for name, child in module._modules.items():
            module._modules[name] = replaced.get(child, child)
    return model.eval()


def _find_pairs(model, input) -> list:
    """Return the pairs (convolution, batch norm) that can be made one."""
    trace = _Trace(model)
    op_module.observers.append(trace)
    try:
        with modes.no_grad():
            result = model(input)
    finally:
        op_module.observers.remove(trace)
        trace.remove_hooks()
    returned = list(_members(result))
    pairs = []
    for bn, (x, _) in trace.once(_BatchNorm):
        for conv, (_, y) in trace.once(_Convolution):
            alone = trace.uses.get(id(y)) == 1 and not any(y is r for r in returned)
            if y is x and alone and bn.running_mean is not None:
                pairs.append((conv, bn))
    return pairs


def _members(result):
    """Yield what a forward returned, out of tuples, lists and dicts."""
    if isinstance(result, dict):
        result = list(result.values())
    if not isinstance(result, (tuple, list)):
        yield result
        return
    for member in result:
        yield from _members(member)


class _Trace:
    """Watches a forward pass: what modules were given and gave, and how often a tensor served.

    Tensors are told apart by identity, so all of them are held until the trace is done.
    """

    def __init__(self, model):
        self.uses, self._calls, self._held = {}, {}, []
        self._handles = [
            module.register_forward_hook(self._called)
            for module in model.modules()
            if isinstance(module, (_Convolution, _BatchNorm))
        ]

    def _called(self, module, args, output):
        self._calls.setdefault(module, []).append((args[0], output))

    def forward(self, op, inputs, output):
        """Count the inputs of an op."""
        self._held.extend(inputs)
        for tensor in inputs:
            self.uses[id(tensor)] = self.uses.get(id(tensor), 0) + 1

    def once(self, kind) -> list:
        """Return (module, (input, output)) of the modules of a class that were called once."""
        calls = self._calls.items()
        return [(m, c[0]) for m, c in calls if isinstance(m, kind) and len(c) == 1]

    def remove_hooks(self):
        """Leave the model as it was."""
        for handle in self._handles:
            handle.remove()


def _check(conv, bn) -> None:
    if not isinstance(conv, _Convolution) or not isinstance(bn, _BatchNorm):
        kinds = f"{type(conv).__name__} and {type(bn).__name__}"
        raise UsageError(f"fuse_conv_bn_eval: takes a convolution and a batch norm, got {kinds}")
    if conv.training or bn.training:
        raise UsageError("fuse_conv_bn_eval: call .eval() on both modules first")
    if bn.running_mean is None:
        raise UsageError("fuse_conv_bn_eval: the batch norm has no running statistics")
    if conv.out_channels != bn.num_features:
        raise ShapeError(
            f"fuse_conv_bn_eval: the convolution gives {conv.out_channels} channels, the batch "
            f"norm takes {bn.num_features}"
        )


def _scaled(conv, scale):
    """Return the weight with each output channel multiplied by its number in `scale`."""
    weight = conv.weight.numpy()
    if not isinstance(conv, _ConvTranspose):
        return weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
    # Its output channels lie on axis 1, those of one group behind those of the other on axis 0.
    inputs, outputs, *window = weight.shape
    grouped = weight.reshape(conv.groups, inputs // conv.groups, outputs, *window)
    scale = scale.reshape(conv.groups, 1, outputs, *[1] * len(window))
    return (grouped * scale).reshape(weight.shape)


def _values(parameter, otherwise):
    return otherwise if parameter is None else parameter.numpy().astype(np.float64)
