"""cross_entropy: every op test over its many arguments, ignored rows, bad labels."""

from __future__ import annotations

import math

import numpy as np
import pytest

import nnmed
from nnmed.errors import DTypeError, GradientError, ShapeError, UsageError
from nnmed.ops.cross_entropy import cross_entropy
from nnmed.ops.softmax import log_softmax
from tests.op_case import OpCase, integers, op_tests

REDUCTIONS = ("mean", "sum", "none")
WEIGHT = np.array([0.5, 2.0, 1.0, 0.0])


def loss(input, target, weighted=False, **kwargs):
    """cross_entropy with constant class weights of the input's dtype."""
    weight = nnmed.Tensor(WEIGHT.astype(input.dtype)) if weighted else None
    return cross_entropy(input, target, weight, **kwargs)


def torch_loss(torch, tensors, kwargs):
    x, kwargs = tensors["input"], dict(kwargs)
    weight = torch.tensor(WEIGHT).to(x.dtype) if kwargs.pop("weighted", False) else None
    return torch.nn.functional.cross_entropy(x, tensors["target"], weight, **kwargs)


def with_ignored(index, *shape):
    def labels(rng):
        target = rng.integers(0, 4, shape)
        target.reshape(-1)[::3] = index
        return target

    return labels


def distribution(*shape):
    def rows(rng):
        values = rng.uniform(size=shape)
        return values / values.sum(1 if len(shape) > 1 else 0, keepdims=True)

    return rows


def _case(shape, target, **kwargs):
    return OpCase(loss, dict(input=shape, target=target), kwargs, oracle=torch_loss)


HARD = [
    _case((7, 4), integers(0, 4, 7), weighted=w, label_smoothing=smoothing, reduction=r)
    for w in (False, True)
    for smoothing in (0.0, 0.2)
    for r in REDUCTIONS
] + [
    _case(
        (2, 4, 3, 5), with_ignored(-100, 2, 3, 5), weighted=True, label_smoothing=0.2, reduction=r
    )
    for r in REDUCTIONS
]
SOFT = [
    _case((7, 4), distribution(7, 4), weighted=w, label_smoothing=0.1, reduction=r)
    for w in (False, True)
    for r in REDUCTIONS
]
OTHERS = [
    _case((4,), integers(0, 4)),
    _case((4,), integers(0, 4), weighted=True, label_smoothing=0.3, reduction="none"),
    _case((4,), distribution(4)),
    _case((9, 4), with_ignored(2, 9), ignore_index=2, weighted=True),
    _case((9, 4), with_ignored(7, 9), ignore_index=7),
    _case((3, 100), integers(0, 100, 3), label_smoothing=0.1),
    _case((3, 100), distribution(3, 100)),
    _case((2, 4, 3), distribution(2, 4, 3), weighted=True),
    _case((5, 1), integers(0, 1, 5)),
    _case((2, 4, 3, 2, 2), integers(0, 4, 2, 3, 2, 2)),
]
TestCrossEntropy = op_tests(HARD + SOFT + OTHERS, family="loss")


@pytest.mark.parametrize("kwargs", [{}, dict(weighted=True), dict(label_smoothing=0.1)])
def test_all_ignored(kwargs):
    for create_graph in (False, True):
        x = nnmed.Tensor(np.ones((3, 4), np.float32), requires_grad=True)
        target = nnmed.Tensor([-100, -100, -100])
        mean = loss(x, target, **kwargs)
        assert math.isnan(mean.item())
        (dx,) = nnmed.grad(mean, [x], create_graph=create_graph)
        np.testing.assert_array_equal(dx.numpy(), np.zeros((3, 4)))
        assert loss(x, target, reduction="sum", **kwargs).item() == 0
        assert loss(x, target, reduction="none", **kwargs).numpy().tolist() == [0, 0, 0]


def test_an_ignored_row_may_hold_nan():
    value = cross_entropy(nnmed.Tensor([[np.nan, 1.0], [0.0, 0.0]]), nnmed.Tensor([-100, 1]))
    assert value.item() == np.float32(math.log(2))


def test_extreme_logits_are_exact():
    x = nnmed.Tensor([[1e30, 0.0], [0.0, 1000.0], [-np.inf, 0.0]], requires_grad=True)
    value = cross_entropy(x, nnmed.Tensor([1, 1, 1]), reduction="none")
    np.testing.assert_array_equal(value.numpy(), np.float32([1e30, 0, 0]))
    value.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[1, -1], [0, 0], [0, 0]])


@pytest.mark.parametrize("memory", ["rows", "channels last"])
@pytest.mark.parametrize("shape", [(3, 2, 80, 90), (40000, 3), (700, 100), (2, 70, 20, 20)])
def test_many_blocks_equal_log_softmax(shape, memory):
    rng = np.random.default_rng(0)
    x, target = rng.standard_normal(shape), rng.integers(0, shape[1], (shape[0], *shape[2:]))
    if memory != "rows":
        x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    t = nnmed.from_numpy(x).requires_grad_()
    value = cross_entropy(t, nnmed.from_numpy(target))
    value.backward()
    y = log_softmax(nnmed.from_numpy(x), 1).numpy()
    picked = np.take_along_axis(y, target[:, None], 1)
    np.testing.assert_allclose(value.item(), -picked.mean(), rtol=1e-12)
    hot = np.arange(shape[1]).reshape(-1, *[1] * (len(shape) - 2)) == target[:, None]
    np.testing.assert_allclose(t.grad.numpy(), (np.exp(y) - hot) / target.size, atol=1e-15)
    assert t.grad.numpy().strides == x.strides


def test_probabilities_may_require_a_gradient_alone():
    x = nnmed.Tensor(np.zeros((2, 4)))
    t = nnmed.Tensor(np.full((2, 4), 0.25), requires_grad=True)
    cross_entropy(x, t).backward()
    np.testing.assert_allclose(t.grad.numpy(), np.full((2, 4), math.log(4) / 2))


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64])
def test_any_integer_holds_labels(dtype):
    x = nnmed.Tensor(np.zeros((2, 4), np.float32))
    assert cross_entropy(x, nnmed.from_numpy(np.array([3, 0], dtype))).item() == pytest.approx(
        math.log(4)
    )


@pytest.mark.parametrize("label", [4, -1, 255])
def test_label_out_of_range_is_named(label):
    x = nnmed.Tensor(np.zeros((3, 4), np.float32))
    with pytest.raises(UsageError, match=rf"class index {label} at \(2,\).* 4 classes"):
        cross_entropy(x, nnmed.Tensor([0, -100, label]))


def test_empty_batch():
    x = nnmed.Tensor(np.zeros((0, 4), np.float32), requires_grad=True)
    value = cross_entropy(x, nnmed.from_numpy(np.zeros(0, np.int64)))
    assert math.isnan(value.item())
    value.backward()
    assert x.grad.shape == (0, 4)


def test_bad_arguments():
    x, target = nnmed.Tensor(np.zeros((3, 4), np.float32)), nnmed.Tensor([0, 1, 2])
    with pytest.raises(ShapeError, match="target"):
        cross_entropy(x, nnmed.Tensor([0, 1]))
    with pytest.raises(ShapeError, match="weight"):
        cross_entropy(x, target, nnmed.Tensor([1.0, 2.0]))
    with pytest.raises(ShapeError, match="C > 0"):
        cross_entropy(nnmed.Tensor(1.0), nnmed.Tensor(0))
    with pytest.raises(DTypeError, match="must be integers"):
        cross_entropy(x, nnmed.Tensor([0.0, 1.0, 2.0]))
    with pytest.raises(DTypeError, match="class probabilities"):
        cross_entropy(x, nnmed.Tensor(np.zeros((3, 4), np.int64)))
    with pytest.raises(UsageError, match="label_smoothing"):
        cross_entropy(x, target, label_smoothing=1.5)
    with pytest.raises(UsageError, match="label_smoothing must be a number"):
        cross_entropy(x, target, label_smoothing=None)
    with pytest.raises(UsageError, match="reduction"):
        cross_entropy(x, target, reduction="average")
    with pytest.raises(GradientError, match="weight"):
        cross_entropy(x, target, nnmed.Tensor(np.ones(4, np.float32), requires_grad=True))
