"""Batches on the device of the model: on a GPU, each is copied while the step before it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from nnmed.backend import cuda
from nnmed.data.loader import Batch
from nnmed.nn import Module
from nnmed.preprocessing import OnDevice


def feed(loader, device: str) -> Iterator[Batch]:
    """Yield the batches of `loader` with their arrays on `device`.

    On a GPU a batch may be used until the next one is asked for: its memory is then filled again.
    Where the transform of the loader is an OnDevice, the images are augmented here.
    """
    return map(finisher(loader), copied(loader, device))


def copied(loader, device: str) -> Iterator[Batch]:
    """Yield what :func:`feed` does, before the :func:`finisher`."""
    return iter(loader) if device == "cpu" else _ahead(loader)


def finisher(loader) -> Callable[[Batch], Batch]:
    """Return what augments a batch on the device, if the loader leaves that to the device."""
    transform = loader.transform
    return transform.finish if isinstance(transform, OnDevice) else lambda batch: batch


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
            slot.copy(batch)
            if waiting is not None:
                yield from waiting.hand_out()
            waiting = slot
        if waiting is not None:
            yield from waiting.hand_out()
    finally:
        stream.synchronize()  # or a copy would go on into memory that is given back


class _Slot:
    """Memory for a batch: pinned, which the card reads by itself, and on the card.

    It is that of the largest batch so far, so it stays the same for batches of one shape.
    """

    def __init__(self, stream):
        event = cuda.cupy().cuda.Event
        self._stream = stream
        self._copied, self._used = event(disable_timing=True), event(disable_timing=True)
        self._memory: dict = {}
        self._batch: Batch | None = None

    def copy(self, batch: Batch) -> None:
        """Queue the copy of a batch, after the step that used this memory before."""
        self._copied.synchronize()  # the pinned memory has been read
        self._stream.wait_event(self._used)
        label = None if batch.label is None else self._send("label", batch.label)
        self._batch = replace(batch, image=self._send("image", batch.image), label=label)
        self._copied.record(self._stream)

    def hand_out(self) -> Iterator[Batch]:
        """Yield the batch once, and note when the work that was queued on it will be done."""
        current = cuda.cupy().cuda.get_current_stream()
        current.wait_event(self._copied)
        yield self._batch
        self._used.record(current)

    def _send(self, name: str, array: np.ndarray):
        """Return the array on the card, in the same memory order; the copy is only queued."""
        order = sorted(range(array.ndim), key=lambda axis: -array.strides[axis])
        source = array.transpose(order)
        pinned, on_card = [memory.reshape(source.shape) for memory in self._place(name, source)]
        pinned[...] = source
        on_card.set(pinned, stream=self._stream)
        return on_card.transpose([order.index(axis) for axis in range(array.ndim)])

    def _place(self, name: str, array: np.ndarray):
        """Return memory for the elements of an array, pinned and on the card."""
        import cupyx

        key = name, array.dtype.char
        if key not in self._memory or self._memory[key][0].size < array.size:
            self._memory[key] = (
                cupyx.empty_pinned(array.size, array.dtype),
                cuda.cupy().empty(array.size, array.dtype),
            )
            # Whoever had this memory before may still be at work on the current stream.
            self._stream.wait_event(cuda.cupy().cuda.get_current_stream().record())
        return [memory[: array.size] for memory in self._memory[key]]
