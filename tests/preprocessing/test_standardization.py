from __future__ import annotations

import json

import numpy as np
import pytest

from nnmed.data.sample import Sample
from nnmed.errors import DataError, UsageError
from nnmed.preprocessing import MinMax, PercentileScale, ZScore, from_state

KINDS = [ZScore, MinMax, PercentileScale]


def cohort(count=7, channels=2, seed=0):
    rng = np.random.default_rng(seed)
    factors = np.array([1, 50, 2000])[:channels, None, None]
    shapes = [(channels, *rng.integers(10, 30, 2)) for _ in range(count)]
    return [Sample((rng.gamma(2, 3, s) * factors + 900).astype(np.float32)) for s in shapes]


def pooled(samples):
    return np.concatenate([s.image.reshape(len(s.image), -1) for s in samples], 1).astype(float)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_fitted_values_are_those_of_all_pixels(channels):
    samples = cohort(channels=channels)
    pixels = pooled(samples)
    z = ZScore().fit(samples)
    np.testing.assert_allclose(z.offset, pixels.mean(1), rtol=1e-12)
    np.testing.assert_allclose(z.scale, pixels.std(1), rtol=1e-10)
    m = MinMax().fit(samples)
    np.testing.assert_allclose(m.offset, pixels.min(1))
    np.testing.assert_allclose(m.scale, np.ptp(pixels, axis=1))
    p = PercentileScale(lower=5, upper=95).fit(samples)
    low, high = np.percentile(pixels, [5, 95], axis=1)
    np.testing.assert_allclose(p.offset, low, rtol=1e-5)
    np.testing.assert_allclose(p.scale, high - low, rtol=1e-4)


def test_percentiles_of_large_images_come_from_evenly_spread_pixels():
    ramp = Sample(np.linspace(0, 1, 512 * 512, dtype=np.float32).reshape(1, 512, 512))
    fitted = PercentileScale(lower=10, upper=90).fit([ramp])
    np.testing.assert_allclose([fitted.offset[0], fitted.scale[0]], [0.1, 0.8], atol=1e-3)


def test_what_comes_out():
    samples = cohort()
    z = ZScore().fit(samples)
    standard = pooled([z(sample) for sample in samples])
    np.testing.assert_allclose(standard.mean(1), 0, atol=1e-4)
    np.testing.assert_allclose(standard.std(1), 1, rtol=1e-4)
    m = MinMax().fit(samples)
    unit = pooled([m(sample) for sample in samples])
    np.testing.assert_allclose([unit.min(1), unit.max(1)], [[0, 0], [1, 1]], atol=1e-5)
    outside = m(Sample(samples[0].image + np.float32(5e4)))
    assert outside.image.max() > 1
    clipped = PercentileScale(lower=5, upper=95).fit(samples)(samples[0]).image
    assert clipped.min() == 0
    assert clipped.max() == 1


@pytest.mark.parametrize("kind", KINDS)
def test_per_image_uses_nothing_but_the_image(kind):
    first, second = cohort(2)
    alone = kind(per_image=True)
    np.testing.assert_array_equal(alone(first).image, kind().fit([first])(first).image)
    assert alone(first).history != alone(second).history
    with pytest.raises(UsageError, match="is not fitted"):
        alone.fit([first])


@pytest.mark.parametrize("kind", KINDS)
def test_state_survives_json(kind):
    fitted = kind().fit(cohort())
    state = json.loads(json.dumps(fitted.state()))
    sample = cohort(1, seed=5)[0]
    for again in (from_state(state), kind.from_state(state)):
        assert again == fitted
        assert again(sample).image.tobytes() == fitted(sample).image.tobytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [0.0, 0.1, -1234.567, 1e6])
def test_a_constant_image_becomes_zero(kind, value):
    flat = Sample(np.full((1, 7, 3), value, np.float32))
    for transform in (kind(per_image=True), kind().fit([flat, flat, flat])):
        np.testing.assert_allclose(transform(flat).image, 0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_errors(kind):
    one, other = cohort(1, 1)[0], cohort(1, 2)[0]
    other.path = "rgb.png"
    with pytest.raises(UsageError, match=r"not fitted: call fit\(training samples\) first"):
        kind()(one)
    with pytest.raises(DataError, match="no samples"):
        kind().fit([])
    with pytest.raises(DataError, match=r"rgb\.png: the image has 2 channels, those before 1"):
        kind().fit([one, other])
    with pytest.raises(DataError, match=r"rgb\.png: the image has 2 channels, the training images"):
        kind().fit([one])(other)
    one.image[0, 0, 0] = np.nan
    with pytest.raises(DataError, match="RepairDeadPixels"):
        kind().fit([one])


def test_fit_reads_samples_one_at_a_time():
    fitted = ZScore().fit(sample for sample in cohort())
    assert fitted == ZScore().fit(cohort())
