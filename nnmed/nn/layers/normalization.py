"""BatchNorm1d and BatchNorm2d."""

from __future__ import annotations

import numpy as np

from nnmed import functional as F
from nnmed.autograd.tensor import Tensor
from nnmed.errors import ShapeError
from nnmed.nn import init
from nnmed.nn.module import Module
from nnmed.nn.parameter import Parameter


class _BatchNorm(Module):
    """What the two share; see :class:`BatchNorm2d`."""

    _dimensions: tuple[int, ...]

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ):
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        zeros = np.zeros(num_features, np.float32)
        for name in ("weight", "bias"):
            self.register_parameter(name, Parameter(zeros) if affine else None)
        for name in ("running_mean", "running_var"):
            self.register_buffer(name, Tensor(zeros) if track_running_stats else None)
        count = Tensor(np.array(0, np.int64)) if track_running_stats else None
        self.register_buffer("num_batches_tracked", count)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Forget the running statistics."""
        if self.track_running_stats:
            init.zeros_(self.running_mean)
            init.ones_(self.running_var)
            init.zeros_(self.num_batches_tracked)

    def reset_parameters(self) -> None:
        """Set weight to ones, bias to zeros, and forget the running statistics."""
        self.reset_running_stats()
        if self.affine:
            init.ones_(self.weight)
            init.zeros_(self.bias)

    def forward(self, input):
        """Normalise each channel of `input`; the shape stays."""
        if input.ndim not in self._dimensions:
            expected = " or ".join(f"{n}-d" for n in self._dimensions)
            raise ShapeError(f"{type(self).__name__}: expects {expected} input, got {input.shape}")
        tracking = self.training and self.track_running_stats
        momentum = 0.0 if self.momentum is None else self.momentum
        if tracking:
            count = int(self.num_batches_tracked) + 1
            self.num_batches_tracked._assign(..., count)
            if self.momentum is None:
                momentum = 1 / count
        use_running = self.track_running_stats and (tracking or not self.training)
        return F.batch_norm(
            input,
            self.running_mean if use_running else None,
            self.running_var if use_running else None,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            momentum,
            self.eps,
        )

    def extra_repr(self):
        """Return the arguments."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of (N, C) or (N, C, L); arguments as in :class:`BatchNorm2d`."""

    _dimensions = (2, 3)


class BatchNorm2d(_BatchNorm):
    """y = (x - mean) / sqrt(var + eps) * weight + bias, for each channel of (N, C, H, W).

    In training, mean and variance are those of the batch, and the running ones move towards
    them by `momentum`; in evaluation the running ones are used. Ioffe and Szegedy, "Batch
    normalization", ICML 2015, algorithms 1 and 2.

    Parameters
    ----------
    num_features : int
        Channels.
    eps : float
    momentum : float or None
        Weight of the new batch in the running statistics; None for their plain average.
    affine : bool
        Whether there are weight and bias.
    track_running_stats : bool
        Without them the statistics of the batch are used in evaluation too.

    Attributes
    ----------
    weight, bias : Parameter, (num_features,), or None
        Ones and zeros at first.
    running_mean, running_var : Tensor, (num_features,), or None
        Buffers, zeros and ones at first. The variance is the unbiased one.
    num_batches_tracked : Tensor, 0-d int64, or None
        Buffer.
    """

    _dimensions = (4,)
