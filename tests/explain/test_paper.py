"""What is written out in numbers is true: every line is read back, and its sums done."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed import functional as F
from nnmed.explain.formula.reading import Reading
from tests.explain.paper import value
from tests.ops.formulas.all_cases import CASES


def leaf(*shape, low=-2.0, high=3.0):
    values = np.random.default_rng(len(shape)).uniform(low, high, shape).round(1)
    return nnmed.Tensor(values.astype(np.float32), requires_grad=True)


def probabilities(*shape):
    return leaf(*shape, low=0.1, high=0.9)


LABELS = nnmed.Tensor([1, 0])
PIXELS = nnmed.Tensor([[[1, 0]]])
WEIGHT = nnmed.Tensor([0.5, 2.0])
ACTIVATIONS = [
    "relu", "gelu", "silu", "sigmoid", "tanh", "leaky_relu", "hardshrink", "hardsigmoid",
    "hardswish", "hardtanh", "softshrink", "celu", "elu", "mish", "selu", "softplus",
    "softsign", "tanhshrink",
]  # fmt: skip
EXAMPLES = {
    **{name: lambda name=name: getattr(F, name)(leaf(4)) for name in ACTIVATIONS},
    "gelu by tanh": lambda: F.gelu(leaf(3), approximate="tanh"),
    "threshold": lambda: F.threshold(leaf(3), 0.1, 2.0),
    "glu": lambda: F.glu(leaf(2, 4)),
    "elu, alpha": lambda: F.elu(leaf(3), 0.7),
    "celu, alpha": lambda: F.celu(leaf(3), 0.7),
    "softplus, beta": lambda: F.softplus(leaf(3), 2.0, 3.0),
    "clip": lambda: leaf(4).clamp(-1, 2),
    "clip below": lambda: leaf(4).clamp(min=0.5),
    # windows
    "max": lambda: F.max_pool2d(leaf(1, 1, 3, 3), 2, 1),
    "max, one axis": lambda: F.max_pool1d(leaf(1, 2, 4), 2),
    "max, padded": lambda: F.max_pool2d(leaf(1, 1, 2, 2), 2, 2, 1),
    "max, dilated": lambda: F.max_pool2d(leaf(1, 1, 1, 5), (1, 2), 1, 0, (1, 2)),
    "max, tied": lambda: F.max_pool2d(leaf(1, 1, 2, 3) * 0.0, (1, 2), 1),
    "max, volume": lambda: F.max_pool3d(leaf(1, 1, 2, 2, 2), 2),
    "adaptive max": lambda: F.adaptive_max_pool2d(leaf(1, 1, 2, 3), (1, 2)),
    "average": lambda: F.avg_pool2d(leaf(1, 1, 3, 3), 2, 1),
    "average, padded": lambda: F.avg_pool2d(leaf(1, 1, 2, 2), 2, 1, 1),
    "average, without": lambda: F.avg_pool2d(leaf(1, 1, 2, 2), 2, 1, 1, count_include_pad=False),
    "average, divisor": lambda: F.avg_pool2d(leaf(1, 2, 1, 3), (1, 2), 1, divisor_override=3),
    "adaptive average": lambda: F.adaptive_avg_pool2d(leaf(1, 1, 2, 3), (1, 2)),
    "lp": lambda: F.lp_pool2d(leaf(1, 1, 2, 2), 2.0, 2),
    "unpool": lambda: F.max_unpool2d(*F.max_pool2d(leaf(1, 1, 2, 2), 2, return_indices=True), 2),
    "largest": lambda: leaf(2, 3).amax(0),
    "smallest, tied": lambda: (leaf(3) * 0.0).amin(0),
    # normalisation
    "batch": lambda: F.batch_norm(leaf(3, 2), None, None, leaf(2), leaf(2), training=True),
    "batch, bare": lambda: F.batch_norm(leaf(1, 2, 3), None, None, training=True),
    "batch, given": lambda: F.batch_norm(leaf(3, 2), WEIGHT * 1.5, WEIGHT, leaf(2), leaf(2)),
    "batch, relu": lambda: F.batch_norm(
        leaf(3, 2), None, None, leaf(2), leaf(2), training=True, relu=True
    ),
    "batch, given, relu": lambda: F.batch_norm(leaf(3, 2), WEIGHT * 1.5, WEIGHT, relu=True),
    "layer": lambda: F.layer_norm(leaf(2, 3), (3,), leaf(3), leaf(3)),
    "layer, bare": lambda: F.layer_norm(leaf(2, 4), (4,)),
    "group": lambda: F.group_norm(leaf(1, 6), 2, leaf(6), leaf(6)),
    "one group": lambda: F.group_norm(leaf(1, 2, 3), 1, leaf(2), leaf(2)),
    "instance": lambda: F.instance_norm(leaf(1, 2, 4), weight=leaf(2), bias=leaf(2)),
    "root mean square": lambda: F.rms_norm(leaf(2, 3), (3,), leaf(3)),
    # losses
    **{
        f"{name}, {reduction}": lambda name=name, r=reduction: getattr(F, name)(
            probabilities(3), probabilities(3, 1)[:, 0], reduction=r
        )
        for name in (
            "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy",
            "binary_cross_entropy_with_logits",
        )
        for reduction in ("mean", "sum", "none")
    },
    "one number": lambda: F.mse_loss(leaf(), probabilities()).reshape(1),
    "weighted": lambda: F.binary_cross_entropy_with_logits(
        leaf(2, 2), probabilities(2, 2), WEIGHT, pos_weight=WEIGHT.reshape(2, 1)
    ),
    "smooth l1, beta": lambda: F.smooth_l1_loss(leaf(4), leaf(2, 2).reshape(4), beta=2.0),
    **{
        f"classes, {reduction}": lambda r=reduction: F.cross_entropy(
            leaf(2, 2), LABELS, reduction=r
        )
        for reduction in ("mean", "sum", "none")
    },
    "classes, weighted": lambda: F.cross_entropy(leaf(2, 2), LABELS, WEIGHT),
    "classes, smoothed": lambda: F.cross_entropy(leaf(2, 2), LABELS, label_smoothing=0.1),
    "classes, ignored": lambda: F.cross_entropy(leaf(2, 2), LABELS, ignore_index=0),
    "classes of pixels": lambda: F.cross_entropy(
        leaf(1, 2, 1, 2), PIXELS, WEIGHT, label_smoothing=0.2, reduction="none"
    ),
    "soft classes": lambda: F.cross_entropy(leaf(2, 2), probabilities(2, 2), WEIGHT),
    "focal": lambda: F.focal_loss(leaf(1, 2, 1, 2), PIXELS),
    "log-likelihood": lambda: F.nll_loss(leaf(2, 2), LABELS, WEIGHT),
    "softmax": lambda: F.softmax(leaf(2, 3), -1),
    "logarithm of softmax": lambda: F.log_softmax(leaf(2, 3), 0),
    # sums of products
    "sum": lambda: leaf(2, 3).sum(1),
    "mean": lambda: leaf(2, 3).mean(0),
    "broadcast": lambda: leaf(2) * leaf(2, 2),
    "matrices": lambda: leaf(2, 3) @ leaf(3, 2),
    "stacks of matrices": lambda: leaf(2, 1, 2) @ leaf(2, 2, 1),
    "einsum": lambda: nnmed.einsum("ij,jk->k", leaf(2, 2), leaf(2, 3)),
    "conv": lambda: F.conv2d(leaf(1, 1, 2, 3), leaf(1, 1, 1, 2), leaf(1)),
    "transposed conv": lambda: F.conv_transpose2d(leaf(1, 1, 1, 2), leaf(1, 1, 2, 2)),
    "grid": lambda: F.grid_sample(
        leaf(1, 1, 2, 2), leaf(1, 1, 2, 2, low=-0.9, high=0.9), align_corners=False
    ),
    "fold": lambda: F.fold(leaf(1, 2, 2), (1, 3), (1, 2)),
    "unfold": lambda: F.unfold(leaf(1, 1, 1, 3), (1, 2)),
    "nearest": lambda: F.interpolate(leaf(1, 1, 1, 3), size=(2, 3)),
    "bilinear": lambda: F.interpolate(leaf(1, 1, 1, 3), size=(1, 5), mode="bilinear"),
    "padded": lambda: F.pad(leaf(1, 1, 1, 3), (1, 1, 0, 0)),
    "reflected": lambda: F.pad(leaf(1, 1, 1, 3), (1, 1, 0, 0), mode="reflect"),
    "picked": lambda: leaf(3)[nnmed.Tensor([0, 0, 2])],
    "joined": lambda: nnmed.concatenate([leaf(2), leaf(2, 1)[:, 0]], 0),
    "dropout": lambda: F.dropout(leaf(4)),
    "overlap": lambda: F.dice_loss(leaf(1, 2, 2, 2), nnmed.Tensor([[[0, 1], [1, 1]]])),
}  # fmt: skip


def weighted_sum(y):
    """Return a loss that brings another gradient to each entry."""
    weights = np.random.default_rng(5).uniform(0.5, 2, y.shape).round(1).astype(np.float32)
    return (y * nnmed.Tensor(weights).to(y.device)).sum()


def check_lines(y):
    """Do the sums of all lines that are written out for the steps to y."""
    for step in nnmed.explain(weighted_sum(y)).steps[2:]:
        assert step.numbers, step
        assert step.false_formulas == step.unread_formulas == []
        for line in step.numbers.splitlines():
            *_, written, result = line.split(" = ")
            expected = value(result)
            try:
                found = value(written)
            except (KeyError, SyntaxError):  # symbols: the numbers are the result
                continue
            check_close(found, expected, line)


def check_close(found, expected, line):
    size = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * size, err_msg=line)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_every_op_writes_is_what_it_computes(case):
    ran = case.run()
    reading = Reading(ran.op, case.inputs, ran.y.numpy(), ran.dy)
    with np.errstate(all="ignore"):  # of cases that do not apply
        pages = [reading.forward()]
        names = [name for name in case.inputs if name in reading.backward_latex]
        pages += [reading.backward(name, list(case.inputs).index(name)) for name in names]
    for page in pages:
        for written in page:
            check_close(value(written.text), written.value, written.latex)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_line_is_true(name):
    check_lines(EXAMPLES[name]())


def of_maximum(device):
    return F.max_pool2d(leaf(1, 1, 3, 3).to(device), 2, 1)


def of_batch_norm(device):
    x, mean, var = (t.to(device) for t in (leaf(3, 2), WEIGHT * 1.5, WEIGHT))
    return F.batch_norm(x, mean, var)


def of_weighted_classes(device):
    x, labels, weight = (t.to(device) for t in (leaf(2, 2), LABELS, WEIGHT))
    return F.cross_entropy(x, labels, weight)


def of_weighted_pairs(device):
    x, target, weight = (t.to(device) for t in (probabilities(2), WEIGHT * 0.25, WEIGHT))
    return F.binary_cross_entropy(x, target, weight)


@pytest.mark.parametrize("y", [of_maximum, of_batch_norm, of_weighted_classes, of_weighted_pairs])
def test_every_line_is_true_on_the_gpu(y, gpu):
    check_lines(y(gpu))
