"""PyTorch's side of a case, in one of its two memory layouts."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.cases import Case, output_gradient

LAYOUTS = {"default": torch.contiguous_format, "channels_last": torch.channels_last}
DEVICES = {"cpu": "cpu", "gpu": "cuda"}


class TorchOp:
    """A case in PyTorch, as :class:`benchmarks.subjects.nnmed_ops.NnmedOp`."""

    def __init__(self, case: Case, layout: str = "default", device: str = "cpu"):
        self.case, self.name = case, layout
        self.device, self.layout = DEVICES[device], LAYOUTS[layout]
        self.tensors = {name: self._tensor(array) for name, array in case.arrays().items()}
        if case.family == "optimizer":
            self._prepare_optimizer()
        else:
            self._prepare_function()

    def _prepare_function(self):
        function = getattr(torch.nn.functional, self.case.function)
        wanted = [self.tensors[name].requires_grad_() for name in self.case.wanted]

        outputs = []

        def forward():
            outputs.append(function(**self.tensors, **self.case.options))
            return outputs[-1]

        shape = tuple(forward().shape)
        dy = self._tensor(output_gradient(shape)) if shape else None

        def backward():
            return torch.autograd.grad(outputs.pop(), wanted, dy)

        backward()
        self.steps = [forward, backward]

    def _prepare_optimizer(self):
        parameters = [tensor.requires_grad_() for tensor in self.tensors.values()]
        for parameter in parameters:
            parameter.grad = self._tensor(output_gradient(tuple(parameter.shape)))
        optimizer = getattr(torch.optim, self.case.function)(parameters, **self.case.options)
        self.steps = [optimizer.step]

    def results(self) -> dict[str, np.ndarray]:
        """Run once and return what came out, as numbers by name."""
        if self.case.family == "optimizer":
            self.steps[0]()
            return {name: _array(tensor).copy() for name, tensor in self.tensors.items()}
        forward, backward = self.steps
        results = {"output": _array(forward())}
        for name, gradient in zip(self.case.wanted, backward()):
            results[f"gradient of {name}"] = _array(gradient)
        return results

    def _tensor(self, array):
        tensor = torch.from_numpy(array).to(self.device)
        return tensor.to(memory_format=self.layout) if tensor.ndim == 4 else tensor


def in_layouts(case: Case, device: str = "cpu") -> list[TorchOp]:
    """Return the case in both layouts; in the default one where that makes no difference."""
    pictures = any(len(source.shape) == 4 for source in case.inputs.values())
    names = LAYOUTS if pictures and case.family != "optimizer" else ["default"]
    return [TorchOp(case, name, device) for name in names]


def _array(tensor):
    return tensor.detach().cpu().numpy()
