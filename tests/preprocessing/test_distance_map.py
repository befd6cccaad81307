"""signed_distance_map: against all pairs of pixels, spacing, masks without a boundary."""

from __future__ import annotations

import numpy as np
import pytest

from nnmed.errors import DataError, UsageError
from nnmed.preprocessing.distance_map import signed_distance_map


def by_pairs(mask, spacing):
    places = np.stack(np.meshgrid(*map(np.arange, mask.shape), indexing="ij"), -1) * spacing
    flat, inside = places.reshape(-1, mask.ndim), mask.reshape(-1)
    distances = np.sqrt(((flat[:, None] - flat[None]) ** 2).sum(-1))
    to_inside, to_outside = distances[:, inside].min(1), distances[:, ~inside].min(1)
    return np.where(inside, -to_outside, to_inside).reshape(mask.shape)


@pytest.mark.parametrize(
    ("shape", "spacing"), [((7, 5), 1.0), ((7, 5), (0.5, 2.0)), ((4, 5, 3), (3.0, 1.0, 0.7))]
)
def test_equals_the_nearest_of_all_pixels(shape, spacing):
    mask = np.random.default_rng(0).uniform(size=shape) > 0.7
    result = signed_distance_map(mask, spacing)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, by_pairs(mask, np.asarray(spacing)), rtol=1e-6)
    np.testing.assert_array_equal(signed_distance_map(mask * np.uint8(255), spacing), result)


@pytest.mark.parametrize("value", [0, 1])
def test_a_mask_without_a_boundary_gives_zeros(value):
    result = signed_distance_map(np.full((3, 4), value))
    np.testing.assert_array_equal(result, np.zeros((3, 4)))


def test_bad_arguments():
    mask = np.eye(3)
    for spacing in (0, -1.0, (1.0, 2.0, 3.0), np.nan):
        with pytest.raises(UsageError, match="spacing"):
            signed_distance_map(mask, spacing)
    for bad in (1, np.full((2, 2), np.nan)):
        with pytest.raises(DataError, match="mask"):
            signed_distance_map(bad)
