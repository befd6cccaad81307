"""A training step: from a batch to changed weights."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace

from nnmed.autograd import Tensor
from nnmed.backend import precision
from nnmed.backend.precision import multiplying_in
from nnmed.data.loader import Batch
from nnmed.nn import Module
from nnmed.nn.utils import clip_grad_norm_
from nnmed.optim import GradScaler, Optimizer


class TrainingStep:
    """Forward, loss, backward, clipping, and the steps of optimizer and schedule.

    Called with a batch, it returns the loss, a scalar Tensor on the device of the model. It does
    not wait for a GPU.

    Parameters
    ----------
    model : Module
    optimizer : Optimizer
    loss : callable (output Tensor, Batch) -> Tensor
        Mean loss of a batch.
    schedule : learning-rate schedule, optional
        Stepped after the optimizer.
    max_norm : float, optional
        Clip the gradient of the optimizer's parameters to this norm.
    autocast : {"float16", "bfloat16"}, optional
        Multiply in this format.
    scaler : GradScaler, optional
        Scales the loss, as float16 needs it.

    Attributes
    ----------
    in_halves : bool
        Compute a batch in two halves, one after the other, which takes half the memory. The loss
        and the gradients are those of the halves, weighted by their sizes: the same as of the
        whole batch where the loss is a plain mean, but for batch norm, whose statistics are those
        of a half.
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        loss: Callable[[Tensor, Batch], Tensor],
        schedule=None,
        max_norm: float | None = None,
        autocast: str | None = None,
        scaler: GradScaler | None = None,
    ):
        self.model, self.optimizer, self.loss = model, optimizer, loss
        self.schedule, self.max_norm = schedule, max_norm
        self.scaler = scaler or GradScaler(enabled=False)
        self._format = autocast
        self.in_halves = False

    def __call__(self, batch: Batch) -> Tensor:
        """Do the step and return the loss."""
        loss = self.update(batch)
        self.advance()
        return loss

    def update(self, batch: Batch) -> Tensor:
        """Change the weights and return the loss: the part of a step that a GPU does."""
        self.zero_grad()
        if self.in_halves and len(batch.samples) > 1:
            first, second = [self._backward(*half) for half in _halves(batch)]
            loss = first + second
        else:
            loss = self._backward(batch)
        if self.max_norm is not None:
            self.scaler.unscale_(self.optimizer)
            groups = self.optimizer.param_groups
            clip_grad_norm_([p for group in groups for p in group["params"]], self.max_norm)
        self.scaler.step(self.optimizer)
        return loss

    def prepare_replay(self) -> None:
        """Do what :meth:`update` does on the host: the replay of a CUDA graph does the rest."""
        self.scaler.before_step(self.optimizer)
        self.optimizer.prepare_replay()

    def advance(self) -> None:
        """Go on to the loss scale and the learning rates of the next step."""
        self.scaler.update()
        if self.schedule is not None:
            self.schedule.step()

    def zero_grad(self) -> None:
        """Forget the gradients, also of parameters that the optimizer or the model lacks."""
        self.optimizer.zero_grad()
        self.model.zero_grad()

    def _backward(self, batch: Batch, share: float = 1.0) -> Tensor:
        """Add the gradients of a share of the loss, and return that share."""
        with multiplying_in(self._format or precision.state.format):
            loss = self.loss(self.model(Tensor._wrap(batch.image)), batch)
        if share != 1:
            loss = loss * share
        self.scaler.scale(loss).backward()
        return loss.detach()


class HostState:
    """What a step changes in the memory of the host, as it is now, to take the step back.

    That is the optimizer's step counts. The streams of random numbers go on: they belong to all
    threads. A :class:`nnmed.backend.random.Tape` has this thread draw the same numbers again.
    """

    def __init__(self, step: TrainingStep):
        self._step = step
        self._state = {p: dict(values) for p, values in step.optimizer.state.items()}

    def restore(self) -> None:
        """Bring it back."""
        self._step.optimizer.state = defaultdict(dict, self._state)
        self._step.scaler.forget_step()


def _halves(batch: Batch) -> Iterator[tuple[Batch, float]]:
    """Yield the first and the second half of a batch, each with its share of the samples."""
    count = len(batch.samples)
    middle = -(-count // 2)
    for part in (slice(middle), slice(middle, None)):
        label = None if batch.label is None else batch.label[part]
        half = replace(batch, image=batch.image[part], label=label, samples=batch.samples[part])
        yield half, len(half.samples) / count
