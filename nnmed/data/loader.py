"""Batches from samples: shuffled, balanced, augmented and prefetched by worker threads.

Which samples a batch holds, and what the transform draws for them, is a function of
(seed, epoch, position) alone. Workers only decide when the work is done, so order and
content do not depend on their number.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from nnmed.backend.arrays import empty_channels_last
from nnmed.backend.random import generator
from nnmed.data.sample import Sample
from nnmed.errors import DataError, NnmedError, UsageError

PREFETCH = 2
"""Batches in work or waiting, for each worker."""


@dataclass
class Batch:
    """Some samples, stacked.

    Attributes
    ----------
    image : float32 array of shape (N, C, H, W), channels-last memory
    label : int64 array of shape (N,), or None where no sample has a label
    samples : list of Sample
        What the batch was made of, after the transform.
    """

    image: np.ndarray
    label: np.ndarray | None
    samples: list[Sample]


class DataLoader:
    """Iterate over `samples` in batches, once an epoch.

    Parameters
    ----------
    samples : sequence of Sample
        A Dataset, or a list. Read lazily, from several threads if there are workers.
    batch_size : int
    shuffle : bool
        Draw a new order each epoch; see :meth:`set_epoch`.
    seed : int
        Together with :func:`nnmed.seed` it decides all draws.
    workers : int
        Threads that load ahead; 0 loads in the caller's thread. At most two batches a
        worker are kept ahead.
    transform : callable (sample, rng) -> Sample, optional
        The generator is ``generator("augment", seed, epoch, position)``.
    drop_last : bool
        Leave out the last batch if it is not full.
    class_weights : "balanced" or sequence of float, optional
        Balanced sampling: a sample of class c comes up in proportion to
        ``class_weights[c]``; "balanced" gives every class the same share of the epoch. The
        epoch keeps its length. Within a class all samples come up equally often, give or
        take one, so none is forgotten. Needs ``shuffle=True``.

    Raises
    ------
    UsageError
        If an argument makes no sense.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        batch_size: int = 1,
        shuffle: bool = False,
        seed: int = 0,
        workers: int = 0,
        transform: Callable[[Sample, np.random.Generator], Sample] | None = None,
        drop_last: bool = False,
        class_weights: str | Sequence[float] | None = None,
    ):
        if batch_size < 1:
            raise UsageError(f"batch_size must be at least 1, got {batch_size}")
        if workers < 0:
            raise UsageError(f"workers must be at least 0, got {workers}")
        if class_weights is not None and not shuffle:
            raise UsageError("class_weights draws samples at random: it needs shuffle=True")
        self.samples = samples
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.workers = workers
        self.transform = transform
        self.drop_last = drop_last
        self.epoch = 0
        self._shares = None
        if class_weights is not None:
            self._labels = _labels_of(samples)
            self._shares = _class_shares(self._labels, class_weights)

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        size = len(self.samples)
        return size // self.batch_size if self.drop_last else -(-size // self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order and augmentation the next iteration draws."""
        self.epoch = int(epoch)

    def order(self) -> np.ndarray:
        """Return the indices of this epoch's samples, in order."""
        count = len(self.samples)
        if not self.shuffle:
            return np.arange(count)
        rng = generator("shuffle", self.seed, self.epoch)
        if self._shares is None:
            return rng.permutation(count)
        return _balanced_order(self._labels, self._shares, rng)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of one epoch.

        Raises
        ------
        DataError
            If a sample cannot be loaded (the message names its file, the cause is
            chained), or samples of one batch differ in shape.
        """
        order, epoch = self.order(), self.epoch
        starts = [number * self.batch_size for number in range(len(self))]
        stop = threading.Event()

        def load(start):
            samples = []
            for position in range(start, min(start + self.batch_size, len(order))):
                if stop.is_set():
                    return None
                samples.append(self._load(int(order[position]), position, epoch))
            return collate(samples)

        if self.workers == 0:
            yield from map(load, starts)
        else:
            yield from self._load_ahead(load, starts, stop)

    def _load_ahead(self, load, starts, stop):
        pool = ThreadPoolExecutor(self.workers, "nnmed-loader")
        waiting = deque()
        try:
            for start in starts:
                waiting.append(pool.submit(load, start))
                if len(waiting) == PREFETCH * self.workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            # Also when the loop was left early: workers stop at their next sample.
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)

    def _load(self, index, position, epoch):
        path = _path_of(self.samples, index)
        try:
            sample = self.samples[index]
            path = path or sample.path
            if self.transform is not None:
                sample = self.transform(sample, generator("augment", self.seed, epoch, position))
        except Exception as error:
            named = _with_path(error, path or f"sample {index}")
            if named is error:
                raise
            raise named from error
        return sample


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples of one shape into a :class:`Batch`.

    Raises
    ------
    DataError
        If shapes differ, an image is not float32, or only some samples have a label.
    """
    first = samples[0]
    for sample in samples:
        image = sample.image
        if image.dtype != np.float32 or image.ndim != 3:
            raise DataError(
                f"{_name(sample)}: the image must be float32 (C, H, W), "
                f"is {image.dtype} {image.shape}"
            )
        if image.shape != first.image.shape:
            raise DataError(
                f"images of one batch differ in shape (C, H, W): {_name(first)} "
                f"{first.image.shape}, {_name(sample)} {image.shape}; resize them to one size "
                "and convert them to the same number of channels"
            )
        if (sample.label is None) != (first.label is None):
            with_label, without = (sample, first) if first.label is None else (first, sample)
            raise DataError(
                f"{_name(without)} has no label, {_name(with_label)} has one; "
                "give every image a label or leave it out"
            )
    images = empty_channels_last((len(samples), *first.image.shape), np.float32)
    for target, sample in zip(images, samples):
        target[...] = sample.image
    labels = None
    if first.label is not None:
        labels = np.array([sample.label for sample in samples], np.int64)
    return Batch(images, labels, list(samples))


def _balanced_order(labels, shares, rng):
    counts = _apportion(shares, len(labels))
    drawn = []
    for name, count in enumerate(counts):
        members = np.flatnonzero(labels == name)
        rounds = -(-count // max(1, len(members)))
        repeated = [rng.permutation(members) for _ in range(rounds)]
        drawn.append(np.concatenate([*repeated, members[:0]])[:count])
    return rng.permutation(np.concatenate(drawn))


def _apportion(shares, total):
    """Return whole numbers in proportion to `shares` that add up to `total`."""
    exact = shares * total
    counts = np.floor(exact).astype(np.int64)
    largest_rest = np.argsort(counts - exact, kind="stable")
    counts[largest_rest[: total - counts.sum()]] += 1
    return counts


def _labels_of(samples):
    labels = getattr(samples, "labels", None)
    if labels is None:
        labels = [sample.label for sample in samples]
    missing = [number for number, label in enumerate(labels) if label is None]
    if missing:
        name = _path_of(samples, missing[0]) or f"sample {missing[0]}"
        raise DataError(f"{name} has no label: class_weights needs one for every sample")
    return np.asarray(labels, np.int64)


def _class_shares(labels, weights):
    """Return each class's share of an epoch."""
    if not labels.size:
        raise DataError("class_weights: there are no samples to draw from")
    counts = np.bincount(labels)
    if isinstance(weights, str):
        if weights != "balanced":
            raise UsageError(f"class_weights must be 'balanced' or numbers, got {weights!r}")
        mass = (counts > 0).astype(float)
    else:
        weights = np.asarray(weights, float)
        if weights.ndim != 1 or len(weights) < len(counts):
            raise UsageError(
                f"class_weights: {len(counts)} classes, but weights {weights.tolist()}"
            )
        mass = counts * weights[: len(counts)]
        if not (np.isfinite(mass).all() and (mass >= 0).all() and mass.any()):
            raise UsageError(f"class_weights must be finite, not negative, not all 0: {weights}")
    return mass / mass.sum()


def _path_of(samples, index):
    """Return the file of a sample that need not be read for that, or an empty string."""
    paths = getattr(samples, "paths", None)
    return "" if paths is None else str(paths[index])


def _name(sample):
    return sample.path or "a sample without a path"


def _with_path(error, path):
    """Return an error of nnmed's that names the file."""
    if not isinstance(error, NnmedError):
        return DataError(f"{path}: {type(error).__name__} while loading it: {error}")
    if str(path) in str(error):
        return error
    return type(error)(f"{path}: {error}")
