"""Adam, AdamW, and their kin: Adamax, NAdam, RAdam, LAMB."""

from __future__ import annotations

from nnmed.optim.optimizer import Optimizer, next_step, state_arrays


class _Moments(Optimizer):
    """What the family shares: two running averages, with decays `betas`, and `eps`."""

    def _check(self, group):
        super()._check(group)
        self._check_betas(group)
        self._check_range(group, "eps")

    def _numbers(self, group) -> tuple:
        """Return lr, beta1, beta2, eps and weight_decay."""
        names = "lr", "eps", "weight_decay"
        lr, eps, weight_decay = (float(group[name]) for name in names)
        beta1, beta2 = (float(beta) for beta in group["betas"])
        return lr, beta1, beta2, eps, weight_decay


class Adam(_Moments):
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
    maximize : bool
        Climb instead of descend.
    decoupled_weight_decay : bool
        Let weight decay shrink the parameter instead, as :class:`AdamW` does.

    Raises
    ------
    UsageError
        If an option is out of range.
    """

    _kernel = "adam"

    def __init__(
        self,
        params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
    ):
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def _arguments(self, array, state, group):
        largest = None
        if group["amsgrad"]:
            (largest,) = state_arrays(array, state, "max_exp_avg_sq")
        return (
            *state_arrays(array, state, "exp_avg", "exp_avg_sq"),
            largest,
            next_step(state),
            *self._numbers(group),
            bool(group["decoupled_weight_decay"]),
            bool(group["maximize"]),
        )


class AdamW(Adam):
    """Adam whose weight decay shrinks the parameter and leaves the gradient alone.

    ``p = p * (1 - lr * weight_decay)``, then Adam's step with the bare gradient: Loshchilov
    and Hutter, "Decoupled weight decay regularization", ICLR 2019.

    Parameters
    ----------
    params, lr, betas, eps, weight_decay, amsgrad, maximize
        As in :class:`Adam`; `weight_decay` is 0.01 unless given.

    Raises
    ------
    UsageError
        If an option is out of range.
    """

    def __init__(
        self,
        params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ):
        options = {"maximize": maximize, "decoupled_weight_decay": True}
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, **options)


class Adamax(_Moments):
    """Adam with the largest recent gradient instead of the mean square.

    ::

        g = gradient + weight_decay * p
        m = beta1 * m + (1 - beta1) * g
        u = max(beta2 * u, |g| + eps)
        p = p - lr / (1 - beta1^t) * m / u

    Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, section 7.

    Parameters
    ----------
    params, lr, betas, eps, weight_decay, maximize
        As in :class:`Adam`; `lr` is 0.002 unless given.

    Raises
    ------
    UsageError
        If an option is out of range.
    """

    _kernel = "adamax"

    def __init__(
        self,
        params,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ):
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _arguments(self, array, state, group):
        return (
            *state_arrays(array, state, "exp_avg", "exp_inf"),
            next_step(state),
            *self._numbers(group),
            bool(group["maximize"]),
        )


class NAdam(_Moments):
    """Adam with Nesterov's momentum.

    ::

        mu(t) = beta1 * (1 - 0.96^(t * momentum_decay) / 2)
        d = (1 - mu(t)) / (1 - mu(1)...mu(t)) * g + mu(t + 1) / (1 - mu(1)...mu(t + 1)) * m
        p = p - lr * d / (sqrt(v / (1 - beta2^t)) + eps)

    with g, m and v as in :class:`Adam`. Dozat, "Incorporating Nesterov momentum into Adam",
    ICLR workshop 2016.

    Parameters
    ----------
    params, lr, betas, eps, weight_decay, maximize, decoupled_weight_decay
        As in :class:`Adam`; `lr` is 0.002 unless given.
    momentum_decay : float
        How fast the momentum grows to beta1.

    Raises
    ------
    UsageError
        If an option is out of range.
    """

    _kernel = "nadam"

    def __init__(
        self,
        params,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ):
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check(self, group):
        super()._check(group)
        self._check_range(group, "momentum_decay")

    def _arguments(self, array, state, group):
        step, decay, beta1 = next_step(state), group["momentum_decay"], group["betas"][0]
        mu, mu_next = (beta1 * (1 - 0.5 * 0.96 ** (t * decay)) for t in (step, step + 1))
        state["mu_product"] = float(state.get("mu_product", 1.0) * mu)
        return (
            *state_arrays(array, state, "exp_avg", "exp_avg_sq"),
            step,
            float(mu),
            float(mu_next),
            state["mu_product"],
            *self._numbers(group),
            bool(group["decoupled_weight_decay"]),
            bool(group["maximize"]),
        )


class RAdam(_Moments):
    """Adam that warms up by itself: v is left out while too few gradients went into it.

    ::

        n = 2 / (1 - beta2) - 1
        k = n - 2 * t * beta2^t / (1 - beta2^t)
        r = sqrt((k - 4) (k - 2) n / ((n - 4) (n - 2) k))
        p = p - lr * m / (1 - beta1^t) * r * sqrt(1 - beta2^t) / (sqrt(v) + eps)   if k > 5
        p = p - lr * m / (1 - beta1^t)                                             otherwise

    with g, m and v as in :class:`Adam`. Liu et al., "On the variance of the adaptive
    learning rate and beyond", ICLR 2020.

    Parameters
    ----------
    params, lr, betas, eps, weight_decay, maximize, decoupled_weight_decay
        As in :class:`Adam`.

    Raises
    ------
    UsageError
        If an option is out of range.
    """

    _kernel = "radam"

    def __init__(
        self,
        params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ):
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _arguments(self, array, state, group):
        return (
            *state_arrays(array, state, "exp_avg", "exp_avg_sq"),
            next_step(state),
            *self._numbers(group),
            bool(group["decoupled_weight_decay"]),
            bool(group["maximize"]),
        )


class LAMB(_Moments):
    """Adam's direction, at a length that follows the norm of the parameter: for large batches.

    ::

        d = m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps) + weight_decay * p
        p = p - lr * |p| / |d| * d

    with m and v as in :class:`Adam`, of the bare gradient. A quotient with a norm of 0 counts
    as 1. You et al., "Large batch optimization for deep learning: training BERT in 76
    minutes", ICLR 2020. PyTorch has no LAMB.

    Parameters
    ----------
    params, lr, betas, eps, maximize
        As in :class:`Adam`; `eps` is 1e-6 unless given.
    weight_decay : float

    Raises
    ------
    UsageError
        If an option is out of range.
    """

    _kernel = "lamb"

    def __init__(
        self,
        params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 1e-2,
        *,
        maximize: bool = False,
    ):
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _arguments(self, array, state, group):
        return (
            *state_arrays(array, state, "exp_avg", "exp_avg_sq"),
            next_step(state),
            *self._numbers(group),
            bool(group["maximize"]),
        )
