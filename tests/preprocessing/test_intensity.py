from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnmed.data.sample import Sample
from nnmed.preprocessing import BrightnessContrast, GaussianNoise, RandomGamma
from tests.preprocessing.strategies import samples


def image(scale=1.0, offset=0.0, shape=(2, 50, 60)):
    pixels = np.random.default_rng(0).random(shape, np.float32)
    return Sample(pixels * np.float32(scale) + np.float32(offset))


def test_brightness_and_contrast_are_the_formula():
    sample = image()
    x = sample.image.astype(np.float64)
    result = BrightnessContrast().replay(sample, {"brightness": 0.5, "contrast": 1.4})
    expected = x.mean() + 1.4 * (x - x.mean()) + 0.5 * x.std()
    np.testing.assert_allclose(result.image, expected, atol=1e-5)


def test_gamma_is_the_formula_and_keeps_the_extremes():
    sample = image(100, -20)
    x = sample.image.astype(np.float64)
    low, high = x.min(), x.max()
    result = RandomGamma().replay(sample, {"gamma": 0.6})
    expected = low + (high - low) * ((x - low) / (high - low)) ** 0.6
    np.testing.assert_allclose(result.image, expected, atol=1e-3)


def test_noise_has_the_strength_that_the_history_says():
    sample = image(1000, shape=(1, 200, 200))
    result = GaussianNoise(0.5)(sample, np.random.default_rng(1))
    noise = result.image - sample.image
    name, drawn = result.history[-1]
    assert name == "GaussianNoise"
    assert noise.std() / sample.image.std() == pytest.approx(drawn["std"], rel=0.02)
    assert abs(noise.mean()) < 0.02 * noise.std()
    other = GaussianNoise(0.5)(sample, np.random.default_rng(2)).image - sample.image
    assert abs(np.corrcoef(noise.ravel(), other.ravel())[0, 1]) < 0.03


@settings(max_examples=50, deadline=None)
@given(st.floats(0.1, 1000), st.floats(-500, 500))
def test_strength_does_not_depend_on_the_units(scale, offset):
    plain, other = image(), image(scale, offset)
    steps = (
        (BrightnessContrast(), {"brightness": 0.3, "contrast": 0.7}),
        (RandomGamma(), {"gamma": 1.3}),
        (GaussianNoise(), {"std": 0.2, "seed": 5}),
    )
    for transform, drawn in steps:
        expected = transform.replay(plain, drawn).image * scale + offset
        error = np.abs(transform.replay(other, drawn).image - expected).max()
        assert error < 1e-3 * scale + 1e-5 * abs(offset)


@settings(max_examples=30, deadline=None)
@given(samples())
def test_draws_stay_in_their_ranges(sample):
    rng = np.random.default_rng(0)
    for _ in range(20):
        drawn = BrightnessContrast(0.1, 0.3).draw(sample, rng)
        assert abs(drawn["brightness"]) <= 0.1
        assert 0.7 <= drawn["contrast"] <= 1.3
        assert 0.5 <= RandomGamma((0.5, 2.0)).draw(sample, rng)["gamma"] <= 2
        assert 0 <= GaussianNoise(0.1).draw(sample, rng)["std"] <= 0.1


def test_a_flat_image_stays_flat():
    flat = Sample(np.full((1, 1, 1), 3, np.float32))
    rng = np.random.default_rng(0)
    for transform in (BrightnessContrast(), RandomGamma(), GaussianNoise()):
        np.testing.assert_allclose(transform(flat, rng).image, 3)
