"""Batches on the device of the model: on a GPU, each is copied while the step before it runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from nnmed.backend import cuda
from nnmed.data.loader import Batch
from nnmed.nn import Module
from nnmed.preprocessing import OnDevice


def feed(loader, device: str) -> Iterator[Batch]:
    """Yield the batches of `loader` with their arrays on `device`.

    On a GPU a batch may be used until the next but one is asked for, which takes its memory.
    Where the transform of the loader is an OnDevice, the images are augmented here.
    """
    batches = iter(loader) if device == "cpu" else _ahead(loader)
    transform = loader.transform
    return map(transform.finish, batches) if isinstance(transform, OnDevice) else batches


def device_of_model(model: Module) -> str:
    """Return where the parameters of a model are: "cpu", also where it has none, or "gpu"."""
    return next((parameter.device for parameter in model.parameters()), "cpu")


def _ahead(loader) -> Iterator[Batch]:
    """Yield batches on the GPU, and begin to copy the next one before a batch is used."""
    stream = cuda.cupy().cuda.Stream(non_blocking=True)
    slots = _Slot(stream), _Slot(stream)
    waiting = None
    try:
        for index, batch in enumerate(loader):
            slot = slots[index % 2]
            copied = slot.copy(batch)
            if waiting is not None:
                yield from waiting.hand_out()
            slot.batch, waiting = copied, slot
        if waiting is not None:
            yield from waiting.hand_out()
    finally:
        stream.synchronize()  # or a copy would go on into memory that is given back


class _Slot:
    """Memory for a batch: pinned, which the card reads by itself, and on the card.

    The memory on the card stays the same for batches of one shape.
    """

    def __init__(self, stream):
        event = cuda.cupy().cuda.Event
        self._stream = stream
        self._copied, self._used = event(disable_timing=True), event(disable_timing=True)
        self._pinned, self._on_card = {}, {}
        self.batch: Batch | None = None

    def copy(self, batch: Batch) -> Batch:
        """Queue the copy of a batch, after the step that used this memory before."""
        self._copied.synchronize()  # the pinned memory has been read
        self._stream.wait_event(self._used)
        label = None if batch.label is None else self._send("label", batch.label)
        copied = replace(batch, image=self._send("image", batch.image), label=label)
        self._copied.record(self._stream)
        return copied

    def hand_out(self) -> Iterator[Batch]:
        """Yield the batch once, and note when the work that was queued on it will be done."""
        current = cuda.cupy().cuda.get_current_stream()
        current.wait_event(self._copied)
        yield self.batch
        self._used.record(current)

    def _send(self, name: str, array: np.ndarray):
        """Return the array on the card, in the same memory order; the copy is only queued."""
        import cupyx

        order = sorted(range(array.ndim), key=lambda axis: -array.strides[axis])
        source = array.transpose(order)
        key = name, source.shape, source.dtype.char
        if key not in self._pinned:
            self._pinned[key] = cupyx.empty_pinned(source.shape, source.dtype)
            self._on_card[key] = cuda.cupy().empty(source.shape, source.dtype)
            # Whoever had this memory before may still be at work on the current stream.
            self._stream.wait_event(cuda.cupy().cuda.get_current_stream().record())
        self._pinned[key][...] = source
        self._on_card[key].set(self._pinned[key], stream=self._stream)
        return self._on_card[key].transpose([order.index(axis) for axis in range(array.ndim)])
