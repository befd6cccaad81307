"""Batches on the card: the values of the loader, in its order, copied in time."""

from __future__ import annotations

import numpy as np
import pytest

from nnmed.data.loader import DataLoader
from nnmed.data.sample import Sample
from nnmed.training.feed import feed


def samples(count):
    rng = np.random.default_rng(0)
    return [
        Sample(rng.standard_normal((2, 5, 4)).astype(np.float32), index % 3)
        for index in range(count)
    ]


@pytest.mark.parametrize("count", [0, 1, 4, 8, 21])
def test_a_gpu_gets_what_the_cpu_gets(count, gpu):
    given = samples(count)
    expected = list(feed(DataLoader(given, 4), "cpu"))
    seen = 0
    for batch, same in zip(feed(DataLoader(given, 4), gpu), expected, strict=True):
        np.testing.assert_array_equal(batch.image.get(), same.image)
        np.testing.assert_array_equal(batch.label.get(), same.label)
        assert batch.image.transpose(0, 2, 3, 1).flags.c_contiguous
        assert batch.samples == same.samples
        seen += 1
    assert seen == -(-count // 4)


def test_memory_on_the_card_stays_the_same(gpu):
    places = [batch.image.data.ptr for batch in feed(DataLoader(samples(24), 4), gpu)]
    assert places[:2] * 3 == places


def test_memory_is_that_of_the_largest_batch(gpu):
    sizes, rng = [2, 9, 5, 2, 3, 5, 8, 4], np.random.default_rng(0)
    images = [rng.standard_normal((2, size, 11 - size)).astype(np.float32) for size in sizes]
    loader = DataLoader([Sample(image, 0) for image in images])
    places = []
    for batch, image in zip(feed(loader, gpu), images, strict=True):
        np.testing.assert_array_equal(batch.image.get()[0], image)
        places.append(batch.image.data.ptr)
    assert places[4:] == [places[2], places[5]] * 2  # where the batches of 5 x 6 are


def test_without_labels(gpu):
    unlabelled = [Sample(s.image, None) for s in samples(3)]
    (batch,) = feed(DataLoader(unlabelled, 4), gpu)
    assert batch.label is None
