"""Readers: a file in, a list of samples out, and on any other input a DataError.

The format is told by content, not by name. Values of the image, always float32 (C, H, W):

=======================  ==========================================================
unsigned integers        divided by the largest value of their bit depth: 255, 65535
                         (PGM/PPM: by the header's maximum); 1 bit is 0 or 1
DICOM, with a VOI        [0, 1] after modality LUT and VOI LUT or window (the first one)
DICOM, without           CT: -1024 to 3071 HU becomes [0, 1]; up to 8 bits, colour and
                         palette: as unsigned integers; else: the smallest to the largest
                         value of the frame becomes [0, 1]
float, signed integers   as they are (TIFF, ``.npy``, ``.npz``)
=======================  ==========================================================

So a photograph of a film, its PNG and its windowed DICOM are comparable, and a bright
pixel is a bright pixel everywhere (MONOCHROME1 and white-is-zero TIFF are inverted).
Channels stay as stored: grey gives 1, colour, palette and CMYK give 3; alpha is laid over
black.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from nnmed.data.limits import check_file, data_error
from nnmed.data.readers.common import Header
from nnmed.data.sample import Sample
from nnmed.errors import DataError

RASTER_SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".jpe", ".tif", ".tiff", ".pgm", ".ppm", ".pbm", ".pnm", ".bmp")
)
DICOM_SUFFIXES = frozenset((".dcm", ".dicom", ".dic", ".ima"))
ARRAY_SUFFIXES = frozenset((".npy", ".npz"))
IMAGE_SUFFIXES = RASTER_SUFFIXES | DICOM_SUFFIXES | ARRAY_SUFFIXES

_RASTER_MARKS = (
    b"\x89PNG", b"\xff\xd8\xff", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+",
    b"P1", b"P2", b"P3", b"P4", b"P5", b"P6",
)  # fmt: skip
_MODULES = {
    "dicom": "nnmed.data.readers.dicom",
    "raster": "nnmed.data.readers.raster",
    "npy": "nnmed.data.readers.arrays",
    "npz": "nnmed.data.readers.arrays",
}


def read_image(path) -> list[Sample]:
    """Read all images of a file: one Sample a frame, page or array item.

    Parameters
    ----------
    path : str or path-like
        A DICOM, PNG, JPEG, TIFF, PGM/PPM/PBM, BMP, ``.npy`` or ``.npz`` file.

    Returns
    -------
    list of Sample
        With `image`, `path` and, where the file has them, `patient` and `spacing`.

    Raises
    ------
    DataError
        On anything that cannot be read: names the file, the reason and the remedy.
    """
    return _guarded(path, "read_frames", None)


def read_frame(path, frame: int = 0) -> Sample:
    """Read one image of a file, without decoding the others where the format allows.

    Raises
    ------
    DataError
        As :func:`read_image`, and if the file has no such frame.
    """
    return _guarded(path, "read_frames", frame)[0]


def read_header(path) -> Header:
    """Read what a file says about its images, without decoding any.

    Raises
    ------
    DataError
        As :func:`read_image`.
    """
    return _guarded(path, "read_header")


def detect_format(path) -> str | None:
    """Return ``"dicom"``, ``"raster"``, ``"npy"``, ``"npz"``, or None for anything else.

    Raises
    ------
    DataError
        If the file cannot be opened.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(132)
    except (OSError, ValueError) as error:
        raise data_error(path, f"cannot be opened ({error})", "check path and rights") from error
    if start[128:132] == b"DICM":
        return "dicom"
    if start.startswith(b"\x93NUMPY"):
        return "npy"
    if start.startswith(b"PK\x03\x04") or start.startswith(b"PK\x05\x06"):
        return "npz"
    return "raster" if start.startswith(_RASTER_MARKS) else None


def _guarded(path, function: str, *arguments):
    """Call the format's reader; whatever goes wrong in it or in a codec is a DataError."""
    path = Path(path)
    check_file(path)
    kind = detect_format(path)
    if kind is None:
        raise data_error(path, _why_unknown(path), "convert it to DICOM, PNG or TIFF")
    try:
        module = importlib.import_module(_MODULES[kind])
        return getattr(module, function)(path, *arguments)
    except DataError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:300] or type(error).__name__
        raise data_error(
            path, f"cannot be read as {kind} ({text})", "copy it again from its source"
        ) from error


def _why_unknown(path: Path) -> str:
    if path.suffix.lower() in DICOM_SUFFIXES:
        return "has no DICOM mark (DICM at byte 128), so its transfer syntax is unknown"
    return "is in no format that nnmed reads (DICOM, PNG, JPEG, TIFF, PGM, BMP, .npy, .npz)"
