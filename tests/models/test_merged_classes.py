"""Classes that are put together again."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed import functional as F
from nnmed import models
from nnmed.errors import ShapeError, UsageError
from nnmed.explain import grad_cam


class Fixed:
    """A network whose features are its scores."""

    def features(self, x):
        return x

    def classify(self, features):
        return features


@pytest.mark.parametrize("scale", [1, 1000])
def test_probabilities_are_added_up(scale):
    rng = np.random.default_rng(0)
    scores = nnmed.Tensor(scale * rng.standard_normal((6, 5)))
    merged = models.MergedClasses(Fixed(), [0, 1, 1, 0, 2])
    apart = F.softmax(scores, 1).numpy()
    expected = np.stack([apart[:, [0, 3]].sum(1), apart[:, [1, 2]].sum(1), apart[:, 4]], axis=1)
    np.testing.assert_allclose(F.softmax(merged(scores), 1).numpy(), expected, atol=1e-15)


def test_one_class_each_changes_nothing():
    network = models.build("cnn", 1, 3, widths=(4, 4)).eval()
    x = nnmed.Tensor(np.random.default_rng(0).standard_normal((2, 1, 16, 16), np.float32))
    merged = models.MergedClasses(network, [0, 1, 2])
    np.testing.assert_array_equal(merged(x).numpy(), network(x).numpy())


def test_groups_are_as_many_as_classes():
    with pytest.raises(ShapeError, match="5 classes, groups 3"):
        models.MergedClasses(Fixed(), [0, 1, 0])(nnmed.Tensor(np.zeros((1, 5))))


@pytest.mark.parametrize("groups", [[], [0, 2], [1, 1]])
def test_gaps_are_refused(groups):
    with pytest.raises(UsageError, match="without gaps"):
        models.MergedClasses(Fixed(), groups)


def test_the_gradient():
    scores = nnmed.Tensor(np.random.default_rng(0).standard_normal((3, 4)), requires_grad=True)
    merged = models.MergedClasses(Fixed(), [0, 1, 0, 1])
    assert nnmed.gradcheck(merged, [scores])


def test_grad_cam_of_a_merged_class():
    network = models.build("cnn", 1, 3, widths=(4, 4)).eval()
    images = np.random.default_rng(0).standard_normal((2, 1, 16, 16), np.float32)
    maps = grad_cam(models.MergedClasses(network, [0, 0, 1]), images, target=1)
    np.testing.assert_array_equal(maps, grad_cam(network, images, target=2))
