"""Adam and AdamW."""

from __future__ import annotations

from nnmed import kernels
from nnmed.errors import UsageError
from nnmed.optim.optimizer import Optimizer, zero_state


class Adam(Optimizer):
    """Adam: steps scaled by running estimates of the gradient's mean and square.

    ::

        g = gradient + weight_decay * p
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g^2
        p = p - lr * m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)

    Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015.

    Parameters
    ----------
    params : iterable of Tensor or of dict
        Parameters or parameter groups; see :class:`Optimizer`.
    lr : float
        Learning rate.
    betas : (float, float)
        Decay of the two averages, each in [0, 1).
    eps : float
        Added to the denominator.
    weight_decay : float
        Added to the gradient as ``weight_decay * p``.
    amsgrad : bool
        Divide by the largest v so far: Reddi et al., "On the convergence of Adam and
        beyond", ICLR 2018.

    Raises
    ------
    UsageError
        If an option is out of range.
    """

    _decoupled = False

    def __init__(
        self,
        params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
    ):
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
        }
        super().__init__(params, defaults)

    def _check(self, group):
        super()._check(group)
        if not isinstance(group["betas"], (tuple, list)) or len(group["betas"]) != 2:
            raise UsageError(f"{self._name}: betas is a pair of numbers, got {group['betas']!r}")
        self._check_range(group, "eps")
        self._check_range(group, "betas", below=1)

    def _update(self, array, gradient, state, group):
        if not state:
            state["step"] = 0
            state["exp_avg"] = zero_state(array)
            state["exp_avg_sq"] = zero_state(array)
        if group["amsgrad"] and "max_exp_avg_sq" not in state:
            state["max_exp_avg_sq"] = zero_state(array)
        state["step"] += 1
        beta1, beta2 = group["betas"]
        kernels.select("optimizer", array).adam(
            array,
            gradient,
            state["exp_avg"],
            state["exp_avg_sq"],
            state["max_exp_avg_sq"] if group["amsgrad"] else None,
            state["step"],
            float(group["lr"]),
            float(beta1),
            float(beta2),
            float(group["eps"]),
            float(group["weight_decay"]),
            self._decoupled,
        )


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameter and leaves the gradient alone.

    ``p = p * (1 - lr * weight_decay)``, then Adam's step with the bare gradient: Loshchilov
    and Hutter, "Decoupled weight decay regularization", ICLR 2019.

    Parameters
    ----------
    params, lr, betas, eps, weight_decay, amsgrad
        As in :class:`Adam`; `weight_decay` is 0.01 unless given.

    Raises
    ------
    UsageError
        If an option is out of range.
    """

    _decoupled = True

    def __init__(
        self,
        params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
    ):
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad)
