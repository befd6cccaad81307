"""Lovasz losses: every op test, the definition by sets, empty masks, ties."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed.errors import ShapeError, UsageError
from nnmed.kernels.loss import cpu, reference
from nnmed.kernels.loss import segmentation_reference as formulas
from nnmed.ops.lovasz_loss import lovasz_hinge_loss, lovasz_softmax_loss
from tests.op_case import OpCase, integers, op_tests


def _case(function, shape, **kwargs):
    target = integers(0, max(shape[1], 2), shape[0], *shape[2:])
    return OpCase(function, dict(input=shape, target=target), kwargs, oracle=False)


CASES = [
    *[
        _case(function, shape, **kwargs)
        for function, shape in (
            (lovasz_hinge_loss, (2, 1, 3, 4)),
            (lovasz_softmax_loss, (2, 3, 3, 4)),
            (lovasz_softmax_loss, (2, 1, 2, 3, 2)),
        )
        for kwargs in (
            {},
            dict(batch=True, reduction="sum"),
            dict(ignore_index=1, reduction="none"),
        )
    ],
    _case(lovasz_softmax_loss, (2, 3, 3, 4), classes="all", ignore_index=2),
]
TestLovasz = op_tests(CASES, family="loss")


def example(shape):
    rng = np.random.default_rng(4)
    x, target = (
        rng.standard_normal(shape),
        rng.integers(0, max(shape[1], 2), (shape[0], *shape[2:])),
    )
    target[0, 0] = 255
    return x, target


@pytest.mark.parametrize("shape", [(2, 1, 3, 4), (2, 1, 2, 3, 2)])
def test_hinge_equals_its_definition(shape):
    x, target = example(shape)
    rows, masks = x.reshape(2, -1), target.reshape(2, -1)
    kept = masks != 255
    expected = [formulas.lovasz_hinge(r[k], t[k]) for r, t, k in zip(rows, masks, kept)]
    arguments = nnmed.from_numpy(x), nnmed.from_numpy(target)
    actual = lovasz_hinge_loss(*arguments, ignore_index=255, reduction="none").numpy()
    np.testing.assert_allclose(actual, expected, rtol=1e-10)
    actual = lovasz_hinge_loss(*arguments, ignore_index=255).item()
    np.testing.assert_allclose(actual, np.mean(expected), rtol=1e-10)
    actual = lovasz_hinge_loss(*arguments, ignore_index=255, batch=True).item()
    expected = formulas.lovasz_hinge(rows[kept], masks[kept])
    np.testing.assert_allclose(actual, expected, rtol=1e-10)


@pytest.mark.parametrize("classes", ["present", "all"])
@pytest.mark.parametrize("shape", [(2, 4, 3, 4), (2, 1, 3, 4), (2, 3, 2, 3, 2)])
def test_softmax_equals_its_definition(shape, classes):
    x, target = example(shape)
    if shape[1] > 1:
        target[target == 1] = 0  # an absent class
    names = range(shape[1]) if shape[1] > 1 else [1]
    images = []
    for image, mask in zip(x, target.reshape(2, -1)):
        kept = mask != 255
        p = formulas.probabilities(image.reshape(shape[1], -1))[:, kept]
        masks = np.array([mask[kept] == c for c in names])
        images.append((p, masks))

    def expected(p, masks):
        chosen = [i for i, mask in enumerate(masks) if classes == "all" or mask.any()]
        return np.mean([formulas.lovasz_softmax(p[i], masks[i]) for i in chosen])

    arguments = nnmed.from_numpy(x), nnmed.from_numpy(target)
    options = dict(classes=classes, ignore_index=255, reduction="none")
    actual = lovasz_softmax_loss(*arguments, **options).numpy()
    np.testing.assert_allclose(actual, [expected(*image) for image in images], rtol=1e-10)
    whole = [np.concatenate(arrays, 1) for arrays in zip(*images)]
    actual = lovasz_softmax_loss(*arguments, batch=True, **options).item()
    np.testing.assert_allclose(actual, expected(*whole), rtol=1e-10)


def test_zero_one_predictions_cost_one_minus_jaccard():
    truth, guess = np.array([1, 1, 1, 0, 0, 0, 0]), np.array([1, 0, 1, 1, 0, 0, 1])
    x = nnmed.from_numpy(np.where(guess, 1e3, -1e3).reshape(1, 1, 7))
    value = lovasz_softmax_loss(x, nnmed.from_numpy(truth.reshape(1, 7))).item()
    assert value == pytest.approx(1 - 2 / 5)


def test_an_image_without_tumour():
    x = nnmed.from_numpy(np.array([-3.0, 0.5, -0.2, -2]).reshape(1, 1, 4)).requires_grad_()
    target = nnmed.from_numpy(np.zeros((1, 4), np.uint8))
    value = lovasz_hinge_loss(x, target)
    assert value.item() == 1.5
    value.backward()
    np.testing.assert_array_equal(x.grad.numpy().reshape(-1), [0, 1, 0, 0])
    assert lovasz_softmax_loss(x, target).item() == 0
    value = lovasz_softmax_loss(x, target, classes="all").item()
    assert value == pytest.approx(1 / (1 + np.exp(-0.5)))


@pytest.mark.parametrize("function", [lovasz_hinge_loss, lovasz_softmax_loss])
def test_where_all_pixels_are_ignored_it_is_zero(function):
    x = nnmed.from_numpy(np.ones((2, 1, 2, 2))).requires_grad_()
    value = function(x, nnmed.from_numpy(np.full((2, 2, 2), 9)), ignore_index=9)
    assert value.item() == 0
    value.backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.zeros(x.shape))


def test_of_equal_errors_the_first_comes_first():
    errors, truth = np.ones((1, 3)), np.array([[False, True, False]])
    kept = np.ones((1, 3), bool)
    for form in (cpu, reference):
        weights = form.lovasz_weights(errors, truth, kept)
        np.testing.assert_allclose(weights, [[0.5, 0.5, 0]])


def test_bad_arguments():
    x = nnmed.Tensor(np.zeros((2, 3, 2, 2), np.float32))
    target = nnmed.from_numpy(np.zeros((2, 2, 2), np.int64))
    with pytest.raises(ShapeError, match="lovasz_softmax_loss"):
        lovasz_hinge_loss(x, target)
    with pytest.raises(UsageError, match="classes"):
        lovasz_softmax_loss(x, target, classes="some")
    for function in (lovasz_hinge_loss, lovasz_softmax_loss):
        with pytest.raises(UsageError, match="reduction"):
            function(x[:, :1], target, reduction="average")
