"""A cache of samples, bounded in bytes and safe to share between threads."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import replace

from nnmed.data.sample import Sample


class SampleCache:
    """Keeps the samples used last, up to `max_bytes` of image and mask.

    A sample that comes out shares its arrays with the cache, and they are read-only:
    transforms make new ones.
    """

    def __init__(self, max_bytes: int):
        self._max_bytes = max_bytes
        self._bytes = 0
        self._samples: OrderedDict[int, Sample] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: int) -> Sample | None:
        """Return the sample, or None if it is not here."""
        with self._lock:
            sample = self._samples.get(key)
            if sample is None:
                return None
            self._samples.move_to_end(key)
        return replace(sample)

    def put(self, key: int, sample: Sample) -> None:
        """Keep a sample, and forget the ones that were not used for longest."""
        size = _size(sample)
        for array in (sample.image, sample.mask, sample.boxes):
            if array is not None:
                array.flags.writeable = False
        if size > self._max_bytes:
            return
        with self._lock:
            if key in self._samples:
                return
            self._samples[key] = replace(sample)
            self._bytes += size
            while self._bytes > self._max_bytes:
                _, old = self._samples.popitem(last=False)
                self._bytes -= _size(old)


def _size(sample: Sample) -> int:
    return sample.image.nbytes + (0 if sample.mask is None else sample.mask.nbytes)
