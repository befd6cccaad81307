"""Margin losses of class scores: every op test, ties, labels, bad arguments."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed.errors import DTypeError, ShapeError, UsageError
from nnmed.ops.margin_loss import (
    multi_margin_loss,
    multilabel_margin_loss,
    multilabel_soft_margin_loss,
    soft_margin_loss,
)
from tests.op_case import OpCase, integers, op_tests, tie_free

REDUCTIONS = ("mean", "sum", "none")
WEIGHT = np.array([0.5, 2.0, 1.0, 0.25])


def with_weight(function):
    """Return `function` and its oracle, with constant weights of the input's dtype."""

    def weighted(input, target, weighted=True, **kwargs):
        weight = nnmed.Tensor(WEIGHT.astype(input.dtype)) if weighted else None
        return function(input, target, weight=weight, **kwargs)

    def oracle(torch, tensors, kwargs):
        kwargs, x = dict(kwargs), tensors["input"]
        weight = torch.tensor(WEIGHT).to(x.dtype) if kwargs.pop("weighted", True) else None
        torch_function = getattr(torch.nn.functional, function.__name__)
        return torch_function(x, tensors["target"], weight=weight, **kwargs)

    weighted.__name__ = function.__name__
    return weighted, oracle


def probabilities(*shape):
    return lambda rng: rng.uniform(0.05, 0.95, shape)


def listed(rng):
    return np.array([[1, 3, -1, 0], [-1, 2, 2, 2], [0, 1, 2, 3], [2, 2, -1, -1]])


def soft_margin(input, **kwargs):
    """soft_margin_loss with constant labels: PyTorch gives no gradient by them."""
    labels = nnmed.Tensor(np.resize([-1, 1, 1], input.shape))
    return soft_margin_loss(input, labels.to(input.device), **kwargs)


def torch_soft_margin(torch, tensors, kwargs):
    labels = torch.tensor(np.resize([-1, 1, 1], tensors["input"].shape))
    return torch.nn.functional.soft_margin_loss(tensors["input"], labels, **kwargs)


MULTI, TORCH_MULTI = with_weight(multi_margin_loss)
LABELS, TORCH_LABELS = with_weight(multilabel_soft_margin_loss)
CASES = [
    *[
        OpCase(soft_margin, dict(input=(3, 4)), dict(reduction=r), oracle=torch_soft_margin)
        for r in REDUCTIONS
    ],
    *[
        OpCase(
            LABELS,
            dict(input=(3, 4), target=probabilities(3, 4)),
            dict(reduction=r, weighted=w),
            oracle=TORCH_LABELS,
        )
        for r in REDUCTIONS
        for w in (False, True)
    ],
    OpCase(LABELS, dict(input=(4,), target=probabilities(4)), oracle=TORCH_LABELS),
    *[
        OpCase(
            MULTI,
            dict(input=tie_free(5, 4), target=integers(0, 4, 5)),
            dict(p=p, reduction=r, weighted=w, margin=0.7),
            oracle=TORCH_MULTI,
        )
        for p in (1, 2)
        for r, w in (("mean", True), ("sum", False), ("none", True))
    ],
    OpCase(MULTI, dict(input=tie_free(4), target=integers(0, 4)), oracle=TORCH_MULTI),
    *[
        OpCase(multilabel_margin_loss, dict(input=tie_free(4, 4), target=listed), dict(reduction=r))
        for r in REDUCTIONS
    ],
    OpCase(
        multilabel_margin_loss, dict(input=tie_free(4), target=lambda rng: np.array([3, 0, -1, 1]))
    ),
]
TestMargin = op_tests(CASES, family="loss")


@pytest.mark.oracle
def test_a_score_on_the_margin_has_no_gradient_as_in_pytorch(torch):
    scores = np.array([[0.0, 1.0, 0.5]], np.float32)  # right by 1 and by 0.5
    x = nnmed.from_numpy(scores).requires_grad_()
    multi_margin_loss(x, nnmed.Tensor([1])).backward()
    y = torch.tensor(scores, requires_grad=True)
    torch.nn.functional.multi_margin_loss(y, torch.tensor([1])).backward()
    np.testing.assert_array_equal(x.grad.numpy(), y.grad.numpy())
    assert x.grad.numpy()[0, 0] == 0


def test_soft_margin_is_exact_for_large_scores():
    x = nnmed.Tensor([1000.0, -1000.0], requires_grad=True)
    value = soft_margin_loss(x, nnmed.Tensor([-1, -1]), reduction="none")
    np.testing.assert_array_equal(value.numpy(), [1000, 0])
    value.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [1, 0])


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, bool])
def test_labels_may_be_integers(dtype):
    labels = np.array([[1, 0, 1], [0, 0, 1]])
    x = nnmed.Tensor(np.array([[0.5, -2.0, 1.0], [3.0, 0.0, -1.0]], np.float32))
    loss = multilabel_soft_margin_loss(x, nnmed.Tensor(labels.astype(dtype)))
    floats = multilabel_soft_margin_loss(x, nnmed.Tensor(labels.astype(np.float32)))
    assert loss.dtype == np.float32
    assert loss.item() == floats.item()


def test_bad_arguments():
    x = nnmed.Tensor(np.zeros((3, 4), np.float32))
    with pytest.raises(UsageError, match="multi_margin_loss: target holds class index 4"):
        multi_margin_loss(x, nnmed.Tensor([0, 1, 4]))
    with pytest.raises(UsageError, match="p must be"):
        multi_margin_loss(x, nnmed.Tensor([0, 1, 2]), p=3)
    with pytest.raises(UsageError, match="margin must be a number"):
        multi_margin_loss(x, nnmed.Tensor([0, 1, 2]), margin=[1.0])
    with pytest.raises(ShapeError, match="weight"):
        multi_margin_loss(x, nnmed.Tensor([0, 1, 2]), weight=nnmed.Tensor([1.0]))
    with pytest.raises(ShapeError, match="input must be"):
        multi_margin_loss(nnmed.Tensor(np.zeros((2, 3, 4))), nnmed.Tensor([0, 1]))
    with pytest.raises(UsageError, match=r"class index 4 at \(0, 1\)"):
        multilabel_margin_loss(x, nnmed.Tensor([[0, 4, -1, -1]] * 3))
    with pytest.raises(DTypeError, match="integers"):
        multilabel_margin_loss(x, x)
    with pytest.raises(ShapeError, match="target"):
        multilabel_margin_loss(x, nnmed.Tensor([0, -1]))
    with pytest.raises(ShapeError, match="target"):
        soft_margin_loss(x, nnmed.Tensor([1.0, -1.0]))
    with pytest.raises(ShapeError, match="target"):
        multilabel_soft_margin_loss(x, nnmed.Tensor([1.0, 0.0]))
    for function in (soft_margin_loss, multilabel_soft_margin_loss):
        with pytest.raises(UsageError, match="reduction"):
            function(x, x, reduction="average")
