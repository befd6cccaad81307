"""RMSprop."""

from __future__ import annotations

from nnmed.optim.optimizer import Optimizer, next_step, state_arrays


class RMSprop(Optimizer):
    """RMSprop: the gradient divided by the root of a running average of its square.

    ::

        g = gradient + weight_decay * p
        v = alpha * v + (1 - alpha) * g^2
        a = alpha * a + (1 - alpha) * g               (centered; else a = 0)
        b = momentum * b + g / (sqrt(v - a^2) + eps)
        p = p - lr * b

    Tieleman and Hinton, "Lecture 6.5", 2012; centered: Graves, "Generating sequences with
    recurrent neural networks", 2013.

    Parameters
    ----------
    params : iterable of Tensor or of dict
        Parameters or parameter groups; see :class:`Optimizer`.
    lr : float
        Learning rate.
    alpha : float
        Decay of the averages, in [0, 1).
    eps : float
        Added to the denominator.
    weight_decay, momentum : float
    centered : bool
        Divide by the deviation from the running mean. Where rounding makes the variance
        negative it counts as 0 (PyTorch gives NaN there).
    maximize : bool
        Climb instead of descend.

    Raises
    ------
    UsageError
        If an option is out of range.
    """

    _kernel = "rmsprop"

    def __init__(
        self,
        params,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ):
        defaults = {
            "lr": lr,
            "alpha": alpha,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "centered": centered,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check(self, group):
        super()._check(group)
        self._check_range(group, "eps", "momentum")
        self._check_range(group, "alpha", below=1)

    def _arguments(self, array, state, group):
        next_step(state)  # for PyTorch, which cannot load a state without it
        names = {"square_avg": True, "grad_avg": group["centered"]}
        names["momentum_buffer"] = group["momentum"] > 0
        return (
            *(state_arrays(array, state, n)[0] if wanted else None for n, wanted in names.items()),
            float(group["lr"]),
            float(group["alpha"]),
            float(group["eps"]),
            float(group["weight_decay"]),
            float(group["momentum"]),
            bool(group["maximize"]),
        )
