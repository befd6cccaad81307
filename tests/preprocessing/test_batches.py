"""Whole batches augmented on either device: the images of the transforms one by one."""

from __future__ import annotations

import numpy as np
import pytest

from nnmed.backend.arrays import is_channels_last, to_device
from nnmed.data.loader import DataLoader
from nnmed.data.sample import Sample
from nnmed.errors import UsageError
from nnmed.preprocessing import (
    BrightnessContrast,
    Compose,
    GaussianNoise,
    OnDevice,
    RandomAffine,
    RandomFlip,
    RandomGamma,
    Resize,
)
from nnmed.training.feed import feed

EVERY = [
    RandomFlip(0.5, 0.5),
    RandomAffine(30, 0.2, (0.8, 1.3), fill=2.0),
    RandomAffine(180, 0.5, (0.5, 2.0), fill="edge"),
    BrightnessContrast(0.3, 0.3),
    RandomGamma((0.5, 2)),
    GaussianNoise(0.5),
]
ALL = Compose([EVERY[0], EVERY[2], Compose(EVERY[3:5]), EVERY[5]])
DEVICES = pytest.mark.parametrize("device", ["cpu", "gpu"])


def samples(count=7, channels=2):
    rng = np.random.default_rng(0)
    images = rng.standard_normal((count, channels, 9, 12)).astype(np.float32)
    spacings = [None, (1.0, 1.0), (0.5, 2.0)]
    return [Sample(image, i % 2, spacing=spacings[i % 3]) for i, image in enumerate(images)]


@DEVICES
@pytest.mark.parametrize("transform", [*EVERY, ALL], ids=lambda t: type(t).__name__)
@pytest.mark.parametrize("channels", [1, 2])
def test_a_batch_holds_the_images_of_single_samples(transform, channels, device, gpu):
    given = samples(channels=channels)
    single, together = (
        DataLoader(given, 4, shuffle=True, seed=5, transform=t)
        for t in (transform, OnDevice(transform))
    )
    for epoch in range(2):
        single.set_epoch(epoch)
        together.set_epoch(epoch)
        for expected, batch in zip(single, feed(together, device), strict=True):
            images = to_device(batch.image, "cpu")
            assert images.dtype == np.float32
            assert is_channels_last(batch.image)
            np.testing.assert_allclose(images, expected.image, rtol=1e-4, atol=2e-5)
            np.testing.assert_array_equal(to_device(batch.label, "cpu"), expected.label)
            for ours, theirs in zip(batch.samples, expected.samples):
                assert ours.history == theirs.history


@DEVICES
def test_constant_images_and_no_noise(device, gpu):
    flat = to_device(np.full((2, 1, 3, 4), 2.5, np.float32), device)
    for transform, drawn in (
        (RandomGamma(), {"gamma": 1.7}),
        (BrightnessContrast(), {"brightness": 0.3, "contrast": 0.5}),
        (GaussianNoise(), {"std": 0.1, "seed": 3}),
    ):
        result = to_device(transform.apply_batch(flat, [None] * 2, [drawn] * 2), "cpu")
        np.testing.assert_array_equal(result, 2.5)


def test_the_samples_and_the_given_images_stay_as_they_are(gpu):
    given = samples()
    before = [sample.image.copy() for sample in given]
    (batch,) = feed(DataLoader(given, 7, transform=OnDevice(ALL)), gpu)
    for sample, ours, image in zip(given, batch.samples, before):
        np.testing.assert_array_equal(sample.image, image)
        assert ours.image is sample.image
        assert sample.history == ()


def test_what_would_not_follow_the_image_is_refused():
    augment, rng = OnDevice(RandomFlip()), np.random.default_rng(0)
    image = np.zeros((1, 4, 4), np.float32)
    for more in ({"mask": np.zeros((4, 4), np.uint8)}, {"boxes": np.zeros((0, 4), np.float32)}):
        with pytest.raises(UsageError, match="mask or boxes"):
            augment(Sample(image, **more), rng)


def test_a_transform_of_single_samples_is_refused():
    with pytest.raises(UsageError, match=r"Resize does not work on whole batches"):
        OnDevice(Compose([RandomFlip(), Resize(8)]))
    with pytest.raises(TypeError, match="no apply_batch"):
        Resize(8).apply_batch(None, [], [])
