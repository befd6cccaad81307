"""Losses; formulas and sources stand in ``nnmed.ops``.

`reduction` is "mean", "sum" or "none" everywhere. Weights are buffers, as in PyTorch.
"""

from __future__ import annotations

from nnmed import functional as F
from nnmed.autograd.tensor import Tensor
from nnmed.nn.module import Module


def _optional(tensor) -> Tensor | None:
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
        self.register_buffer("weight", _optional(weight))
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
        self.register_buffer("weight", _optional(weight))
        self.register_buffer("pos_weight", _optional(pos_weight))
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
    """|input - target|."""

    def __init__(self, *, reduction: str = "mean"):
        super().__init__()
        self.reduction = reduction

    def forward(self, input, target):
        """Two tensors of one shape to the loss."""
        return F.l1_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(Module):
    """d^2 / (2 beta) where d = |input - target| < beta, else d - beta / 2."""

    def __init__(self, *, reduction: str = "mean", beta: float = 1.0):
        super().__init__()
        self.reduction, self.beta = reduction, beta

    def forward(self, input, target):
        """Two tensors of one shape to the loss."""
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)
