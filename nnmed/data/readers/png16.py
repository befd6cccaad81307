"""PNG with 16 bits in several channels, which Pillow cuts down to 8 bits.

PNG specification (ISO/IEC 15948), clauses 7 to 9. Only what Pillow cannot do is here:
grey+alpha, RGB and RGB+alpha at 16 bits, not interlaced. Pillow has opened the file
before, so its structure and size are known to make sense.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

from nnmed.data.limits import data_error

_CHANNELS = {2: 3, 4: 2, 6: 4}  # colour type -> channels, for those read here
_HEADER = struct.Struct(">8sI4sIIBBBBB")  # signature, then the IHDR chunk


def png16_channels(path: Path) -> int | None:
    """Return the channels of a file that :func:`read_png16` reads, alpha included, else None.

    An interlaced file, which is rare, is left to Pillow too: it keeps the upper 8 bits.
    """
    with path.open("rb") as file:
        start = file.read(_HEADER.size)
    if len(start) < _HEADER.size:
        return None
    _, _, _, _, _, bits, colour, _, _, interlace = _HEADER.unpack(start)
    return _CHANNELS.get(colour) if bits == 16 and not interlace else None


def read_png16(path: Path) -> np.ndarray:
    """Return the uint16 pixels, of shape (H, W, C), of a file of :func:`png16_channels`.

    Raises
    ------
    DataError
        If the pixel data are damaged or cut off.
    """
    with path.open("rb") as file:
        _, _, _, width, height, _, colour, _, _, _ = _HEADER.unpack(file.read(_HEADER.size))
        file.seek(8)
        packed = _image_data(path, file)
    step = 2 * _CHANNELS[colour]
    expected = height * (1 + width * step)
    rows = zlib.decompressobj().decompress(packed, expected)
    if len(rows) < expected:
        raise data_error(path, "the pixel data are cut off", "copy it again from its source")
    rows = np.frombuffer(rows, np.uint8).reshape(height, 1 + width * step)
    filters, filtered = rows[:, 0], rows[:, 1:].reshape(height, width, step)
    if filters.max() > 4:
        raise data_error(path, "the pixel data are damaged", "copy it again from its source")
    return _unfilter(filters, filtered).view(">u2").astype(np.uint16)


def _image_data(path: Path, file) -> bytes:
    parts = []
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        data, check = file.read(length), file.read(4)
        if kind == b"IEND":
            break
        if kind == b"IDAT":
            if struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))) != check:
                raise data_error(
                    path, "the pixel data are damaged (checksum)", "copy it again from its source"
                )
            parts.append(data)
    return b"".join(parts)


def _unfilter(filters: np.ndarray, filtered: np.ndarray) -> np.ndarray:
    """Undo the row filters: each pixel is stored less a guess from its neighbours.

    A pixel needs its left, upper and upper left neighbours, so all pixels of one
    anti-diagonal can be computed at once: H + W - 1 vector steps in place of H x W.
    """
    height, width, step = filtered.shape
    # One row and column of zeros stand for the neighbours outside the image.
    result = np.zeros((height + 1, width + 1, step), np.uint8)
    kind = filters.astype(np.intp)
    for diagonal in range(height + width - 1):
        y = np.arange(max(0, diagonal - width + 1), min(height, diagonal + 1))
        x = diagonal - y
        left = result[y + 1, x].astype(np.int16)
        above = result[y, x + 1].astype(np.int16)
        corner = result[y, x].astype(np.int16)
        guesses = np.stack(
            [np.zeros_like(left), left, above, (left + above) >> 1, _paeth(left, above, corner)]
        )
        guess = guesses[kind[y], np.arange(len(y))]
        result[y + 1, x + 1] = (filtered[y, x] + guess) & 255
    return np.ascontiguousarray(result[1:, 1:])


def _paeth(left, above, corner):
    """Return the neighbour nearest to left + above - corner; ties: left, then above."""
    to_left, to_above = np.abs(above - corner), np.abs(left - corner)
    to_corner = np.abs(left + above - 2 * corner)
    return np.where(
        (to_left <= to_above) & (to_left <= to_corner),
        left,
        np.where(to_above <= to_corner, above, corner),
    )
