"""What holds for every transform."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnmed.data.sample import Sample
from nnmed.errors import DTypeError, ShapeError, UsageError
from nnmed.preprocessing import (
    BrightnessContrast,
    Compose,
    GaussianNoise,
    MedianFilter,
    MinMax,
    PercentileScale,
    RandomAffine,
    RandomFlip,
    RandomGamma,
    RepairDeadPixels,
    Resize,
    Transform,
    Winsorize,
    ZScore,
    from_state,
)
from tests.preprocessing.strategies import same, samples, seeds

EVERY = [
    MedianFilter(),
    Winsorize(5, 95),
    RepairDeadPixels(4.0),
    ZScore(per_image=True),
    MinMax(per_image=True),
    PercentileScale(per_image=True, lower=2, upper=98),
    Resize((7, 12), fill=-1.0),
    Resize(20),
    RandomFlip(0.5, 0.5),
    RandomAffine(30, 0.2, (0.8, 1.3), fill=2.0),
    RandomAffine(180, 0.5, (0.5, 2.0), fill="edge"),
    BrightnessContrast(0.3, 0.3),
    RandomGamma(),
    GaussianNoise(0.2),
]
RANDOM = (RandomFlip, RandomAffine, BrightnessContrast, RandomGamma, GaussianNoise)
every = st.sampled_from(EVERY)


@settings(max_examples=300, deadline=None)
@given(samples(), every, seeds)
def test_contract(sample, transform, rng):
    before = copy.deepcopy(sample)
    result = transform(sample, rng)
    assert same(sample, before), "the input was changed"
    assert result.image.dtype == np.float32
    assert result.image.ndim == 3
    assert len(result.image) == len(sample.image)
    assert np.isfinite(result.image).all()
    assert result.mask.dtype == np.uint8
    assert result.mask.shape == result.image.shape[1:]
    assert set(np.unique(result.mask)) <= set(np.unique(sample.mask)) | {0}
    assert result.boxes.dtype == np.float32
    assert result.boxes.ndim == 2
    assert (result.boxes >= -1e-3).all()
    height, width = result.mask.shape
    assert (result.boxes <= np.array([width, height] * 2) + 1e-3).all()
    assert (result.boxes[:, :2] < result.boxes[:, 2:]).all()
    for name in ("label", "patient", "path"):
        assert getattr(result, name) == getattr(sample, name)
    assert result.history[:-1] == sample.history
    assert result.history[-1][0] == transform.name


@settings(max_examples=200, deadline=None)
@given(samples(), every, seeds)
def test_replay_gives_the_same_bytes_also_through_json(sample, transform, rng):
    result = transform(sample, rng)
    parameters = json.loads(json.dumps(result.history[-1][1]))
    again = from_state(json.loads(json.dumps(transform.state())))
    assert same(again.replay(sample, parameters), result)


@settings(max_examples=50, deadline=None)
@given(samples(), every)
def test_mask_and_boxes_may_be_missing(sample, transform):
    bare = Sample(sample.image)
    result = transform(bare, np.random.default_rng(0))
    assert result.mask is None
    assert result.boxes is None
    assert result.spacing is None


@settings(max_examples=50, deadline=None)
@given(samples(), seeds)
def test_compose_replays_its_part_of_the_history(sample, rng):
    chain = Compose([Resize(16), Compose([RandomFlip(), RandomAffine()]), GaussianNoise()])
    result = chain(sample, rng)
    steps = result.history[len(sample.history) :]
    assert [name for name, _ in steps] == ["Resize", "RandomFlip", "RandomAffine", "GaussianNoise"]
    assert same(chain.replay(sample, steps), result)
    assert same(from_state(json.loads(json.dumps(chain.state()))).replay(sample, steps), result)


@pytest.mark.parametrize("transform", EVERY, ids=lambda t: t.name)
def test_equal_generators_draw_equal_parameters(transform):
    sample = Sample(np.random.default_rng(0).random((2, 30, 20), np.float32))
    one, other = (transform(sample, np.random.default_rng(5)) for _ in range(2))
    assert same(one, other)
    if isinstance(transform, RANDOM):
        draws = {str(transform(sample, np.random.default_rng(i)).history) for i in range(20)}
        assert len(draws) > 1
        with pytest.raises(UsageError, match=r"call it as transform\(sample, rng\)"):
            transform(sample)
    else:
        assert same(transform(sample), one)


def test_replay_with_a_foreign_history():
    sample = Sample(np.zeros((1, 4, 4), np.float32))
    with pytest.raises(UsageError, match=r"steps must be \['RandomFlip'\], the history has \['Re"):
        Compose([RandomFlip()]).replay(sample, [("Resize", {})])


def test_an_image_that_is_none():
    for image, error in (
        (np.zeros((1, 4, 4)), DTypeError),
        (np.zeros((4, 4), np.float32), ShapeError),
    ):
        with pytest.raises(error, match=r"x\.png"):
            RandomFlip()(Sample(image, path="x.png"), np.random.default_rng(0))
    with pytest.raises(ShapeError):
        Resize(4)(Sample(np.zeros((1, 0, 4), np.float32)))


@pytest.mark.parametrize(
    "state",
    [{"name": "Blur"}, {"name": "Resize", "size": [4, 4], "sharp": 1}, {}, None, "Resize"],
)
def test_an_unknown_state(state):
    with pytest.raises(UsageError):
        from_state(state)


def test_a_transform_of_ones_own():
    class Negative(Transform):
        def apply(self, sample):
            return Sample(-sample.image)

    result = Compose([Negative()])(Sample(np.ones((1, 1, 1), np.float32)))
    assert result.image.item() == -1
    assert result.history == (("Negative", {}),)


@pytest.mark.parametrize(
    "make",
    [
        lambda: MedianFilter(2),
        lambda: Winsorize(60, 40),
        lambda: Winsorize(1, 101),
        lambda: Winsorize(-1, 99),
        lambda: PercentileScale(lower=50, upper=20),
        lambda: RepairDeadPixels(-1),
        lambda: Resize(0),
        lambda: Resize((4, 4, 4)),
        lambda: Resize((4, 2.5)),
        lambda: RandomFlip(1.5),
        lambda: RandomAffine(degrees=-1),
        lambda: RandomAffine(degrees=200),
        lambda: RandomAffine(shift=-0.1),
        lambda: RandomAffine(scale=(0, 1)),
        lambda: RandomAffine(scale=(1.2, 1.1)),
        lambda: RandomAffine(scale=(1, 1, 1)),
        lambda: RandomAffine(fill="mirror"),
        lambda: BrightnessContrast(brightness=-1),
        lambda: BrightnessContrast(contrast=2),
        lambda: RandomGamma((0, 1)),
        lambda: GaussianNoise(float("nan")),
        lambda: GaussianNoise(float("inf")),
    ],
)
def test_bad_settings(make):
    with pytest.raises(UsageError):
        make()
