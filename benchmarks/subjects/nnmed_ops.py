"""nnmed's side of a case, in one form of its kernels."""

from __future__ import annotations

import contextlib

import numpy as np

import nnmed
from benchmarks.cases import Case, output_gradient
from nnmed import functional, kernels, optim
from nnmed.backend.arrays import as_channels_last
from nnmed.errors import UsageError

# Loops take some microseconds an element: they are measured on small inputs only.
REFERENCE_SIZE = 10_000


def forms(case: Case, device: str = "cpu") -> list[str]:
    """Return the forms of kernels in which `case` can be measured.

    On a GPU that is the one which the arrays pick.
    """
    if device == "gpu":
        return ["gpu"]
    names = kernels.FORMS
    names = names[case.family] if isinstance(names, dict) else names
    return [name for name in names if name != "reference" or case.size <= REFERENCE_SIZE]


class NnmedOp:
    """A case in one form: what to time, and what came out.

    Attributes
    ----------
    steps : list of callable
        As training runs them: forward, which is recorded, and backward, which uses up the
        graph of a forward; an optimizer's step alone.
    """

    def __init__(self, case: Case, form: str = "cpu", device: str = "cpu", dtype=np.float32):
        self.case, self.name, self.device = case, form, device
        arrays = case.arrays(dtype)
        self.tensors = {
            name: self._tensor(array, case.inputs[name].axes == "NCHW")
            for name, array in arrays.items()
        }
        if case.family == "optimizer":
            self._prepare_optimizer()
        else:
            self._prepare_function()

    def _prepare_function(self):
        function = getattr(functional, self.case.function)
        wanted = [self.tensors[name].requires_grad_() for name in self.case.wanted]

        outputs = []

        def forward():
            with self.chosen_form():
                outputs.append(function(**self.tensors, **self.case.options))
            return outputs[-1]

        shape, dy = forward().shape, None  # None: a loss begins with 1
        if shape:
            dy = self._tensor(output_gradient(shape, outputs[0].dtype), len(shape) == 4)

        def backward():
            with self.chosen_form():
                return nnmed.grad(outputs.pop(), wanted, dy)

        backward()
        self.steps = [forward, backward]

    def _prepare_optimizer(self):
        parameters = [tensor.requires_grad_() for tensor in self.tensors.values()]
        for parameter in parameters:
            gradient = output_gradient(parameter.shape, parameter.dtype)
            parameter.grad = self._tensor(gradient, is_map=False)
        optimizer = getattr(optim, self.case.function)(parameters, **self.case.options)

        def step():
            with self.chosen_form():
                optimizer.step()

        self.steps = [step]

    def chosen_form(self):
        """Return the context in which the case's family has this form."""
        if self.device == "gpu":
            return contextlib.nullcontext()
        return nnmed.use_kernels(**{self.case.family: self.name})

    def results(self) -> dict[str, np.ndarray]:
        """Run once and return what came out: the output and the gradients, by name.

        Of an optimizer these are the parameters after one more step.
        """
        if self.case.family == "optimizer":
            self.steps[0]()
            return {name: tensor.numpy().copy() for name, tensor in self.tensors.items()}
        forward, backward = self.steps
        results = {"output": forward().numpy()}
        for name, gradient in zip(self.case.wanted, backward()):
            results[f"gradient of {name}"] = gradient.numpy()
        return results

    def _tensor(self, array, is_map: bool):
        tensor = nnmed.from_numpy(as_channels_last(array) if is_map else array)
        return tensor if self.device == "cpu" else tensor.to(self.device)


def applicable(case: Case, device: str = "cpu", dtype=np.float32) -> list[NnmedOp]:
    """Return the case in every form that takes it: Winograd's, say, takes 3x3 kernels alone."""
    subjects = []
    for form in forms(case, device):
        with contextlib.suppress(UsageError):
            subjects.append(NnmedOp(case, form, device, dtype))
    return subjects
