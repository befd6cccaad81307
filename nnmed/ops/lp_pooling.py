"""Power-average pooling of signals, pictures and volumes."""

from __future__ import annotations

import math

from nnmed.autograd import Tensor
from nnmed.errors import UsageError
from nnmed.ops.arguments import as_tensor, check_numbers, per_axis
from nnmed.ops.elementwise import abs
from nnmed.ops.pooling import avg_pool1d, avg_pool2d, avg_pool3d, max_pool1d, max_pool2d, max_pool3d
from nnmed.ops.selection import where


def lp_pool1d(input, norm_type: float, kernel_size, stride=None, ceil_mode=False) -> Tensor:
    """Return the root of the sum of powers in each window of a signal.

    Arguments and result are those of :func:`lp_pool2d` with one axis.
    """
    pools = 1, max_pool1d, avg_pool1d
    return _lp_pool(*pools, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(input, norm_type: float, kernel_size, stride=None, ceil_mode=False) -> Tensor:
    """Return the root of the sum of powers in each window of a picture.

    y = (sum over the window of x^p)^(1/p). A negative sum has no root: the result is NaN, as
    in PyTorch. Where the sum is 0, the gradient is 0.

    Parameters
    ----------
    input : Tensor
        ``(N, C, H, W)`` or ``(C, H, W)``.
    norm_type : float
        The power p, not 0; for infinity, the result is the maximum of the absolute values.
    kernel_size, stride : int or pair of int
        Rows and columns; `stride` is `kernel_size` by default.
    ceil_mode : bool
        Round the output size up, so that windows may reach over the edge. As in PyTorch, such
        a window counts as whole: its mean power times the size of the kernel.
    """
    pools = 2, max_pool2d, avg_pool2d
    return _lp_pool(*pools, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(input, norm_type: float, kernel_size, stride=None, ceil_mode=False) -> Tensor:
    """Return the root of the sum of powers in each window of a volume.

    Arguments and result are those of :func:`lp_pool2d` with three axes.
    """
    pools = 3, max_pool3d, avg_pool3d
    return _lp_pool(*pools, input, norm_type, kernel_size, stride, ceil_mode)


def _lp_pool(dims, max_pool, avg_pool, input, p, kernel_size, stride, ceil_mode):
    name = f"lp_pool{dims}d"
    check_numbers(name, norm_type=p)
    if p == 0:
        raise UsageError(f"{name}: norm_type must not be 0: there is no 0th root")
    x, kernel = as_tensor(input), per_axis(kernel_size, dims, "kernel_size")
    if p == math.inf:
        return max_pool(abs(x), kernel, stride, ceil_mode=ceil_mode)
    if p == -math.inf:
        return -max_pool(-abs(x), kernel, stride, ceil_mode=ceil_mode)
    total = avg_pool(x**p, kernel, stride, ceil_mode=ceil_mode) * math.prod(kernel)
    # The root's slope at 0 is infinite: where the sum is 0, the root is taken of 1 instead.
    empty = total == 0
    root = where(empty, 1.0, total) ** (1.0 / p)
    return where(empty, 0.0 if p > 0 else math.inf, root)
