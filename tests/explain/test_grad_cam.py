"""Grad-CAM finds what a network looks at."""

from __future__ import annotations

import numpy as np

import nnmed
from nnmed import nn
from nnmed.explain import grad_cam


class BrightSpots(nn.Module):
    """Class 1 scores by the mean of the image, class 0 by its negative."""

    def features(self, x):
        return nnmed.concatenate([x, x * 0.0 + 1.0], 1)

    def classify(self, features):
        score = features[:, 0].mean((1, 2))
        return nnmed.stack([-score, score], 1)


def image():
    x = np.zeros((2, 1, 8, 8), np.float32)
    x[0, 0, 2, 5] = 3
    return x


def test_heat_lies_where_the_score_comes_from():
    heat = grad_cam(BrightSpots(), image(), target=1)
    assert heat.shape == (2, 8, 8)
    assert np.unravel_index(heat[0].argmax(), (8, 8)) == (2, 5)
    assert heat[0].max() == 1
    assert heat[1].max() == 0  # an empty image speaks for nothing


def test_what_speaks_against_the_class_is_not_heat():
    assert grad_cam(BrightSpots(), image(), target=0).max() == 0


def test_gradients_of_parameters_are_left_alone():
    from nnmed.models import SmallCNN

    model = SmallCNN(1, 2, (4,)).eval()
    with nnmed.no_grad():
        grad_cam(model, image(), target=1)
    assert all(p.grad is None for p in model.parameters())
