"""Batch and instance normalisation for signals, images and volumes."""

from __future__ import annotations

import numpy as np

from nnmed import functional as F
from nnmed.autograd.tensor import Tensor
from nnmed.errors import ShapeError
from nnmed.nn import init
from nnmed.nn.layers.linear import check_sizes
from nnmed.nn.module import Module
from nnmed.nn.parameter import Parameter


class _RunningNorm(Module):
    """Weight, bias and running statistics of a channel; see :class:`BatchNorm2d`."""

    _dimensions: tuple[int, ...]

    def __init__(self, num_features, eps, momentum, affine, track_running_stats, bias):
        super().__init__()
        check_sizes(type(self).__name__, num_features=num_features)
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        zeros = np.zeros(num_features, np.float32)
        self.register_parameter("weight", Parameter(zeros) if affine else None)
        self.register_parameter("bias", Parameter(zeros) if affine and bias else None)
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
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def _check_dimensions(self, input) -> None:
        if input.ndim not in self._dimensions:
            expected = " or ".join(f"{n}-d" for n in self._dimensions)
            raise ShapeError(f"{type(self).__name__}: expects {expected} input, got {input.shape}")

    def extra_repr(self):
        """Return the arguments."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, bias={self.bias is not None}, "
            f"track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_RunningNorm):
    """What the three share; see :class:`BatchNorm2d`."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        bias: bool = True,
        relu: bool = False,
    ):
        super().__init__(num_features, eps, momentum, affine, track_running_stats, bias)
        self.relu = relu

    def forward(self, input):
        """Normalise each channel of `input`; the shape stays."""
        self._check_dimensions(input)
        tracking = self.training and self.track_running_stats
        output = F.batch_norm(
            input,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            self._momentum(tracking),
            self.eps,
            relu=self.relu,
        )
        if tracking:
            self.num_batches_tracked._assign(..., self.num_batches_tracked._array + 1)
        return output

    def extra_repr(self):
        """Return the arguments."""
        return super().extra_repr() + (", relu=True" if self.relu else "")

    def _momentum(self, tracking) -> float:
        if self.momentum is not None:
            return self.momentum
        # The count of batches makes it their plain average. On a GPU this waits for it.
        return 1 / (int(self.num_batches_tracked) + 1) if tracking else 0.0


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
    bias : bool
        Without it there is only the weight.
    relu : bool
        End in relu, as a :class:`ReLU` behind would, with less memory read and written. PyTorch
        has no such argument; names and numbers of a saved model are the same with and without.

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


class BatchNorm3d(_BatchNorm):
    """Batch normalisation of (N, C, D, H, W); arguments as in :class:`BatchNorm2d`."""

    _dimensions = (5,)


class _InstanceNorm(_RunningNorm):
    """What the three share; see :class:`InstanceNorm2d`."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        *,
        bias: bool = True,
    ):
        super().__init__(num_features, eps, momentum, affine, track_running_stats, bias)

    def forward(self, input):
        """Normalise each channel of each image of `input`; the shape stays."""
        self._check_dimensions(input)
        batch = input if input.ndim == max(self._dimensions) else input[None]
        if batch.shape[1] != self.num_features:
            raise ShapeError(
                f"{type(self).__name__}: expects {self.num_features} channels, got {input.shape}"
            )
        output = F.instance_norm(
            batch,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            self.momentum,
            self.eps,
        )
        return output.reshape(input.shape)


class InstanceNorm1d(_InstanceNorm):
    """Instance normalisation of (N, C, L) or (C, L); arguments as in :class:`InstanceNorm2d`."""

    _dimensions = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """y = (x - mean) / sqrt(var + eps) * weight + bias, for each channel of each image.

    Mean and variance are those of the channel in that image alone, in training and in
    evaluation, for (N, C, H, W) or (C, H, W). Ulyanov et al., "Instance normalization", 2016.

    Parameters
    ----------
    num_features : int
        Channels.
    eps : float
    momentum : float
        Weight of the new batch in the running statistics.
    affine : bool
        Whether there are weight and bias.
    track_running_stats : bool
        Keep running statistics, and use them in evaluation.
    bias : bool
        Without it there is only the weight.

    Attributes
    ----------
    weight, bias, running_mean, running_var, num_batches_tracked
        As in :class:`BatchNorm2d`, None unless asked for. The batches are not counted, as in
        PyTorch.
    """

    _dimensions = (3, 4)


class InstanceNorm3d(_InstanceNorm):
    """Instance normalisation of (N, C, D, H, W) or (C, D, H, W); see :class:`InstanceNorm2d`."""

    _dimensions = (4, 5)
