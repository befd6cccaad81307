"""Loss functions on the GPU; formulas in reference.py, kernels in the .cu files beside.

Value and gradient come from one pass, as on the CPU. Sums have one part for each block, added
in order by a second kernel. The host reads nothing: what the mean divides by stays on the card.
"""

from __future__ import annotations

from nnmed.backend.arrays import array_module, empty_like
from nnmed.backend.cuda import THREADS, Source
from nnmed.kernels.elementwise import dense, in_order, memory_order
from nnmed.kernels.loss.gpu_lovasz import lovasz_weights
from nnmed.kernels.loss.gpu_overlap import overlap, overlap_grad
from nnmed.kernels.loss.gpu_rows import cross_entropy, focal_loss, nll_loss, soft_cross_entropy
from nnmed.kernels.loss.gpu_sums import finished, shares
from nnmed.kernels.packs import numbers_a_thread

__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy", "focal_loss",
    "l1_loss", "lovasz_weights", "mse_loss", "nll_loss", "overlap", "overlap_grad",
    "smooth_l1_loss", "soft_cross_entropy", "times",
]  # fmt: skip

_source = Source(__file__, "pairs.cu")


def times(dx, dy):
    """Multiply the gradient `dx`, dense in memory, by `dy`, broadcast; in place."""
    if dy.ndim == 0:
        _source.for_each("scale", dx.dtype, dx.size, dx, dy)
        return dx
    order = memory_order(dx)
    ordered = dx.transpose(order)  # CuPy walks the axes as they come
    ordered *= array_module(dx).broadcast_to(dy, dx.shape).transpose(order)
    return dx


def mse_loss(x, target, reduction, gradient):
    """Return (x - target)**2, reduced."""
    return _pair("mse_loss", reduction, gradient, x, target)


def l1_loss(x, target, reduction, gradient):
    """Return abs(x - target), reduced; the gradient is 0 where x equals target."""
    return _pair("l1_loss", reduction, gradient, x, target)


def smooth_l1_loss(x, target, beta, reduction, gradient):
    """Return d**2 / (2 beta) where abs(d) < beta, else abs(d) - beta / 2; d = x - target."""
    return _pair("smooth_l1_loss", reduction, gradient, x, target, settings=(float(beta),))


def binary_cross_entropy_with_logits(x, target, weight, pos_weight, reduction, gradient):
    """Return w ((1 - t) softplus(x) + v t softplus(-x)), reduced; softplus = log(1 + exp)."""
    kernel = "binary_cross_entropy_with_logits"
    return _pair(kernel, reduction, gradient, x, target, weight, pos_weight)


def binary_cross_entropy(x, target, weight, reduction, gradient):
    """Return -w (t log(x) + (1 - t) log(1 - x)), reduced, with 0 log(0) = 0."""
    return _pair("binary_cross_entropy", reduction, gradient, x, target, weight)


def _pair(kernel, reduction, gradient, x, target, *weights, settings=()):
    """Return the reduced loss, and its gradient by x if wanted; weights may be None."""
    x, order = dense(x)
    arrays = [x, *(None if a is None else _alike(a, x, order) for a in (target, *weights))]
    losses = empty_like(x) if reduction == "none" else None
    dx = empty_like(x) if gradient else None
    pack = numbers_a_thread(x.size, *arrays)
    blocks, each = shares(x.size // pack)
    parts = None if losses is not None else array_module(x).empty(blocks)
    count = x.size if reduction == "mean" else 1
    _source.launch(
        kernel, x.dtype, (blocks,), (THREADS,), *arrays, *settings, losses, dx, parts,
        1 / max(count, 1), each, pack, x.size,
    )  # fmt: skip
    return finished(parts, x.dtype, fixed=count) if losses is None else losses, dx


def _alike(array, x, order):
    """Return an array, broadcast to x, in the memory order of x."""
    return in_order(array_module(x).broadcast_to(array, x.shape), order)
