"""Focal losses: every op test, the formula, extreme logits, bad arguments."""

from __future__ import annotations

import math

import numpy as np
import pytest

import nnmed
from nnmed.errors import ShapeError, UsageError
from nnmed.kernels.loss import segmentation_reference as formulas
from nnmed.ops.binary_cross_entropy import binary_cross_entropy_with_logits
from nnmed.ops.cross_entropy import cross_entropy
from nnmed.ops.focal_loss import focal_loss, sigmoid_focal_loss
from tests.op_case import OpCase, integers, op_tests

TARGETS = np.array([[0.0, 1, 1, 0], [1, 0, 1, 1]])


def anchors(inputs, **kwargs):
    """sigmoid_focal_loss with constant targets of the input's dtype."""
    targets = nnmed.Tensor(TARGETS.astype(inputs.dtype)).to(inputs.device)
    return sigmoid_focal_loss(inputs, targets, **kwargs)


def torch_anchors(torch, tensors, kwargs):
    """The formula of torchvision.ops.sigmoid_focal_loss."""
    x, t = tensors["inputs"], torch.tensor(TARGETS).to(tensors["inputs"].dtype)
    alpha, gamma = kwargs.get("alpha", 0.25), kwargs.get("gamma", 2.0)
    p = torch.sigmoid(x)
    losses = torch.nn.functional.binary_cross_entropy_with_logits(x, t, reduction="none")
    losses = losses * (1 - (p * t + (1 - p) * (1 - t))) ** gamma
    if alpha >= 0:
        losses = (alpha * t + (1 - alpha) * (1 - t)) * losses
    reduction = kwargs.get("reduction", "none")
    return losses if reduction == "none" else getattr(losses, reduction)()


def _case(shape, **kwargs):
    target = integers(0, max(shape[1], 2), shape[0], *shape[2:])
    return OpCase(focal_loss, dict(input=shape, target=target), kwargs, oracle=False)


CASES = [
    *[
        _case(shape, **kwargs)
        for shape in ((2, 1, 3, 4), (2, 3, 3, 4), (1, 2, 2, 3, 2))
        for kwargs in ({}, dict(gamma=0.5, reduction="sum"), dict(gamma=0.0, reduction="none"))
    ],
    _case((2, 1, 3, 4), alpha=0.25, ignore_index=1),
    _case((2, 3, 3, 4), alpha=(0.2, 1.0, 2.0), ignore_index=2),
    *[
        OpCase(anchors, dict(inputs=(2, 4)), kwargs, oracle=torch_anchors)
        for kwargs in (
            {},
            dict(reduction="mean"),
            dict(alpha=-1, gamma=1.5, reduction="sum"),
        )
    ],
]
TestFocal = op_tests(CASES, family="loss")


@pytest.mark.parametrize("shape", [(2, 1, 3, 4), (2, 3, 3, 4), (2, 4, 2, 3, 2)])
@pytest.mark.parametrize("gamma", [0, 0.5, 2, 3.7])
def test_equals_its_formula(shape, gamma):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape)
    target = rng.integers(0, max(shape[1], 2), (shape[0], *shape[2:]))
    alpha = rng.uniform(0.5, 2, shape[1]) if shape[1] > 1 else 0.3
    weights = alpha if shape[1] > 1 else np.array([0.7, 0.3])
    expected = []
    for image, labels in zip(x, target.reshape(shape[0], -1)):
        p = formulas.probabilities(image.reshape(shape[1], -1))
        p = np.concatenate([1 - p, p]) if shape[1] == 1 else p
        expected.append(formulas.focal(p[labels, np.arange(labels.size)], gamma, weights[labels]))
    expected = np.array(expected).reshape(target.shape)
    x, target = nnmed.from_numpy(x), nnmed.from_numpy(target)
    actual = focal_loss(x, target, gamma=gamma, alpha=alpha, reduction="none").numpy()
    np.testing.assert_allclose(actual, expected, rtol=1e-9)
    actual = focal_loss(x, target, gamma=gamma, alpha=alpha).item()
    np.testing.assert_allclose(actual, expected.mean(), rtol=1e-9)


def test_without_gamma_it_is_cross_entropy_also_where_pixels_are_ignored():
    rng = np.random.default_rng(0)
    x, target = rng.standard_normal((2, 3, 4, 5)), rng.integers(0, 3, (2, 4, 5))
    target[0, 0] = 255
    x, target = nnmed.from_numpy(x), nnmed.from_numpy(target)
    expected = cross_entropy(x, target, ignore_index=255).item()
    assert focal_loss(x, target, gamma=0, ignore_index=255).item() == pytest.approx(expected)
    x, target = x[:, :1], nnmed.from_numpy(target.numpy() % 2)
    expected = binary_cross_entropy_with_logits(x[:, 0], target.double()).item()
    assert focal_loss(x, target, gamma=0).item() == pytest.approx(expected)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
@pytest.mark.parametrize("classes", [1, 2, 3])
def test_extreme_logits_are_exact(gamma, classes):
    """Sure and right costs what it should, down to nothing; sure and wrong is linear."""
    far = np.zeros((1, classes, 3, 1))
    far[0, -1, :, 0] = 40, 1e4, -1e4
    x = nnmed.from_numpy(far).requires_grad_()
    target = nnmed.from_numpy(np.full((1, 3, 1), max(classes, 2) - 1))
    value = focal_loss(x, target, gamma=gamma, reduction="none")
    odds = max(classes - 1, 1) * math.exp(-40)
    expected = [odds ** (1 + gamma), 0, 1e4 + math.log(max(classes - 1, 1))]
    np.testing.assert_allclose(value.numpy().reshape(-1), expected, rtol=1e-9)
    value.sum().backward()
    slopes = [-(1 + gamma) * odds ** (1 + gamma), 0, -1]
    np.testing.assert_allclose(x.grad.numpy()[0, -1, :, 0], slopes, rtol=1e-9)


def test_where_all_pixels_are_ignored_it_is_zero():
    x = nnmed.from_numpy(np.ones((1, 2, 2, 2))).requires_grad_()
    value = focal_loss(x, nnmed.from_numpy(np.full((1, 2, 2), 9)), ignore_index=9)
    assert value.item() == 0
    value.backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.zeros(x.shape))


def test_bad_arguments():
    x = nnmed.Tensor(np.zeros((2, 3, 2, 2), np.float32))
    target = nnmed.from_numpy(np.zeros((2, 2, 2), np.int64))
    with pytest.raises(UsageError, match="gamma"):
        focal_loss(x, target, gamma=-1)
    with pytest.raises(UsageError, match="gamma must be a number"):
        focal_loss(x, target, gamma=None)
    with pytest.raises(ShapeError, match="alpha"):
        focal_loss(x, target, alpha=0.25)
    with pytest.raises(UsageError, match="alpha"):
        focal_loss(x[:, :1], target, alpha=2.0)
    with pytest.raises(UsageError, match="reduction"):
        focal_loss(x, target, reduction="average")
    with pytest.raises(UsageError, match="0 or 1"):
        sigmoid_focal_loss(x, x + 0.5)
    with pytest.raises(ShapeError, match="targets"):
        sigmoid_focal_loss(x, x[:1])
