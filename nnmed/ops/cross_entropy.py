"""Cross-entropy of logits, with class indices or class probabilities as targets."""

from __future__ import annotations

import math

import numpy as np

from nnmed.autograd import Notation, Tensor
from nnmed.backend.arrays import array_module, to_device
from nnmed.errors import DTypeError, ShapeError, UsageError
from nnmed.kernels import select
from nnmed.ops.arguments import as_tensor, check_numbers, check_same_dtype, is_checked
from nnmed.ops.loss_base import (
    TO_ELEMENT,
    OnePassLoss,
    array_of,
    check_reduction,
    constant,
    per_element,
)
from nnmed.ops.reduction import sum
from nnmed.ops.shape import reshape, unsqueeze
from nnmed.ops.softmax import log_softmax, softmax

# The probability of class c in row i.
PROBABILITY = r"p_{ic} = \frac{e^{x_{ic}}}{\sum_k e^{x_{ik}}}"
_LOSS = r"y = \operatorname*{reduce}_i \left(-\sum_c q_{ic} \ln p_{ic}\right), \quad " + PROBABILITY
_DX = r"\frac{\partial L}{\partial x_{ic}} = "
_DT = r"\frac{\partial L}{\partial t_{ic}} = "
_SLOPE = r"\left(p_{ic} \sum_k q_{ik} - q_{ic}\right)"


def class_notation(op, ignore_index: int | None = None) -> Notation:
    """Return how the formulas of a loss of classes are read; i is a row of (N, C, ...).

    Without an index to be ignored the target is probabilities.
    """
    classes = op.input_shapes[0][1]
    weight = 1 if op.weight is None else to_device(op.weight, "cpu")
    counted = rows = math.prod(op.input_shapes[0]) // classes
    flat_target = _flat
    if ignore_index is not None:
        counts = op.inputs[1]._array != ignore_index
        # The divisor is the sum of weights.
        counted = float(op.divisor) if hasattr(op, "divisor") else int(counts.sum())
        flat_target = np.ravel

        def rows(indices):
            return np.flatnonzero(to_device(counts, "cpu")).tolist()

    values = {"n": counted, "w": weight, "C": classes}
    values[r"\varepsilon"] = getattr(op, "smoothing", 0)
    views = {"x": _flat, "t": flat_target}
    if op.reduction == "none":
        views["y"] = np.ravel
    return Notation(values, views=views, ranges={"i": rows}, positions={"i": 1})


def _flat(array):
    """Return (N, C, ...) as (rows, C)."""
    return np.moveaxis(array, 1, -1).reshape(-1, array.shape[1])


class CrossEntropy(OnePassLoss):
    """y = mean (or sum, or none) of -sum_c q_c log p_c,   dx_c = (p_c sum_k q_k - q_c) dy / n

    p = softmax(x) over dimension 1; q_c = w_c ((1 - e) [c = t] + e / C) for the class index
    t, with class weights w and label smoothing e (Szegedy et al., "Rethinking the Inception
    architecture", CVPR 2016). n is the sum of w_t for the mean, else 1. Rows whose t is the
    ignored index have no loss and no part in n.
    """

    forward_latex = (
        _LOSS + r", \quad "
        r"q_{ic} = w_c \left((1 - \varepsilon)\, [c = t_i] + \frac{\varepsilon}{C}\right)"
    )
    backward_latex = {"input": _DX + TO_ELEMENT + _SLOPE}

    def __init__(self, weight, ignore_index: int, label_smoothing: float, reduction: str):
        self.weight, self.ignore_index = weight, ignore_index
        self.smoothing, self.reduction = label_smoothing, reduction

    def notation(self):
        return class_notation(self, self.ignore_index)

    def forward(self, input, target):
        return self.in_one_pass(input, target)

    def evaluate(self, input, target, gradient):
        loss, dx, self.divisor = select("loss", input).cross_entropy(
            input, target, self.weight, self.ignore_index, self.smoothing, self.reduction, gradient
        )
        return loss, dx

    def backward(self, dy):
        x, target = self.inputs
        q = target_rows(x, target._array, self.weight, self.smoothing, self.ignore_index)
        total = Tensor._wrap(q.sum(1, keepdims=True))
        here = per_row(dy, self.reduction, self.divisor)
        return here * (total * softmax(x, 1) - Tensor._wrap(q)), None

    def flops(self, inputs, output):
        return 5 * math.prod(inputs[0])


class SoftCrossEntropy(OnePassLoss):
    """y = mean (or sum, or none) of -sum_c q_c log p_c,   dx_c = (p_c sum_k q_k - q_c) dy / n

    p = softmax(x) over dimension 1; q_c = w_c ((1 - e) t_c + e / C) for class probabilities
    t, with class weights w and label smoothing e. dt_c = -(1 - e) w_c log p_c dy / n. n is
    the number of rows for the mean, else 1: the weights do not enter it, as in PyTorch.
    """

    forward_latex = (
        _LOSS + r", \quad "
        r"q_{ic} = w_c \left((1 - \varepsilon)\, t_{ic} + \frac{\varepsilon}{C}\right)"
    )
    backward_latex = {
        "input": _DX + TO_ELEMENT + _SLOPE,
        "target": _DT + TO_ELEMENT + r"(\varepsilon - 1)\, w_c \ln p_{ic}",
    }

    def __init__(self, weight, label_smoothing: float, reduction: str):
        self.weight, self.smoothing, self.reduction = weight, label_smoothing, reduction

    def notation(self):
        return class_notation(self)

    def forward(self, input, target):
        return self.in_one_pass(input, target)

    def evaluate(self, input, target, gradient):
        return select("loss", input).soft_cross_entropy(
            input, target, self.weight, self.smoothing, self.reduction, gradient
        )

    def backward(self, dy):
        x, target = self.inputs
        classes, weight = x.shape[1], 1.0
        if self.weight is not None:
            weight = Tensor._wrap(self.weight.reshape((classes,) + (1,) * (x.ndim - 2)))
        here = per_row(dy, self.reduction, x.numel() // classes) * weight
        dx = dt = None
        if self.needs[0]:
            q = here * (target * (1 - self.smoothing) + self.smoothing / classes)
            dx = softmax(x, 1) * sum(q, 1, keepdim=True) - q
        if self.needs[1]:
            dt = here * (self.smoothing - 1) * log_softmax(x, 1)
        return dx, dt

    def flops(self, inputs, output):
        return 7 * math.prod(inputs[0])


def cross_entropy(
    input,
    target,
    weight=None,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return the cross-entropy of logits, as ``torch.nn.functional.cross_entropy``.

    For kinds of tumour that exclude each other, of an image or of each pixel. Where one
    kind is rare, give it a larger `weight`; where nearly all pixels are background, see
    :func:`nnmed.functional.dice_ce_loss` and :func:`nnmed.functional.focal_loss`.

    Parameters
    ----------
    input : Tensor
        Logits, (C,), (N, C) or (N, C, d1, ...).
    target : Tensor
        Class indices, integers of shape (), (N,) or (N, d1, ...); or class probabilities,
        floats of the input's shape.
    weight : Tensor, optional
        A factor for each class, (C,).
    ignore_index : int
        Class index that contributes nothing. Only for class indices.
    reduction : {"mean", "sum", "none"}
        With class indices the mean divides by the sum of the weights of the targets that
        are not ignored (NaN if all are), with probabilities by the number of rows.
    label_smoothing : float
        Share of the target that is spread evenly over the classes, in [0, 1].

    Raises
    ------
    ShapeError
        If the shapes do not fit together.
    DTypeError
        If logits, probabilities and weight are not floats of one dtype, or class indices
        are not integers.
    UsageError
        If a class index lies outside [0, C), naming it (not on a GPU, where looking for it
        would wait for the card); or an option makes no sense.
    GradientError
        If the weight requires a gradient.
    """
    name = "cross_entropy"
    check_reduction(name, reduction)
    check_numbers(name, label_smoothing=label_smoothing)
    if not 0 <= label_smoothing <= 1:
        raise UsageError(f"{name}: label_smoothing must lie in [0, 1], got {label_smoothing}")
    x, target = as_tensor(input), as_tensor(target)
    weight = constant(name, "weight", weight, x)
    check_same_dtype(name, input=x, weight=weight)
    check_classes(name, x, weight)
    soft = target.shape == x.shape
    unbatched = x.ndim == 1
    if unbatched:
        x, target = unsqueeze(x, 0), unsqueeze(target, 0)
    if soft:
        _check_probabilities(name, x, target)
        op = SoftCrossEntropy(array_of(weight), float(label_smoothing), reduction)
    else:
        check_indices(name, x, target, ignore_index)
        op = CrossEntropy(array_of(weight), int(ignore_index), float(label_smoothing), reduction)
    loss = op(x, target)
    return reshape(loss, ()) if unbatched else loss


def check_classes(name, x, weight) -> None:
    if x.ndim == 0 or x.shape[min(1, x.ndim - 1)] == 0:
        raise ShapeError(f"{name}: input must be (C,), (N, C) or (N, C, ...), C > 0; got {x.shape}")
    classes = x.shape[min(1, x.ndim - 1)]
    if weight is not None and weight.shape != (classes,):
        raise ShapeError(
            f"{name}: weight {weight.shape} must hold one number for each of the {classes} "
            f"classes of input {x.shape}"
        )


def _check_probabilities(name, x, target) -> None:
    if target.dtype != x.dtype:
        raise DTypeError(
            f"{name}: a target of the input's shape {x.shape} holds class probabilities and must "
            f"be {x.dtype} like the input, got {target.dtype}; class indices have no class "
            "dimension"
        )


def check_indices(name, x, target, ignore_index) -> None:
    if target.dtype.kind not in "iu":
        raise DTypeError(
            f"{name}: class indices must be integers, got {target.dtype}; class probabilities "
            f"have the shape of the input {x.shape}, this target has {target.shape}"
        )
    if target.shape != (x.shape[0], *x.shape[2:]):
        raise ShapeError(
            f"{name}: target {target.shape} must be {(x.shape[0], *x.shape[2:])} for input "
            f"{x.shape}"
        )
    labels, classes = target._array, x.shape[1]
    if is_checked(labels) and labels.size and (labels.min() < 0 or labels.max() >= classes):
        bad = (labels != ignore_index) & ((labels < 0) | (labels >= classes))
        if bad.any():
            place = tuple(int(i[0]) for i in np.nonzero(bad))
            raise UsageError(
                f"{name}: target holds class index {int(labels[place])} at {place}, but input "
                f"{x.shape} has {classes} classes: 0 to {classes - 1}"
            )


def target_rows(x, target, weight, label_smoothing, ignore_index):
    """Return q, (N, C, ...): constant, since neither labels nor weights are variables."""
    classes, target = x.shape[1], target.astype(np.int64)  # else -100 is beyond the range of uint8
    axis = (classes,) + (1,) * (target.ndim - 1)
    labels = array_module(target).arange(classes).reshape(axis)
    q = (labels == np.expand_dims(target, 1)).astype(x.dtype)
    q *= 1 - label_smoothing
    q += label_smoothing / classes
    if weight is not None:
        q *= weight.reshape(axis)
    return np.where(np.expand_dims(target == ignore_index, 1), x.dtype.type(0), q)


def per_row(dy: Tensor, reduction: str, divisor) -> Tensor:
    """Return the gradient that reaches each row's loss, ready to broadcast to (N, C, ...)."""
    return unsqueeze(dy, 1) if reduction == "none" else per_element(dy, reduction, divisor)
