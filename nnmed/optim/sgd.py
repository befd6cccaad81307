"""Stochastic gradient descent."""

from __future__ import annotations

from nnmed.errors import UsageError
from nnmed.optim.optimizer import Optimizer, state_arrays


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum and Nesterov's form of it.

    ::

        g = gradient + weight_decay * p
        b = momentum * b + (1 - dampening) * g        (b = g on the first step)
        p = p - lr * (g + momentum * b if nesterov else b)

    Sutskever et al., "On the importance of initialization and momentum in deep learning",
    ICML 2013.

    Parameters
    ----------
    params : iterable of Tensor or of dict
        Parameters or parameter groups; see :class:`Optimizer`.
    lr : float
        Learning rate.
    momentum, dampening, weight_decay : float
    nesterov : bool
        Needs a momentum and no dampening.
    maximize : bool
        Climb instead of descend.

    Raises
    ------
    UsageError
        If an option is out of range.
    """

    _kernel = "sgd"

    def __init__(
        self,
        params,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ):
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check(self, group):
        super()._check(group)
        self._check_range(group, "momentum", "dampening")
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise UsageError("SGD: nesterov needs momentum > 0 and dampening = 0")

    def _arguments(self, array, state, group):
        first = state.get("momentum_buffer") is None
        buffer = None
        if group["momentum"] != 0:
            (buffer,) = state_arrays(array, state, "momentum_buffer")
        return (
            buffer,
            float(group["lr"]),
            float(group["momentum"]),
            float(group["dampening"]),
            float(group["weight_decay"]),
            bool(group["nesterov"]),
            first,
            bool(group["maximize"]),
        )
