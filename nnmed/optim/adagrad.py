"""Adagrad and Adadelta."""

from __future__ import annotations

from nnmed.optim.optimizer import Optimizer, next_step, state_arrays


class Adagrad(Optimizer):
    """Adagrad: the gradient divided by the root of the sum of all its squares so far.

    ::

        g = gradient + weight_decay * p
        s = s + g^2
        p = p - lr / (1 + (t - 1) * lr_decay) * g / (sqrt(s) + eps)

    Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and
    stochastic optimization", JMLR 12 (2011).

    Parameters
    ----------
    params : iterable of Tensor or of dict
        Parameters or parameter groups; see :class:`Optimizer`.
    lr : float
        Learning rate.
    lr_decay, weight_decay : float
    initial_accumulator_value : float
        Where s starts.
    eps : float
        Added to the denominator.
    maximize : bool
        Climb instead of descend.

    Raises
    ------
    UsageError
        If an option is out of range.
    """

    _kernel = "adagrad"

    def __init__(
        self,
        params,
        lr: float = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ):
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check(self, group):
        super()._check(group)
        self._check_range(group, "lr_decay", "initial_accumulator_value", "eps")

    def _arguments(self, array, state, group):
        start = float(group["initial_accumulator_value"])
        return (
            *state_arrays(array, state, "sum", start=start),
            next_step(state),
            float(group["lr"]),
            float(group["lr_decay"]),
            float(group["weight_decay"]),
            float(group["eps"]),
            bool(group["maximize"]),
        )


class Adadelta(Optimizer):
    """Adadelta: steps in the units of the parameter, from running averages of two squares.

    ::

        g = gradient + weight_decay * p
        v = rho * v + (1 - rho) * g^2
        d = sqrt(u + eps) / sqrt(v + eps) * g
        u = rho * u + (1 - rho) * d^2
        p = p - lr * d

    Zeiler, "Adadelta: an adaptive learning rate method", 2012.

    Parameters
    ----------
    params : iterable of Tensor or of dict
        Parameters or parameter groups; see :class:`Optimizer`.
    lr : float
        Factor on the step.
    rho : float
        Decay of the averages, in [0, 1).
    eps : float
        Added under both roots.
    weight_decay : float
    maximize : bool
        Climb instead of descend.

    Raises
    ------
    UsageError
        If an option is out of range.
    """

    _kernel = "adadelta"

    def __init__(
        self,
        params,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ):
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check(self, group):
        super()._check(group)
        self._check_range(group, "eps")
        self._check_range(group, "rho", below=1)

    def _arguments(self, array, state, group):
        next_step(state)  # for PyTorch, which cannot load a state without it
        return (
            *state_arrays(array, state, "square_avg", "acc_delta"),
            float(group["lr"]),
            float(group["rho"]),
            float(group["eps"]),
            float(group["weight_decay"]),
            bool(group["maximize"]),
        )
