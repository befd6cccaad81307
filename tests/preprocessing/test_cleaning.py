from __future__ import annotations

import numpy as np
import pytest

from nnmed.data.sample import Sample
from nnmed.errors import DataError
from nnmed.preprocessing import MedianFilter, RepairDeadPixels, Winsorize


def smooth(channels=1, size=40, noise=0.0):
    """A soft gradient with a little noise."""
    y, x = np.mgrid[:size, :size] / np.float32(size)
    rng = np.random.default_rng(0)
    pixels = np.sin(3 * x) + y**2 + noise * rng.standard_normal((channels, size, size))
    return Sample(pixels.astype(np.float32))


def test_median_is_the_plain_definition():
    sample = smooth(2, 9, 0.3)
    result = MedianFilter(3)(sample).image
    for i, j in ((1, 1), (4, 5), (7, 7)):
        window = sample.image[:, i - 1 : i + 2, j - 1 : j + 2]
        np.testing.assert_array_equal(result[:, i, j], np.median(window, (1, 2)))
    np.testing.assert_array_equal(MedianFilter(1)(sample).image, sample.image)


def test_the_fast_median_is_scipys():
    from scipy.ndimage import median_filter

    rng = np.random.default_rng(0)
    for shape in ((1, 1, 1), (1, 1, 5), (2, 2, 2), (3, 17, 30)):
        image = rng.integers(0, 6, shape).astype(np.float32)
        for size in (3, 5):
            expected = median_filter(image, (1, size, size), mode="mirror")
            np.testing.assert_array_equal(MedianFilter(size)(Sample(image)).image, expected)


def test_winsorize_clips_each_channel_at_its_own_percentiles():
    sample = smooth(2, noise=0.1)
    sample.image[1] *= 1000
    sample.image[0, 3, 3], sample.image[1, 4, 4] = np.inf, np.nan
    result = Winsorize(10, 90)(sample).image
    for before, after in zip(sample.image, result):
        low, high = np.percentile(before[np.isfinite(before)], [10, 90])
        np.testing.assert_allclose([np.nanmin(after), np.nanmax(after)], [low, high], rtol=1e-6)
    assert np.isnan(result[1, 4, 4])
    every = Sample(np.full((1, 2, 2), np.nan, np.float32))
    assert np.isnan(Winsorize()(every).image).all()


@pytest.mark.parametrize("value", [5.0, -5.0, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 0), (0, 17), (39, 39), (20, 11)])
def test_a_dead_pixel_is_repaired_and_nothing_else(value, place):
    sample = smooth(2, noise=0.01)
    broken = Sample(sample.image.copy())
    broken.image[(1, *place)] = value
    result = RepairDeadPixels()(broken).image
    assert abs(result[(1, *place)] - sample.image[(1, *place)]) < 0.1
    changed = np.argwhere(result != sample.image)
    assert changed.tolist() == [[1, *place]]


def test_many_dead_pixels():
    sample = smooth(1, 64, 0.01)
    broken = Sample(sample.image.copy())
    rng = np.random.default_rng(1)
    places = rng.choice(64 * 64, 60, replace=False)
    broken.image.reshape(-1)[places] = rng.choice([9, -9, np.nan], 60)
    result = RepairDeadPixels()(broken).image
    assert np.isfinite(result).all()
    assert np.mean(np.abs(result - sample.image) > 0.2) < 0.001


def test_a_block_of_nan_takes_what_lies_around_it():
    sample = smooth()
    sample.image[0, 10:16, 10:16] = np.nan
    result = RepairDeadPixels()(sample).image
    assert np.isfinite(result).all()
    assert np.abs(result[0, 10:16, 10:16] - smooth().image[0, 10:16, 10:16]).max() < 0.5


def test_structures_stay():
    image = np.zeros((1, 32, 32), np.float32)
    image[0, 5:9, 5:9] = 1  # a square and its corners
    image[0, 20, 4:30] = 1  # a line of one pixel
    image[0, 25, 10] = image[0, 26, 11] = 1  # a calcification of two pixels
    np.testing.assert_array_equal(RepairDeadPixels()(Sample(image)).image, image)


def test_noise_is_no_dead_pixel():
    image = np.random.default_rng(0).standard_normal((1, 200, 200), np.float32)
    assert np.mean(RepairDeadPixels()(Sample(image)).image != image) < 1e-4


def test_nothing_alive():
    image = np.ones((2, 3, 3), np.float32)
    image[1] = np.nan
    with pytest.raises(DataError, match=r"x\.dcm: no pixel of channel 1 is finite"):
        RepairDeadPixels()(Sample(image, path="x.dcm"))
    np.testing.assert_array_equal(RepairDeadPixels()(Sample(image[:1, :1, :1])).image, 1)
