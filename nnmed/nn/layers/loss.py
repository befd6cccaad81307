"""Losses; formulas and sources stand in ``nnmed.ops``.

`reduction` is "mean", "sum" or "none" everywhere. Weights are buffers, as in PyTorch.
"""

from __future__ import annotations

from nnmed import functional as F
from nnmed.autograd.tensor import Tensor
from nnmed.nn.module import Module


def optional_tensor(tensor) -> Tensor | None:
    """Return a weight as a tensor; None stays None."""
    return tensor if tensor is None or isinstance(tensor, Tensor) else Tensor(tensor)


class CrossEntropyLoss(Module):
    """Minus the log-probability that softmax gives to the right class.

    Parameters
    ----------
    weight : Tensor, (C,), optional
        Weight of each class.
    ignore_index : int
        Label of pixels or cases that do not count.
    reduction : str
        "mean" divides by the sum of the weights of the labels.
    label_smoothing : float
        Part of the target, in [0, 1], that is spread evenly over all classes.
    """

    def __init__(
        self,
        weight=None,
        *,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ):
        super().__init__()
        self.register_buffer("weight", optional_tensor(weight))
        self.ignore_index, self.reduction = ignore_index, reduction
        self.label_smoothing = label_smoothing

    def forward(self, input, target):
        """Logits (N, C, ...) and labels (N, ...) or probabilities (N, C, ...) to the loss."""
        return F.cross_entropy(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class BCEWithLogitsLoss(Module):
    """Binary cross-entropy of sigmoid(input).

    Parameters
    ----------
    weight : Tensor, optional
        Weight of each element, broadcast.
    reduction : str
    pos_weight : Tensor, optional
        Weight of the positive class, broadcast.
    """

    def __init__(self, weight=None, *, reduction: str = "mean", pos_weight=None):
        super().__init__()
        self.register_buffer("weight", optional_tensor(weight))
        self.register_buffer("pos_weight", optional_tensor(pos_weight))
        self.reduction = reduction

    def forward(self, input, target):
        """Logits and targets in [0, 1] of one shape to the loss."""
        return F.binary_cross_entropy_with_logits(
            input, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )


class MSELoss(Module):
    """(input - target)^2."""

    def __init__(self, *, reduction: str = "mean"):
        super().__init__()
        self.reduction = reduction

    def forward(self, input, target):
        """Two tensors of one shape to the loss."""
        return F.mse_loss(input, target, reduction=self.reduction)


class L1Loss(Module):
    """``|input - target|``."""

    def __init__(self, *, reduction: str = "mean"):
        super().__init__()
        self.reduction = reduction

    def forward(self, input, target):
        """Two tensors of one shape to the loss."""
        return F.l1_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(Module):
    """``d^2 / (2 beta)`` where ``d = |input - target| < beta``, else ``d - beta / 2``."""

    def __init__(self, *, reduction: str = "mean", beta: float = 1.0):
        super().__init__()
        self.reduction, self.beta = reduction, beta

    def forward(self, input, target):
        """Two tensors of one shape to the loss."""
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(Module):
    """`delta` times :class:`SmoothL1Loss` with that width."""

    def __init__(self, reduction: str = "mean", delta: float = 1.0):
        super().__init__()
        self.reduction, self.delta = reduction, delta

    def forward(self, input, target):
        """Two tensors of one shape to the loss."""
        return F.huber_loss(input, target, self.reduction, self.delta)


class NLLLoss(Module):
    """Minus the log-probability of the right class; arguments as for CrossEntropyLoss."""

    def __init__(self, weight=None, *, ignore_index: int = -100, reduction: str = "mean"):
        super().__init__()
        self.register_buffer("weight", optional_tensor(weight))
        self.ignore_index, self.reduction = ignore_index, reduction

    def forward(self, input, target):
        """Log-probabilities (N, C, ...) and labels (N, ...) to the loss."""
        return F.nll_loss(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )


class BCELoss(Module):
    """Binary cross-entropy of probabilities; `weight` is broadcast."""

    def __init__(self, weight=None, *, reduction: str = "mean"):
        super().__init__()
        self.register_buffer("weight", optional_tensor(weight))
        self.reduction = reduction

    def forward(self, input, target):
        """Probabilities and targets in [0, 1] of one shape to the loss."""
        return F.binary_cross_entropy(input, target, self.weight, reduction=self.reduction)


class KLDivLoss(Module):
    """target (log target - input); `reduction` may be "batchmean" as well.

    With `log_target` the target holds logarithms.
    """

    def __init__(self, *, reduction: str = "mean", log_target: bool = False):
        super().__init__()
        self.reduction, self.log_target = reduction, log_target

    def forward(self, input, target):
        """Log-probabilities and probabilities to the loss."""
        return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


class PoissonNLLLoss(Module):
    """Minus the log-likelihood of counts: exp(x) - t x, or x - t log(x + eps).

    Parameters
    ----------
    log_input : bool
        Whether the input is the logarithm of the expected count.
    full : bool
        Add Stirling's formula for log(t!).
    eps : float
    reduction : str
    """

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        *,
        eps: float = 1e-8,
        reduction: str = "mean",
    ):
        super().__init__()
        self.log_input, self.full, self.eps = log_input, full, eps
        self.reduction = reduction

    def forward(self, input, target):
        """Expected and counted numbers to the loss."""
        return F.poisson_nll_loss(
            input, target, self.log_input, self.full, eps=self.eps, reduction=self.reduction
        )


class GaussianNLLLoss(Module):
    """(log v + (x - t)^2 / v) / 2, variances v at least `eps`; `full` adds log(2 pi) / 2."""

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean"):
        super().__init__()
        self.full, self.eps, self.reduction = full, eps, reduction

    def forward(self, input, target, var):
        """Expected and measured values and variances to the loss."""
        return F.gaussian_nll_loss(input, target, var, self.full, self.eps, self.reduction)
