"""The size that a compressed frame of a DICOM file claims for itself.

A codec allocates what the codestream says, not what the DICOM header says. So the two are
compared before the codec sees the data: ITU-T T.81 (JPEG, incl. lossless) B.2.2, T.87
(JPEG-LS) C.2.2, T.800 (JPEG 2000) A.5.1.
"""

from __future__ import annotations

import struct

_J2K_START = b"\xff\x4f\xff\x51"  # SOC and SIZ, always the first two markers
_JPEG_START = b"\xff\xd8"
_ALONE = frozenset((0x01, *range(0xD0, 0xD9)))  # markers without a length
# Start-of-frame markers; C4, C8 and CC are others. F7 is JPEG-LS.
_FRAMES = frozenset((*range(0xC0, 0xD0), 0xF7)) - {0xC4, 0xC8, 0xCC}
_SEARCH = 1 << 16  # a JP2 file's boxes come before its codestream


def claimed_size(data: bytes) -> tuple[int, int, int, int] | None:
    """Return (rows, columns, samples, bits) that a codestream claims, None if it has no header.

    Examples
    --------
    >>> claimed_size(b"no codestream") is None
    True
    """
    start = data.find(_J2K_START, 0, _SEARCH)
    if start >= 0 and not data.startswith(_JPEG_START):
        return _j2k_size(data[start : start + 64])
    if data.startswith(_JPEG_START):
        return _jpeg_size(data)
    return None


def _j2k_size(data: bytes) -> tuple[int, int, int, int] | None:
    if len(data) < 43:
        return None
    right, bottom, left, top = struct.unpack_from(">4I", data, 8)
    samples, depth = struct.unpack_from(">HB", data, 40)
    return bottom - top, right - left, samples, (depth & 0x7F) + 1


def _jpeg_size(data: bytes) -> tuple[int, int, int, int] | None:
    position = 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            return None
        marker = data[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
        elif marker in _ALONE:
            position += 2
        elif marker in _FRAMES:
            if position + 10 > len(data):
                return None
            bits, rows, columns, samples = struct.unpack_from(">BHHB", data, position + 4)
            return rows, columns, samples, bits
        else:
            position += 2 + struct.unpack_from(">H", data, position + 2)[0]
    return None
