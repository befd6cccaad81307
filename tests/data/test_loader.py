from __future__ import annotations

import threading
import time
import traceback

import numpy as np
import pytest

from nnmed.backend import random
from nnmed.backend.arrays import is_channels_last
from nnmed.data.loader import PREFETCH, DataLoader, collate
from nnmed.data.sample import Sample
from nnmed.errors import DataError, NnmedError, UsageError


def make(count=10, shape=(3, 4, 5), labels=(0, 1)):
    return [
        Sample(
            np.full(shape, index, np.float32),
            label=labels[index % len(labels)],
            path=f"{index}.png",
        )
        for index in range(count)
    ]


class Records:
    """A data set that is read lazily and knows its paths."""

    def __init__(self, samples, read=lambda index: None):
        self._samples, self._read = samples, read
        self.paths = [sample.path for sample in samples]

    def __len__(self):
        return len(self._samples)

    def __getitem__(self, index):
        self._read(index)
        return self._samples[index]


def jitter(sample, rng):
    return Sample(sample.image + rng.random(sample.image.shape, np.float32), sample.label)


def loader_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("nnmed-loader")]


def test_batches_are_channels_last_and_in_order():
    batches = list(DataLoader(make(10), batch_size=4))
    assert [len(batch.samples) for batch in batches] == [4, 4, 2]
    assert all(is_channels_last(batch.image) for batch in batches)
    assert batches[0].image.dtype == np.float32
    assert batches[0].label.dtype == np.int64
    np.testing.assert_array_equal(batches[1].image[:, 0, 0, 0], [4, 5, 6, 7])
    np.testing.assert_array_equal(batches[1].label, [0, 1, 0, 1])


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("count", [0, 1, 7, 8, 9])
def test_length(count, drop_last):
    loader = DataLoader(make(count), batch_size=4, drop_last=drop_last)
    assert len(list(loader)) == len(loader) == (count // 4 if drop_last else -(-count // 4))


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_content_does_not_depend_on_workers(workers):
    samples = make(23)
    options = {
        "batch_size": 4,
        "shuffle": True,
        "seed": 3,
        "transform": jitter,
        "class_weights": "balanced",
    }
    alone = list(DataLoader(samples, **options))
    shared = list(DataLoader(samples, workers=workers, **options))
    assert len(alone) == len(shared)
    for one, other in zip(alone, shared):
        assert one.image.tobytes() == other.image.tobytes()
        assert one.label.tobytes() == other.label.tobytes()


def test_epoch_and_seed_decide_the_order():
    loader = DataLoader(make(50), shuffle=True)
    first = loader.order().tolist()
    assert sorted(first) == list(range(50))
    assert loader.order().tolist() == first
    loader.set_epoch(1)
    assert loader.order().tolist() != first
    loader.set_epoch(0)
    assert loader.order().tolist() == first
    assert DataLoader(make(50), shuffle=True, seed=1).order().tolist() != first
    random.seed(1)
    assert loader.order().tolist() != first


def test_augmentation_differs_between_epochs_and_repeats():
    loader = DataLoader(make(4), batch_size=4, transform=jitter)
    first = next(iter(loader)).image.copy()
    loader.set_epoch(1)
    assert (next(iter(loader)).image != first).any()
    loader.set_epoch(0)
    assert (next(iter(loader)).image == first).all()


def test_balanced_sampling_gives_each_class_its_share_and_forgets_no_one():
    labels = np.array([0] * 90 + [1] * 9 + [2] * 3)
    samples = [Sample(np.zeros((1, 1, 1), np.float32), label=int(label)) for label in labels]
    order = DataLoader(samples, shuffle=True, class_weights="balanced").order()
    assert np.bincount(labels[order]).tolist() == [34, 34, 34]
    times = np.bincount(order, minlength=len(labels))
    for label in (1, 2):
        assert np.ptp(times[labels == label]) <= 1
        assert times[labels == label].min() > 0
    assert times[labels == 0].max() == 1
    weighted = DataLoader(samples, shuffle=True, class_weights=[1, 10, 0]).order()
    assert np.bincount(labels[weighted], minlength=3).tolist() == [51, 51, 0]


def test_a_missing_class_is_no_obstacle_to_balance():
    samples = make(6, labels=(0, 2))
    order = DataLoader(samples, shuffle=True, class_weights="balanced").order()
    assert sorted({samples[index].label for index in order}) == [0, 2]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_names_the_file_and_keeps_its_cause(workers):
    def read(index):
        if index == 5:
            broken_decoder()

    def broken_decoder():
        raise RuntimeError("bits ran out")

    loader = DataLoader(Records(make(10), read), batch_size=2, workers=workers)
    with pytest.raises(
        DataError, match=r"5\.png: RuntimeError while loading it: bits ran out"
    ) as caught:
        list(loader)
    cause = caught.value.__cause__
    assert isinstance(cause, RuntimeError)
    assert "broken_decoder" in "".join(traceback.format_exception(cause))
    assert not loader_threads()


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_of_nnmed_keeps_its_class_and_gains_the_path(workers):
    def transform(sample, rng):
        raise UsageError("not fitted")

    nameless = [Sample(sample.image) for sample in make(3)]
    for samples, name in ((make(3), r"0\.png"), (nameless, "sample 0")):
        with pytest.raises(UsageError, match=f"^{name}: not fitted$"):
            list(DataLoader(samples, workers=workers, transform=transform))

    def read(index):
        raise DataError(f"{index}.png: truncated")

    with pytest.raises(DataError, match=r"^0\.png: truncated$"):
        list(DataLoader(Records(make(3), read), workers=workers))


def test_leaving_early_stops_the_workers_soon():
    started = []

    def read(index):
        started.append(index)
        time.sleep(0.005)

    loader = DataLoader(Records(make(400), read), batch_size=10, workers=3)
    for _ in loader:
        break
    assert not loader_threads()
    assert len(started) <= 10 * PREFETCH * 3 + 3
    batches = iter(loader)
    next(batches)
    with pytest.raises(KeyboardInterrupt):
        batches.throw(KeyboardInterrupt())
    assert not loader_threads()
    batches = iter(loader)
    next(batches)
    batches.close()
    assert not loader_threads()


def test_prefetch_is_bounded():
    started = []
    loader = DataLoader(Records(make(200), started.append), batch_size=2, workers=2)
    batches = iter(loader)
    next(batches)
    time.sleep(0.1)
    assert len(started) <= 2 * PREFETCH * 2
    batches.close()


def test_different_shapes_name_both_files():
    samples = [
        *make(1, (1, 4, 4)),
        Sample(np.zeros((3, 4, 4), np.float32), label=0, path="rgb.png"),
    ]
    with pytest.raises(DataError, match=r"0\.png \(1, 4, 4\), rgb\.png \(3, 4, 4\)"):
        list(DataLoader(samples, batch_size=2))


def test_labels_of_all_samples_or_of_none():
    samples = make(2)
    samples[1].label = None
    with pytest.raises(DataError, match=r"1\.png has no label, 0\.png has one"):
        collate(samples)
    with pytest.raises(DataError, match=r"1\.png has no label"):
        DataLoader(Records(samples), shuffle=True, class_weights="balanced")
    samples[1].path = ""
    with pytest.raises(DataError, match=r"^sample 1 has no label"):
        DataLoader(samples, shuffle=True, class_weights="balanced")
    samples[0].label = None
    assert collate(samples).label is None


def test_image_must_be_float32():
    with pytest.raises(DataError, match="float64"):
        collate([Sample(np.zeros((1, 2, 2)))])


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0},
        {"workers": -1},
        {"class_weights": "balanced"},
        {"shuffle": True, "class_weights": "even"},
        {"shuffle": True, "class_weights": [1.0]},
        {"shuffle": True, "class_weights": [0.0, 0.0]},
        {"shuffle": True, "class_weights": [-1.0, 1.0]},
        {"shuffle": True, "class_weights": [np.nan, 1.0]},
    ],
)
def test_bad_arguments(options):
    with pytest.raises(UsageError):
        DataLoader(make(4), **options)
    assert issubclass(UsageError, NnmedError)
