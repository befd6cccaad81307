"""Losses of margins, rankings and embeddings; formulas and sources stand in ``nnmed.ops``.

`reduction` is "mean", "sum" or "none" everywhere. Weights are buffers, as in PyTorch.
"""

from __future__ import annotations

from nnmed import functional as F
from nnmed.nn.layers.loss import optional_tensor
from nnmed.nn.module import Module


class SoftMarginLoss(Module):
    """log(1 + exp(-target input)), for labels 1 and -1."""

    def __init__(self, *, reduction: str = "mean"):
        super().__init__()
        self.reduction = reduction

    def forward(self, input, target):
        """Scores and labels of one shape to the loss."""
        return F.soft_margin_loss(input, target, reduction=self.reduction)


class MultiLabelSoftMarginLoss(Module):
    """Binary cross-entropy of logits, averaged over the classes; `weight` is (C,)."""

    def __init__(self, weight=None, *, reduction: str = "mean"):
        super().__init__()
        self.register_buffer("weight", optional_tensor(weight))
        self.reduction = reduction

    def forward(self, input, target):
        """Logits and targets 0 or 1, (N, C) or (C,), to the loss."""
        return F.multilabel_soft_margin_loss(input, target, self.weight, reduction=self.reduction)


class MultiMarginLoss(Module):
    """The sum over the wrong classes of max(0, margin - x_t + x_c)^p, over C."""

    def __init__(self, p: int = 1, margin: float = 1.0, weight=None, *, reduction: str = "mean"):
        super().__init__()
        self.register_buffer("weight", optional_tensor(weight))
        self.p, self.margin, self.reduction = p, margin, reduction

    def forward(self, input, target):
        """Scores (N, C) or (C,) and class indices (N,) or () to the loss."""
        return F.multi_margin_loss(
            input, target, self.p, self.margin, self.weight, reduction=self.reduction
        )


class MultiLabelMarginLoss(Module):
    """The sum over present i and absent j of max(0, 1 - x_i + x_j), over C."""

    def __init__(self, *, reduction: str = "mean"):
        super().__init__()
        self.reduction = reduction

    def forward(self, input, target):
        """Scores and lists of the classes present, ended by -1, (N, C) or (C,), to the loss."""
        return F.multilabel_margin_loss(input, target, reduction=self.reduction)


class HingeEmbeddingLoss(Module):
    """The input where target is 1, max(0, margin - input) where it is -1."""

    def __init__(self, margin: float = 1.0, *, reduction: str = "mean"):
        super().__init__()
        self.margin, self.reduction = margin, reduction

    def forward(self, input, target):
        """Distances and labels 1 or -1 of one shape to the loss."""
        return F.hinge_embedding_loss(input, target, self.margin, reduction=self.reduction)


class MarginRankingLoss(Module):
    """max(0, -target (input1 - input2) + margin)."""

    def __init__(self, margin: float = 0.0, *, reduction: str = "mean"):
        super().__init__()
        self.margin, self.reduction = margin, reduction

    def forward(self, input1, input2, target):
        """Two scores and which shall be larger (1: the first, -1: the second) to the loss."""
        return F.margin_ranking_loss(input1, input2, target, self.margin, reduction=self.reduction)


class CosineEmbeddingLoss(Module):
    """1 - cos where target is 1, max(0, cos - margin) where it is -1."""

    def __init__(self, margin: float = 0.0, *, reduction: str = "mean"):
        super().__init__()
        self.margin, self.reduction = margin, reduction

    def forward(self, input1, input2, target):
        """Vectors (N, D) or (D,) and labels (N,) or () to the loss."""
        return F.cosine_embedding_loss(
            input1, input2, target, self.margin, reduction=self.reduction
        )


class TripletMarginLoss(Module):
    """max(0, d(anchor, positive) - d(anchor, negative) + margin), d the p-norm.

    Parameters
    ----------
    margin : float
    p, eps : float
        Of the distance.
    swap : bool
        Take d(positive, negative) where it is less than d(anchor, negative).
    reduction : str
    """

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        *,
        reduction: str = "mean",
    ):
        super().__init__()
        self.margin, self.p, self.eps, self.swap = margin, p, eps, swap
        self.reduction = reduction

    def forward(self, anchor, positive, negative):
        """Vectors (N, D) or (D,) to the loss."""
        return F.triplet_margin_loss(
            anchor,
            positive,
            negative,
            self.margin,
            self.p,
            self.eps,
            self.swap,
            reduction=self.reduction,
        )


class TripletMarginWithDistanceLoss(Module):
    """:class:`TripletMarginLoss` with a distance of one's own, two tensors to one."""

    def __init__(
        self,
        *,
        distance_function=None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ):
        super().__init__()
        self.distance_function = distance_function
        self.margin, self.swap, self.reduction = margin, swap, reduction

    def forward(self, anchor, positive, negative):
        """What the distance takes, three times, to the loss."""
        return F.triplet_margin_with_distance_loss(
            anchor,
            positive,
            negative,
            distance_function=self.distance_function,
            margin=self.margin,
            swap=self.swap,
            reduction=self.reduction,
        )
