"""Losses of segmentation; formulas, sources, options and advice stand in ``nnmed.ops``.

Each takes logits (N, C, ...) and integer labels (N, ...) or (N, 1, ...); an option is an
attribute of the same name.
"""

from __future__ import annotations

from nnmed import functional as F
from nnmed.nn.layers.loss import optional_tensor
from nnmed.nn.module import Module


class _SegmentationLoss(Module):
    """A loss with options, each an attribute."""

    def __init__(self, **options):
        super().__init__()
        self._names = tuple(options)
        for name, value in options.items():
            setattr(self, name, value)

    @property
    def options(self) -> dict:
        """The options, ready for the function."""
        return {name: getattr(self, name) for name in self._names}

    def extra_repr(self):
        """Return the options."""
        return ", ".join(f"{name}={value!r}" for name, value in self.options.items())


class DiceLoss(_SegmentationLoss):
    """1 - 2 sum(p t) / (sum(p) + sum(t)); see :func:`nnmed.functional.dice_loss`."""

    def __init__(
        self,
        *,
        include_background: bool = True,
        squared_pred: bool = False,
        smooth: float = 1e-5,
        batch: bool = False,
        ignore_index: int = -100,
        reduction: str = "mean",
    ):
        super().__init__(
            include_background=include_background,
            squared_pred=squared_pred,
            smooth=smooth,
            batch=batch,
            ignore_index=ignore_index,
            reduction=reduction,
        )

    def forward(self, input, target):
        """Logits and labels to the loss."""
        return F.dice_loss(input, target, **self.options)


class GeneralizedDiceLoss(_SegmentationLoss):
    """Dice with classes weighted by volume; see :func:`nnmed.functional.generalized_dice_loss`."""

    def __init__(
        self,
        *,
        include_background: bool = True,
        smooth: float = 1e-5,
        batch: bool = False,
        ignore_index: int = -100,
        reduction: str = "mean",
    ):
        super().__init__(
            include_background=include_background,
            smooth=smooth,
            batch=batch,
            ignore_index=ignore_index,
            reduction=reduction,
        )

    def forward(self, input, target):
        """Logits and labels to the loss."""
        return F.generalized_dice_loss(input, target, **self.options)


class TverskyLoss(_SegmentationLoss):
    """1 - TP / (TP + alpha FP + beta FN); see :func:`nnmed.functional.tversky_loss`."""

    def __init__(
        self,
        *,
        alpha: float = 0.5,
        beta: float = 0.5,
        include_background: bool = True,
        smooth: float = 1e-5,
        batch: bool = False,
        ignore_index: int = -100,
        reduction: str = "mean",
    ):
        super().__init__(
            alpha=alpha,
            beta=beta,
            include_background=include_background,
            smooth=smooth,
            batch=batch,
            ignore_index=ignore_index,
            reduction=reduction,
        )

    def forward(self, input, target):
        """Logits and labels to the loss."""
        return F.tversky_loss(input, target, **self.options)


class FocalTverskyLoss(_SegmentationLoss):
    """The Tversky loss to the power 1 / gamma; see :func:`nnmed.functional.focal_tversky_loss`."""

    def __init__(
        self,
        *,
        alpha: float = 0.3,
        beta: float = 0.7,
        gamma: float = 4 / 3,
        include_background: bool = True,
        smooth: float = 1e-5,
        batch: bool = False,
        ignore_index: int = -100,
        reduction: str = "mean",
    ):
        super().__init__(
            alpha=alpha,
            beta=beta,
            gamma=gamma,
            include_background=include_background,
            smooth=smooth,
            batch=batch,
            ignore_index=ignore_index,
            reduction=reduction,
        )

    def forward(self, input, target):
        """Logits and labels to the loss."""
        return F.focal_tversky_loss(input, target, **self.options)


class DiceCELoss(_SegmentationLoss):
    """Dice plus cross-entropy; see :func:`nnmed.functional.dice_ce_loss`. `weight` is a buffer."""

    def __init__(
        self,
        *,
        lambda_dice: float = 1.0,
        lambda_ce: float = 1.0,
        weight=None,
        include_background: bool = True,
        squared_pred: bool = False,
        smooth: float = 1e-5,
        batch: bool = False,
        ignore_index: int = -100,
    ):
        super().__init__(
            lambda_dice=lambda_dice,
            lambda_ce=lambda_ce,
            include_background=include_background,
            squared_pred=squared_pred,
            smooth=smooth,
            batch=batch,
            ignore_index=ignore_index,
        )
        self.register_buffer("weight", optional_tensor(weight))

    def forward(self, input, target):
        """Logits and labels to the loss."""
        return F.dice_ce_loss(input, target, weight=self.weight, **self.options)


class FocalLoss(_SegmentationLoss):
    """-a_t (1 - p_t)^gamma log p_t of each pixel; see :func:`nnmed.functional.focal_loss`."""

    def __init__(
        self,
        *,
        gamma: float = 2.0,
        alpha=None,
        ignore_index: int = -100,
        reduction: str = "mean",
    ):
        super().__init__(gamma=gamma, alpha=alpha, ignore_index=ignore_index, reduction=reduction)

    def forward(self, input, target):
        """Logits and labels to the loss."""
        return F.focal_loss(input, target, **self.options)


class LovaszHingeLoss(_SegmentationLoss):
    """1 - Jaccard of a single logit, extended; see :func:`nnmed.functional.lovasz_hinge_loss`."""

    def __init__(self, *, batch: bool = False, ignore_index: int = -100, reduction: str = "mean"):
        super().__init__(batch=batch, ignore_index=ignore_index, reduction=reduction)

    def forward(self, input, target):
        """Logits (N, 1, ...) and labels 0 and 1 to the loss."""
        return F.lovasz_hinge_loss(input, target, **self.options)


class LovaszSoftmaxLoss(_SegmentationLoss):
    """1 - Jaccard of the classes, extended; see :func:`nnmed.functional.lovasz_softmax_loss`."""

    def __init__(
        self,
        *,
        classes: str = "present",
        batch: bool = False,
        ignore_index: int = -100,
        reduction: str = "mean",
    ):
        super().__init__(
            classes=classes, batch=batch, ignore_index=ignore_index, reduction=reduction
        )

    def forward(self, input, target):
        """Logits and labels to the loss."""
        return F.lovasz_softmax_loss(input, target, **self.options)


class BoundaryLoss(_SegmentationLoss):
    """mean(p phi), phi the signed distance map; see :func:`nnmed.functional.boundary_loss`."""

    def __init__(self, *, include_background: bool = False, reduction: str = "mean"):
        super().__init__(include_background=include_background, reduction=reduction)

    def forward(self, input, distance_map):
        """Logits and signed distances, both (N, C, ...), to the loss."""
        return F.boundary_loss(input, distance_map, **self.options)
