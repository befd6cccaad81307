"""Random numbers as functions of (seed, key), never of a generator that workers share.

All draws come from Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as
1, 2, 3", SC 2011), a counter-based generator: word ``i`` of a key can be computed on its
own, by any worker and, later, by any CUDA thread.

A *stream* belongs to whoever draws again and again (a dropout layer, initialisation); its
step counts the draws, so the key of a draw is (seed, stream, step).
"""

from __future__ import annotations

import hashlib
import threading

import numpy as np

from nnmed.errors import UsageError

_lock = threading.Lock()
_seed = 0
_next_stream = 1  # stream 0 belongs to functional calls, which have no module
_steps: dict[int, int] = {}


class _Thread(threading.local):
    tape: Tape | None = None


_thread = _Thread()


def seed(value: int) -> None:
    """Set the seed of every random draw and start all streams anew.

    Raises
    ------
    UsageError
        If `value` is not an integer in [0, 2**63).
    """
    global _seed, _next_stream
    if not isinstance(value, (int, np.integer)) or isinstance(value, bool):
        raise UsageError(f"the seed must be an integer, got {value!r}")
    if not 0 <= value < 2**63:
        raise UsageError(f"the seed must lie in [0, 2**63), got {value}")
    with _lock:
        _seed, _next_stream = int(value), 1
        _steps.clear()


def generator(*key: int | str) -> np.random.Generator:
    """Return a generator that depends on nothing but the seed and `key`.

    Example: ``generator("augment", epoch, index)``.
    """
    return np.random.Generator(np.random.Philox(key=np.array(_hash(_seed, *key), np.uint64)))


def new_stream() -> int:
    """Return the number of a new stream; numbers start again after :func:`seed`."""
    global _next_stream
    with _lock:
        stream, _next_stream = _next_stream, _next_stream + 1
    return stream


def draw_key(stream: int) -> tuple[int, int]:
    """Return the Philox key of the stream's next draw, and count the draw."""
    return _draw(_thread.tape, stream)


class Tape:
    """Context manager: note the keys that this thread draws; entered again, give them again."""

    def __init__(self):
        self._keys: list[tuple[int, int]] = []
        self._given = None  # an iterator over the keys, the second time

    def __enter__(self):
        self._outer, _thread.tape = _thread.tape, self
        return self

    def __exit__(self, *exception):
        _thread.tape, self._given = self._outer, iter(self._keys)

    def draw(self, stream: int) -> tuple[int, int]:
        """Return the key of the next draw."""
        if self._given is not None:
            key = next(self._given, None)
            return _draw(self._outer, stream) if key is None else key
        self._keys.append(_draw(self._outer, stream))
        return self._keys[-1]

    def __len__(self) -> int:
        """Return how many keys were drawn."""
        return len(self._keys)


class KeyPlaces(Tape):
    """Context manager: give this thread the places of keys instead of keys, and note the streams.

    A step that is captured in a CUDA graph reads its keys from the device's memory. Before each
    launch :meth:`next_keys` are to be written there.

    Parameters
    ----------
    places : sequence
        What to give, in the order of the draws.
    """

    def __init__(self, places):
        super().__init__()
        self._places, self._streams = places, []

    def draw(self, stream: int):
        """Return the place of the next draw's key."""
        if len(self._streams) == len(self._places):
            raise UsageError("a training step draws more random numbers than the one before it")
        self._streams.append(stream)
        return self._places[len(self._streams) - 1]

    def next_keys(self) -> list[tuple[int, int]]:
        """Draw the keys of all places, in their order."""
        return [draw_key(stream) for stream in self._streams]


def _draw(tape: Tape | None, stream: int) -> tuple[int, int]:
    if tape is not None:
        return tape.draw(stream)
    with _lock:
        step = _steps.get(stream, 0)
        _steps[stream] = step + 1
    return _hash(_seed, "stream", stream, step)


def philox_uint32(key: tuple[int, int], start: int, count: int) -> np.ndarray:
    """Return words ``start .. start + count - 1`` of the key's sequence of 32-bit words.

    Philox makes four 64-bit words a counter value, here read as eight 32-bit words, low
    half first; `start` must be a multiple of eight. Counter values begin at 1.
    """
    if start % 8:
        raise UsageError(f"start must be a multiple of 8, got {start}")
    bits = np.random.Philox(key=np.array(key, np.uint64), counter=start // 8)
    words = bits.random_raw(-(-count // 2)).astype("<u8", copy=False)
    return words.view("<u4")[:count]


def get_state() -> dict:
    """Return seed and stream positions, ready for JSON."""
    with _lock:
        steps = {str(stream): step for stream, step in _steps.items()}
        return {"seed": _seed, "next_stream": _next_stream, "steps": steps}


def set_state(state: dict) -> None:
    """Restore what :func:`get_state` returned."""
    global _seed, _next_stream
    with _lock:
        _seed, _next_stream = int(state["seed"]), int(state["next_stream"])
        _steps.clear()
        _steps.update({int(stream): int(step) for stream, step in state["steps"].items()})


def _hash(*parts: int | str) -> tuple[int, int]:
    # A hash mixes text and integers of any size into 128 bits without collisions to speak of.
    # NumPy's integers are the integers they stand for.
    text = "\x1f".join(repr(part if isinstance(part, str) else int(part)) for part in parts)
    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")
