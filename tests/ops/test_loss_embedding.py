"""Distances, rankings and embeddings: every op test, equal vectors, bad arguments."""

from __future__ import annotations

import math

import numpy as np
import pytest

import nnmed
from nnmed.errors import DTypeError, ShapeError, UsageError
from nnmed.ops.distance import cosine_similarity, pairwise_distance
from nnmed.ops.embedding_loss import (
    cosine_embedding_loss,
    hinge_embedding_loss,
    margin_ranking_loss,
    triplet_margin_loss,
    triplet_margin_with_distance_loss,
)
from tests.op_case import OpCase, op_tests

REDUCTIONS = ("mean", "sum", "none")
POINTS = dict(anchor=(5, 4), positive=(5, 4), negative=(5, 4))


def signs(*shape):
    return lambda rng: rng.choice([-1, 1], shape)


def other_labels(rng):
    return np.array([0, 1, -1, 2])


def manhattan(a, b):
    return abs(a - b).sum(-1)


RANKED = dict(input1=(3, 4), input2=(3, 4), target=signs(3, 4))
ANGLES = dict(input1=(6, 4), input2=(6, 4), target=signs(6))
CASES = [
    *[
        OpCase(pairwise_distance, dict(x1=(3, 4), x2=(3, 4)), dict(p=p))
        for p in (1.0, 2.0, 3.5, 0.5, math.inf)
    ],
    OpCase(pairwise_distance, dict(x1=(3, 4), x2=(4,)), dict(keepdim=True)),
    OpCase(pairwise_distance, dict(x1=(4,), x2=(4,)), dict(eps=0.1)),
    OpCase(cosine_similarity, dict(x1=(3, 4), x2=(3, 4))),
    OpCase(cosine_similarity, dict(x1=(1, 2, 3), x2=(2, 1, 3)), dict(dim=-2)),
    OpCase(cosine_similarity, dict(x1=(4,), x2=(4,)), dict(dim=0)),
    *[OpCase(margin_ranking_loss, RANKED, dict(reduction=r, margin=0.2)) for r in REDUCTIONS],
    *[
        OpCase(hinge_embedding_loss, dict(input=(3, 4), target=signs(3, 4)), dict(reduction=r))
        for r in REDUCTIONS
    ],
    OpCase(hinge_embedding_loss, dict(input=(4,), target=other_labels), dict(margin=0.3)),
    *[OpCase(cosine_embedding_loss, ANGLES, dict(reduction=r, margin=0.1)) for r in REDUCTIONS],
    OpCase(cosine_embedding_loss, dict(input1=(4,), input2=(4,), target=signs())),
    *[OpCase(triplet_margin_loss, POINTS, dict(reduction=r)) for r in REDUCTIONS],
    OpCase(triplet_margin_loss, POINTS, dict(swap=True, margin=2.0, p=1.0)),
    OpCase(triplet_margin_loss, dict(anchor=(4,), positive=(4,), negative=(4,)), dict(p=3.0)),
    *[OpCase(triplet_margin_with_distance_loss, POINTS, dict(reduction=r)) for r in REDUCTIONS],
    OpCase(
        triplet_margin_with_distance_loss,
        POINTS,
        dict(distance_function=manhattan, swap=True, margin=3.0),
    ),
]  # fmt: skip
TestEmbedding = op_tests(CASES)


@pytest.mark.parametrize("p", [0.5, 1.0, 2.0, 3.0, math.inf])
def test_equal_vectors_have_distance_and_gradient_zero(p):
    x = nnmed.Tensor([[1.0, 2.0]], requires_grad=True)
    value = pairwise_distance(x, nnmed.Tensor([[1.0, 2.0]]), p=p, eps=0.0)
    assert value.item() == 0
    value.backward(nnmed.Tensor([1.0]))
    np.testing.assert_array_equal(x.grad.numpy(), [[0, 0]])


def test_the_cosine_with_zero_is_zero():
    x = nnmed.Tensor([[0.0, 0.0]], requires_grad=True)
    value = cosine_similarity(x, nnmed.Tensor([[3.0, 4.0]]))
    assert value.item() == 0
    value.backward(nnmed.Tensor([1.0]))
    np.testing.assert_allclose(x.grad.numpy(), [[0.6e8, 0.8e8]], rtol=1e-6)


@pytest.mark.oracle
def test_a_pair_on_the_margin_keeps_its_gradient_as_in_pytorch(torch):
    x = nnmed.Tensor([2.0, 1.0], requires_grad=True)
    margin_ranking_loss(x, nnmed.Tensor([1.0, 1.0]), nnmed.Tensor([1, 1]), 1.0).backward()
    y = torch.tensor([2.0, 1.0], requires_grad=True)
    one = torch.ones(2)
    torch.nn.functional.margin_ranking_loss(y, one, one, 1.0).backward()
    np.testing.assert_array_equal(x.grad.numpy(), y.grad.numpy())
    assert x.grad.numpy()[0] == -0.5


def test_bad_arguments():
    a, b = nnmed.Tensor(np.ones((3, 4), np.float32)), nnmed.Tensor(np.ones(3, np.float32))
    with pytest.raises(UsageError, match="p must be positive"):
        pairwise_distance(a, a, p=0)
    with pytest.raises(UsageError, match="p must be a number"):
        pairwise_distance(a, a, p="2")
    with pytest.raises(UsageError, match="eps must be at least 0"):
        cosine_similarity(a, a, eps=-1.0)
    with pytest.raises(UsageError, match="margin must be a number"):
        hinge_embedding_loss(a, a, margin=[1.0])
    with pytest.raises(ShapeError, match="vectors"):
        pairwise_distance(nnmed.Tensor(1.0), nnmed.Tensor(2.0))
    with pytest.raises(ShapeError, match="broadcast"):
        cosine_similarity(a, b)
    with pytest.raises(DTypeError, match="floats"):
        cosine_similarity(nnmed.Tensor([1, 2]), nnmed.Tensor([1, 2]), dim=0)
    with pytest.raises(ShapeError, match="one shape"):
        margin_ranking_loss(a, b, a)
    with pytest.raises(ShapeError, match="one shape"):
        hinge_embedding_loss(a, b)
    with pytest.raises(ShapeError, match="target"):
        cosine_embedding_loss(a, a, a)
    with pytest.raises(UsageError, match="margin"):
        triplet_margin_loss(a, a, a, margin=0)
    with pytest.raises(ShapeError, match="number of dimensions"):
        triplet_margin_loss(a, a, b)
    for loss in (
        lambda r: margin_ranking_loss(a, a, a, reduction=r),
        lambda r: hinge_embedding_loss(a, a, reduction=r),
        lambda r: cosine_embedding_loss(a, a, b, reduction=r),
        lambda r: triplet_margin_loss(a, a, a, reduction=r),
        lambda r: triplet_margin_with_distance_loss(a, a, a, reduction=r),
    ):
        with pytest.raises(UsageError, match="reduction"):
            loss("average")
