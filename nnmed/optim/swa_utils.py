"""Averages of a model's weights over training: exponential, or equal ones (SWA).

Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992; Izmailov
et al., "Averaging weights leads to wider optima and better generalization", UAI 2018.
"""

from __future__ import annotations

import copy

import numpy as np

from nnmed.autograd import Tensor, no_grad
from nnmed.errors import ModelError, UsageError
from nnmed.optim.optimizer import update_all


class AveragedModel:
    """A copy of a model whose weights are averages over training.

    Called like the model itself. Unlike PyTorch's, it is no Module.

    Parameters
    ----------
    model : Module
        Copied.
    avg_fn : callable, optional
        ``avg_fn(averaged, current, count)`` gives the new average of one tensor, after `count`
        updates. Default: the mean of all updates, as in stochastic weight averaging.
    multi_avg_fn : callable, optional
        The same in place, for lists of tensors: :func:`get_ema_multi_avg_fn`.
    use_buffers : bool
        Whether to average the buffers too, such as the running statistics of batch-norm.
        Without it they are those of the model at the last update.

    Attributes
    ----------
    module : Module
        The copy.
    n_averaged : int
        How many updates there were; the first copies.

    Raises
    ------
    UsageError
        If both functions are given.

    Examples
    --------
    >>> from nnmed import nn, optim
    >>> from nnmed.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
    >>> model = nn.Linear(3, 1)
    >>> averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99))
    >>> averaged.update_parameters(model)    # after each step of the optimizer
    """

    def __init__(self, model, *, avg_fn=None, multi_avg_fn=None, use_buffers: bool = False):
        if avg_fn is not None and multi_avg_fn is not None:
            raise UsageError("AveragedModel: give avg_fn or multi_avg_fn, not both")
        self.module = copy.deepcopy(model)
        self.n_averaged = 0
        self.avg_fn, self.multi_avg_fn, self.use_buffers = avg_fn, multi_avg_fn, use_buffers

    def __call__(self, *inputs, **keywords):
        return self.module(*inputs, **keywords)

    @no_grad()
    def update_parameters(self, model) -> None:
        """Take the weights of `model` into the average.

        Raises
        ------
        ModelError
            If the parameters or buffers are not those of the model copied.
        """
        own, other = (dict(m.named_parameters()) for m in (self.module, model))
        own_buffers, other_buffers = (dict(m.named_buffers()) for m in (self.module, model))
        if self.use_buffers:
            own, other = {**own, **own_buffers}, {**other, **other_buffers}
        if _shapes({**own, **own_buffers}) != _shapes({**other, **other_buffers}):
            raise ModelError("AveragedModel: the model has other parameters than the one copied")
        pairs = [(own[name], other[name].detach()) for name in own]
        if self.n_averaged == 0:
            for averaged, current in pairs:
                averaged.data = current
        elif self.avg_fn is not None:
            for averaged, current in pairs:
                averaged.data = self.avg_fn(averaged.detach(), current, self.n_averaged)
        else:
            average = self.multi_avg_fn or _mean_of_all
            average([p.detach() for p, _ in pairs], [p for _, p in pairs], self.n_averaged)
        if not self.use_buffers:
            for name, buffer in own_buffers.items():
                buffer.data = other_buffers[name]
        self.n_averaged += 1

    def parameters(self):
        """Return an iterator over the averaged parameters."""
        return self.module.parameters()

    def train(self, mode: bool = True) -> AveragedModel:
        """Set the copy to training, or not."""
        self.module.train(mode)
        return self

    def eval(self) -> AveragedModel:
        """Set the copy to inference."""
        return self.train(False)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state of the copy under ``module.`` names, and ``n_averaged``."""
        state = {f"module.{name}": tensor for name, tensor in self.module.state_dict().items()}
        return {"n_averaged": Tensor(self.n_averaged), **state}

    def load_state_dict(self, state_dict) -> None:
        """Restore what :meth:`state_dict` returned, or PyTorch's AveragedModel did.

        Raises
        ------
        ModelError
            If the state is not that of this model.
        """
        count = np.asarray(state_dict.get("n_averaged", "missing"))
        if count.size != 1 or count.dtype.kind not in "iu":
            raise ModelError("AveragedModel: the state has no number n_averaged")
        prefix = "module."
        state = {k[len(prefix) :]: v for k, v in state_dict.items() if k.startswith(prefix)}
        self.module.load_state_dict(state)
        self.n_averaged = int(count.item())


def get_ema_avg_fn(decay: float = 0.999):
    """Return the function of an exponential moving average, for one tensor.

    ``average = decay * average + (1 - decay) * current``
    """
    _check_decay(decay)
    return lambda averaged, current, count: averaged * decay + current * (1 - decay)


def get_ema_multi_avg_fn(decay: float = 0.999):
    """Return the function of an exponential moving average, for all tensors at once."""
    _check_decay(decay)
    return lambda averaged, current, count: _move(averaged, current, 1 - decay)


def update_bn(loader, model) -> None:
    """Compute the running statistics of batch-norm anew, over the batches of `loader`.

    Needed after equal averaging (SWA), whose weights never saw data. Each batch is the input,
    or a list or tuple that begins with it.
    """
    layers = [m for m in _module(model).modules() if hasattr(m, "running_mean")]
    layers = [m for m in layers if m.running_mean is not None]
    if not layers:
        return
    momenta, training = [m.momentum for m in layers], _module(model).training
    for layer in layers:
        layer.running_mean.data, layer.running_var.data = 0.0, 1.0
        layer.num_batches_tracked.data = 0
        layer.momentum = None  # an equal mean over the batches
    model.train()
    try:
        with no_grad():
            for batch in loader:
                model(batch[0] if isinstance(batch, (list, tuple)) else batch)
    finally:
        for layer, momentum in zip(layers, momenta):
            layer.momentum = momentum
        model.train(training)


def _module(model):
    return model.module if isinstance(model, AveragedModel) else model


def _mean_of_all(averaged, current, count) -> None:
    _move(averaged, current, 1 / (count + 1))


def _move(averaged, current, weight: float) -> None:
    """Move each of `averaged` by `weight` of the way to `current`, in place."""
    calls = []
    for mean, value in zip(averaged, current):
        if mean.dtype.kind == "f":
            calls.append((mean._writable(), value._array, float(weight)))
            mean._version.count += 1
        else:  # a counter: in float32 and then towards zero, as PyTorch rounds
            now, new = (t._array.astype(np.float32) for t in (mean, value))
            mean.data = (now * (1 - weight) + new * weight).astype(mean.dtype)
    update_all("average", calls)


def _shapes(tensors: dict) -> dict:
    return {name: tensor.shape for name, tensor in tensors.items()}


def _check_decay(decay) -> None:
    if not isinstance(decay, (int, float)) or not 0 <= decay <= 1:
        raise UsageError(f"the decay of an average must lie in [0, 1], got {decay!r}")
