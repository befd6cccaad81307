"""Minus log-likelihoods of distributions, and the divergence between two."""

from __future__ import annotations

import math

from nnmed.autograd import Tensor
from nnmed.errors import ShapeError, UsageError
from nnmed.ops.arguments import as_tensor, check_numbers, check_same_dtype, is_checked, operands
from nnmed.ops.elementwise import exp, log
from nnmed.ops.loss_base import REDUCTIONS, check_reduction, reduced
from nnmed.ops.selection import where
from nnmed.ops.shape import unsqueeze


def kl_div(input, target, *, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """Return the Kullback-Leibler divergence t (log t - x), as PyTorch's function of that name.

    For learning a distribution rather than a class: the opinions of several readers, or
    the output of a larger network.

    Parameters
    ----------
    input : Tensor
        Log-probabilities.
    target : Tensor
        Probabilities, or with `log_target` their logarithms; broadcast. Where one is 0,
        the loss is 0, and so is its gradient by the target (PyTorch's is NaN there).
    reduction : {"mean", "batchmean", "sum", "none"}
        "mean" divides by the number of elements; the divergence itself is "batchmean",
        which divides by the length of the first dimension.
    """
    name = "kl_div"
    check_reduction(name, reduction, (*REDUCTIONS, "batchmean"))
    x, target = operands(input, target)
    check_same_dtype(name, input=x, target=target)
    if log_target:
        losses = exp(target) * (target - x)
    else:
        none = target == 0
        losses = target * (log(where(none, 1.0, target)) - where(none, 0.0, x))
    if reduction != "batchmean":
        return reduced(losses, reduction)
    return reduced(losses, "sum") / (x.shape[0] if x.ndim else 1)


def poisson_nll_loss(
    input,
    target,
    log_input: bool = True,
    full: bool = False,
    *,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Tensor:
    """Return the minus log-likelihood of counts, as ``torch.nn.functional.poisson_nll_loss``.

    For counts, such as lesions in an image or events in a detector.

    Parameters
    ----------
    input : Tensor
        The expected count, or with `log_input` its logarithm.
    target : Tensor
        Counts; broadcast.
    log_input : bool
        exp(x) - t x if true, else x - t log(x + eps).
    full : bool
        Add Stirling's formula for log(t!), t log t - t + log(2 pi t) / 2, where t > 1.
    eps : float
        Keeps the logarithm of an expected count of 0 finite.
    reduction : {"mean", "sum", "none"}
    """
    name = "poisson_nll_loss"
    check_numbers(name, eps=eps)
    check_reduction(name, reduction)
    x, target = operands(input, target)
    check_same_dtype(name, input=x, target=target)
    losses = exp(x) - target * x if log_input else x - target * log(x + eps)
    if full:
        many = where(target > 1, target, 1.0)
        stirling = many * log(many) - many + 0.5 * log(2 * math.pi * many)
        losses = losses + where(target > 1, stirling, 0.0)
    return reduced(losses, reduction)


def gaussian_nll_loss(
    input, target, var, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    """Return (log v + (x - t)^2 / v) / 2, as ``torch.nn.functional.gaussian_nll_loss``.

    For a network that says how sure it is of a size or a dose: it predicts the variance v
    as well. Nix and Weigend, "Estimating the mean and variance of the target probability
    distribution", ICNN 1994.

    Parameters
    ----------
    input, target : Tensor
        Expected and measured values; broadcast.
    var : Tensor or float
        Variances of the input's shape, or without its last dimension, or with one
        dimension of length 1.
    full : bool
        Add the constant log(2 pi) / 2.
    eps : float
        Least variance; the gradient passes as if nothing had been limited, as in PyTorch.
    reduction : {"mean", "sum", "none"}
    """
    name = "gaussian_nll_loss"
    check_numbers(name, eps=eps)
    check_reduction(name, reduction)
    x, target = operands(input, target)
    var = as_tensor(var) if isinstance(var, Tensor) else operands(var, x)[0]
    check_same_dtype(name, input=x, target=target, var=var)
    if not eps > 0:
        raise UsageError(f"{name}: eps must be positive, got {eps}")
    if is_checked(var._array) and (var._array < 0).any():
        raise UsageError(f"{name}: var must not be negative, its least value is {var.min().item()}")
    if var.ndim and var.shape != x.shape:
        var = _along(name, var, x.shape)
    least = Tensor._wrap(var._array)  # the same numbers, constant
    var = where(var < eps, var - least + eps, var)
    difference = x - target
    losses = 0.5 * (log(var) + difference * difference / var)
    return reduced(losses + 0.5 * math.log(2 * math.pi) if full else losses, reduction)


def _along(name, var, shape):
    """Return `var` so that it broadcasts to `shape` as PyTorch allows it."""
    if var.shape == shape[:-1]:
        return unsqueeze(var, -1)
    different = [n for n, m in zip(var.shape, shape) if n != m]
    if var.ndim != len(shape) or different != [1]:
        raise ShapeError(
            f"{name}: var {var.shape} must have the shape of input {shape}, or that without "
            "its last dimension, or with one dimension of length 1"
        )
    return var
