"""Lion."""

from __future__ import annotations

from nnmed.optim.optimizer import Optimizer, state_arrays


class Lion(Optimizer):
    """Lion: steps of one length, in the direction of the sign of a momentum.

    ::

        p = p * (1 - lr * weight_decay) - lr * sign(beta1 * m + (1 - beta1) * gradient)
        m = beta2 * m + (1 - beta2) * gradient

    Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023, who advise a
    learning rate 3 to 10 times smaller than AdamW's, and a weight decay as many times larger.
    PyTorch has no Lion.

    Parameters
    ----------
    params : iterable of Tensor or of dict
        Parameters or parameter groups; see :class:`Optimizer`.
    lr : float
        Learning rate.
    betas : (float, float)
        Share of the momentum in the direction, and decay of the momentum; each in [0, 1).
    weight_decay : float
        Shrinks the parameter, as in :class:`AdamW`.
    maximize : bool
        Climb instead of descend.

    Raises
    ------
    UsageError
        If an option is out of range.
    """

    _kernel = "lion"

    def __init__(
        self,
        params,
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ):
        defaults = {"lr": lr, "betas": betas, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults)

    def _check(self, group):
        super()._check(group)
        self._check_betas(group)

    def _arguments(self, array, state, group):
        return (
            *state_arrays(array, state, "exp_avg"),
            float(group["lr"]),
            *(float(beta) for beta in group["betas"]),
            float(group["weight_decay"]),
            bool(group["maximize"]),
        )
