"""How gradients flow through a network while it is trained."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from nnmed.autograd.op import observers
from nnmed.backend.arrays import array_module
from nnmed.errors import UsageError
from nnmed.explain.recording import recording


class GradientFlow:
    """Records, layer by layer, what training does to gradients and weights.

    Every so-manieth step is looked at: on the small detector with 32 images of 64 x 64 a look
    costs about a tenth of a step, so at ``every=10`` about 1%.

    Parameters
    ----------
    model : Module
    every : int
        Look at the first step and at every so-manieth after it.

    Attributes
    ----------
    rows : list of dict
        A row for each layer and step that was looked at:

        - ``step``: from 0; ``layer``: the module's name.
        - ``gradient_norm``, ``weight_norm``: of all parameters that are the layer's own, after
          clipping.
        - ``update_ratio``: norm of what the step changed by norm of the weights. Far below 1e-3
          a layer hardly learns, far above it loses what it knows.
        - ``sign_balance``: mean sign of the gradient. Near 1 or -1 all its entries push the same
          way, as they do behind an activation that is never negative.
        - ``dead``: share of the channels behind the layer's ``relu`` that are 0 everywhere in
          the batch, and so pass no gradient on.

        NaN where a layer has no parameters, or no ``relu``.

    Notes
    -----
    Not together with a CUDA graph, in which no Python runs: train with ``cuda_graph=False``.

    Examples
    --------
    >>> import nnmed
    >>> from nnmed import nn, optim
    >>> from nnmed.explain import GradientFlow
    >>> model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    >>> optimizer = optim.SGD(model.parameters(), lr=0.1)
    >>> flow = GradientFlow(model, every=1)
    >>> with flow.step():
    ...     model(nnmed.Tensor([[1.0, 2.0, 3.0]])).sum().backward()
    ...     optimizer.step()
    >>> [row["layer"] for row in flow.rows]
    ['0', '1', '2']
    """

    def __init__(self, model, every: int = 10):
        if not isinstance(every, int) or every < 1:
            raise UsageError(f"every must be a positive integer, got {every!r}")
        self.model, self.every = model, every
        self.rows: list[dict] = []
        self._steps = 0

    @contextmanager
    def step(self) -> Iterator[None]:
        """Context manager around a training step: forward, backward and the optimizer's step.

        Gradients are read at its end, so ``optimizer.zero_grad()`` has its place before backward.

        Raises
        ------
        UsageError
            At its end, if no parameter has a gradient.
        """
        number, self._steps = self._steps, self._steps + 1
        if number % self.every:
            yield
            return
        before = {p: p._array.copy() for p in self.model.parameters()}
        units = _DeadUnits()
        with recording(self.model), units:
            yield
        if all(p.grad is None for p in before):
            raise UsageError(
                f"GradientFlow: at the end of step {number} no parameter of the model has a "
                "gradient: run backward inside of `with flow.step():`, and optimizer.zero_grad() "
                "before backward, not after the optimizer's step"
            )
        for layer, module in self.model.named_modules():
            parameters = [p for p in module.parameters(recurse=False) if p.grad is not None]
            row = _row(parameters, before)
            row["dead"] = units.share(layer)
            if not all(math.isnan(value) for value in row.values()):
                self.rows.append({"step": number, "layer": layer, **row})

    def plot(self, path):
        """Draw layers from top to bottom and steps from left to right; return the path.

        Raises
        ------
        UsageError
            If nothing was recorded.
        DataError
            If the file cannot be written.
        """
        if not self.rows:
            raise UsageError("plot: nothing is recorded: train inside of `with flow.step():`")
        from nnmed.explain.figures import gradient_flow  # figures bring matplotlib

        return gradient_flow(self.rows, path)


_RELUS = {"Relu", "BatchNormRelu", "BatchNormReluInference"}


class _DeadUnits:
    """Observes relus, and counts the channels that are 0 for the whole batch."""

    def __init__(self):
        self.counts: dict = {}

    def __enter__(self):
        observers.append(self)  # after the recording, which knows the layer

    def __exit__(self, *exception):
        observers.remove(self)

    def forward(self, op, inputs, output) -> None:
        """Count the units of an op that has just run."""
        if op.name in _RELUS and op.record is not None:
            y = output._array
            highest = y.max(axis=tuple(axis for axis in range(y.ndim) if axis != 1))
            self.counts.setdefault(op.record.layer, []).append(highest == 0)

    def backward(self, op, dy, gradients) -> None:
        """There is nothing to count in backward."""

    def share(self, layer: str) -> float:
        """Return the share of a layer's units that are dead."""
        masks = self.counts.get(layer)
        if masks is None:
            return math.nan
        return sum(int(mask.sum()) for mask in masks) / sum(mask.size for mask in masks)


def _row(parameters, before) -> dict[str, float]:
    gradients = [p.grad._array for p in parameters]
    gradient, weight = _norm(gradients), _norm([before[p] for p in parameters])
    update = _norm([p._array - before[p] for p in parameters])
    signs = sum(float(array_module(g).sign(g).sum()) for g in gradients)
    count = sum(g.size for g in gradients)
    return {
        "gradient_norm": gradient,
        "weight_norm": weight,
        "update_ratio": update / weight if weight else math.nan,
        "sign_balance": signs / count if count else math.nan,
    }


def _norm(arrays) -> float:
    if not arrays:
        return math.nan
    return math.sqrt(sum(float((array * array).sum()) for array in arrays))
