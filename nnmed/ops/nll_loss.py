"""Negative log-likelihood: what cross-entropy does after log_softmax."""

from __future__ import annotations

import math

from nnmed.autograd import Tensor
from nnmed.kernels import select
from nnmed.ops.arguments import as_tensor, check_same_dtype
from nnmed.ops.cross_entropy import (
    check_classes,
    check_indices,
    class_notation,
    per_row,
    target_rows,
)
from nnmed.ops.loss_base import TO_ELEMENT, OnePassLoss, array_of, check_reduction, constant
from nnmed.ops.shape import reshape, unsqueeze


class NLL(OnePassLoss):
    """y = mean (or sum, or none) of -w_t x_t,   dx_c = -w_t [c = t] dy / n

    t is the class index and w_t the weight of its class. n is the sum of w_t for the mean,
    else 1. Rows whose t is the ignored index have no loss and no part in n.
    """

    forward_latex = r"y = \operatorname*{reduce}_i \left(-w_{t_i}\, x_{it_i}\right)"
    backward_latex = {
        "input": r"\frac{\partial L}{\partial x_{ic}} = -" + TO_ELEMENT + r"w_{t_i}\, [c = t_i]"
    }

    def __init__(self, weight, ignore_index: int, reduction: str):
        self.weight, self.ignore_index, self.reduction = weight, ignore_index, reduction

    def notation(self):
        return class_notation(self, self.ignore_index)

    def forward(self, input, target):
        return self.in_one_pass(input, target)

    def evaluate(self, input, target, gradient):
        loss, dx, self.divisor = select("loss", input).nll_loss(
            input, target, self.weight, self.ignore_index, self.reduction, gradient
        )
        return loss, dx

    def backward(self, dy):
        x, target = self.inputs
        q = target_rows(x, target._array, self.weight, 0.0, self.ignore_index)
        return per_row(dy, self.reduction, self.divisor) * Tensor._wrap(-q), None

    def flops(self, inputs, output):
        return math.prod(inputs[1])


def nll_loss(
    input, target, weight=None, *, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    """Return minus the log-probability of the right class, as PyTorch's function of that name.

    Where a network ends in log_softmax, or where the logarithms of averaged probabilities
    are scored; :func:`cross_entropy` takes logits. Arguments and errors are those of
    :func:`cross_entropy` with class indices; `input` holds log-probabilities.
    """
    name = "nll_loss"
    check_reduction(name, reduction)
    x, target = as_tensor(input), as_tensor(target)
    weight = constant(name, "weight", weight, x)
    check_same_dtype(name, input=x, weight=weight)
    check_classes(name, x, weight)
    unbatched = x.ndim == 1
    if unbatched:
        x, target = unsqueeze(x, 0), unsqueeze(target, 0)
    check_indices(name, x, target, ignore_index)
    loss = NLL(array_of(weight), int(ignore_index), reduction)(x, target)
    return reshape(loss, ()) if unbatched else loss
