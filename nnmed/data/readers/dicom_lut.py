"""Look-up tables of DICOM: modality, VOI and palette (PS3.3 C.11.1, C.11.2, C.7.9)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

MAX_ENTRIES = 2**16
_COLOURS = ("Red", "Green", "Blue")


@dataclass(frozen=True)
class Table:
    """Entries, the input value that the first one belongs to, and the output for white."""

    entries: np.ndarray
    first: int
    largest: float


def lookup_table(item: Dataset, signed: bool) -> Table | None:
    """Return the table of an item of a LUT sequence, None if it has no data.

    `signed` tells whether the input can be negative, since the descriptor's second value
    is often written with the wrong sign.
    """
    descriptor, data = item.get("LUTDescriptor"), item.get("LUTData")
    if descriptor is None or data is None or len(descriptor) != 3:
        return None
    count, first, bits = (int(value) for value in descriptor)
    entries = _entries(data, count or MAX_ENTRIES).astype(np.float64)
    largest = 2.0 ** min(max(bits, 1), 16) - 1
    return Table(entries, _signed(first, signed), max(largest, float(entries.max())))


def apply_table(table: Table, values: np.ndarray) -> np.ndarray:
    """Return the entries for `values`; beyond the table its ends hold."""
    index = np.clip(np.rint(values) - table.first, 0, len(table.entries) - 1)
    return table.entries[np.nan_to_num(index).astype(np.intp)]


def apply_palette(dataset: Dataset, pixels: np.ndarray) -> np.ndarray:
    """Return the (H, W, 3) colours in [0, 1] of palette indices.

    Raises
    ------
    ValueError
        If the palette is missing or damaged.
    """
    tables = []
    for colour in _COLOURS:
        name = f"{colour}PaletteColorLookupTable"
        count, first, _ = (int(value) for value in dataset.get(f"{name}Descriptor") or (0, 0, 0))
        count = count or MAX_ENTRIES
        segments = dataset.get(f"Segmented{name}Data")
        if f"{name}Data" in dataset:
            entries = _entries(dataset.get(f"{name}Data"), count)
        elif segments:
            entries = _expand(segments, int(dataset.get(f"{name}Descriptor")[2]))
        else:
            raise ValueError("the colour palette is missing")
        table = Table(entries, _signed(first, pixels.dtype.kind == "i"), 255)
        tables.append(apply_table(table, pixels))
    colours = np.stack(tables, -1)
    # Old ultrasound devices write 8-bit colours into 16-bit entries.
    deep = max(int(table.max()) for table in tables) > 255
    return colours / (65535 if deep else 255)


def _signed(first: int, signed: bool) -> int:
    return first - 2**16 if signed and first >= 2**15 else first


def _entries(data, count: int) -> np.ndarray:
    """Return at most `count` entries from bytes of 8 or 16 bits each, or from numbers."""
    if not isinstance(data, bytes):
        values = np.atleast_1d(np.asarray(data, np.int64))
    elif len(data) >= 2 * count:
        values = np.frombuffer(data[: 2 * count], "<u2")
    else:
        values = np.frombuffer(data, np.uint8)
    if not len(values) > 0:
        raise ValueError("a look-up table is empty")
    return values[:count]


def _expand(data: bytes, bits: int) -> np.ndarray:
    """Expand a segmented palette (C.7.9.2): discrete, linear and indirect segments."""
    words = np.frombuffer(data[: len(data) // 2 * 2], "<u2" if bits > 8 else np.uint8).tolist()
    result: list[int] = []
    _expand_segments(words, 0, len(words), bits, result, True)
    return np.asarray(result[:MAX_ENTRIES])


def _expand_segments(words, position, limit, bits, result, indirect_allowed) -> None:
    """Expand up to `limit` segments from `position` on; indirect ones do not nest."""
    for _ in range(limit):
        if position + 1 >= len(words) or len(result) >= MAX_ENTRIES:
            return
        kind, length = words[position : position + 2]
        position += 2
        if kind == 0:
            result.extend(words[position : position + length])
            position += length
        elif kind == 1 and result:
            line = np.linspace(result[-1], words[position], length + 1)[1:]
            result.extend(np.rint(line).astype(int).tolist())
            position += 1
        elif kind == 2 and indirect_allowed:
            parts = 2 if bits > 8 else 4
            offset = sum(
                word << (index * (32 // parts))
                for index, word in enumerate(words[position : position + parts])
            )
            start = offset // (2 if bits > 8 else 1)
            _expand_segments(words, start, length, bits, result, False)
            position += parts
        else:
            raise ValueError("a segmented palette is damaged")
