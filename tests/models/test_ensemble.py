"""Several networks as one."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed import functional as F
from nnmed import models
from nnmed.errors import UsageError
from nnmed.nn.utils import fold_batch_norms


def build():
    nnmed.seed(0)
    return models.build("resnet", 1, 3, networks=2, blocks=(1, 1), width=4)


def batch():
    return nnmed.Tensor(np.random.default_rng(0).standard_normal((5, 1, 16, 16), np.float32))


def test_members_begin_differently_and_one_is_no_ensemble():
    ensemble, x = build().eval(), batch()
    first, second = (member(x).numpy() for member in ensemble.members)
    assert np.abs(first - second).max() > 0.01
    assert isinstance(models.build("resnet", 1, 3, networks=1), models.ResNet)


def test_the_score_is_the_mean_of_the_members():
    ensemble, x = build().eval(), batch()
    mean = np.mean([member(x).numpy() for member in ensemble.members], axis=0)
    np.testing.assert_allclose(ensemble(x).numpy(), mean, atol=1e-6)
    folded = fold_batch_norms(ensemble, x[:1])
    np.testing.assert_allclose(folded(x).numpy(), mean, atol=1e-5)


def test_each_member_learns_as_it_would_alone():
    ensemble, x = build().train(), batch()
    labels = np.array([0, 1, 2, 0, 1])
    scores = ensemble(x)
    assert scores.shape == (2, 5, 3)
    F.cross_entropy(scores.reshape(10, 3), nnmed.Tensor(np.tile(labels, 2))).backward()
    for member, alone in zip(ensemble.members, build().members):
        F.cross_entropy(alone.train()(x), nnmed.Tensor(labels)).backward()
        for (name, p), q in zip(member.named_parameters(), alone.parameters()):
            gradients = 2 * p.grad.numpy(), q.grad.numpy()
            np.testing.assert_allclose(*gradients, rtol=1e-4, atol=1e-6, err_msg=name)


def test_members_are_of_one_architecture():
    with pytest.raises(UsageError, match="one architecture"):
        models.Ensemble([models.SmallCNN(1, 2, (4, 4)), models.SmallCNN(1, 2, (4, 8))])
    with pytest.raises(UsageError, match="at least one"):
        models.Ensemble([])


def test_merged_classes_of_members_in_training():
    ensemble, x = build(), batch()
    merged = models.MergedClasses(ensemble, [0, 1, 0]).train()
    each = [models.MergedClasses(m, [0, 1, 0]).train()(x).numpy() for m in ensemble.members]
    np.testing.assert_allclose(merged(x).numpy(), each, rtol=1e-5)
