"""Predictions over a data set."""

from __future__ import annotations

import numpy as np

from nnmed.data import DataLoader
from nnmed.training import predict_probabilities
from tests.training.conftest import Net, samples


def test_probabilities_are_in_order_and_add_up_to_one():
    model, data = Net(), samples(10)
    whole = predict_probabilities(model, DataLoader(data, 10))
    pieces = predict_probabilities(model, DataLoader(data, 3))
    assert whole.shape == (10, 2)
    np.testing.assert_allclose(whole.sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(whole, pieces, rtol=1e-5)


def test_mirror_averages_two_views():
    model, data = Net(), samples(4)
    mirrored = samples(4)
    for sample in mirrored:
        sample.image = sample.image[:, :, ::-1].copy()
    views = [predict_probabilities(model, DataLoader(d, 4)) for d in (data, mirrored)]
    both = predict_probabilities(model, DataLoader(data, 4), mirror=True)
    np.testing.assert_allclose(both, (views[0] + views[1]) / 2, rtol=1e-5)


def test_the_mode_of_the_model_is_restored():
    model = Net()
    predict_probabilities(model, DataLoader(samples(4), 4))
    assert model.training
    model.eval()
    predict_probabilities(model, DataLoader(samples(4), 4))
    assert not model.training


def test_no_samples_give_no_probabilities():
    assert len(predict_probabilities(Net(), DataLoader([], 4))) == 0
