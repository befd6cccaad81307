"""PNG, JPEG, TIFF, PGM/PPM/PBM and BMP through Pillow."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from nnmed.data.limits import check_frame, check_unpacked, data_error
from nnmed.data.readers.common import Header, choose_frames, finished_image, frame_name
from nnmed.data.readers.png16 import png16_channels, read_png16
from nnmed.data.sample import Sample

# Pillow warns of odd EXIF data and of large images; sizes are checked here.
warnings.filterwarnings("ignore", module=r"PIL\.")

# No other plugin of Pillow may be reached: some start other programs.
FORMATS = ("PNG", "JPEG", "TIFF", "PPM", "BMP")

_GREY = frozenset(("1", "L", "LA", "F"))
_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLE_FORMAT = 258, 262, 339  # TIFF 6.0 tags
_WHITE_IS_ZERO = 0
_TIFF_UNSIGNED = 1


def read_header(path: Path) -> Header:
    """Return the header of a raster file; see :func:`nnmed.data.readers.read_header`."""
    with _open(path) as file:
        width, height = file.size
        _check(path, file)
        grey = file.mode in _GREY or file.mode.startswith("I")
        deep = png16_channels(path) if file.format == "PNG" else None
        channels = 1 if grey or deep == 2 else 3
        return Header("raster", _frame_count(file), channels, height, width)


def read_frames(path: Path, frame: int | None) -> list[Sample]:
    """Return one frame, or all; see :func:`nnmed.data.readers.read_image`."""
    with _open(path) as file:
        count = _frame_count(file)
        samples = []
        for index in choose_frames(path, frame, count):
            if count > 1:
                file.seek(index)
            _check(path, file)
            image = finished_image(path, _decode(path, file))
            samples.append(Sample(image, path=frame_name(path, index, count)))
        return samples


@contextlib.contextmanager
def _open(path: Path):
    # Not by name: Pillow would map the file into memory, and mix up rows and columns of a
    # TIFF that is to be turned.
    with path.open("rb") as stream, Image.open(stream, formats=FORMATS) as file:
        yield file


def _frame_count(file) -> int:
    # Only a TIFF's pages are frames. The second picture of an MPO is a phone's preview.
    return getattr(file, "n_frames", 1) if file.format == "TIFF" else 1


def _check(path: Path, file) -> None:
    width, height = file.size
    channels = len(file.getbands())
    check_frame(path, channels, height, width)
    check_unpacked(path, channels * width * height, path.stat().st_size, "the image")


def _decode(path: Path, file) -> np.ndarray:
    """Return the frame as float32 (C, H, W), in the range that the readers promise."""
    # Pillow turns a TIFF upright while it loads; for the others that is done here.
    orientation = 1 if file.format == "TIFF" else _orientation(file)
    if file.format == "PNG" and png16_channels(path):
        pixels, largest = _without_alpha(read_png16(path), 65535), 65535
    else:
        pixels, largest = _pixels(path, file)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    pixels = pixels.transpose(2, 0, 1)
    image = np.empty(pixels.shape, np.float32)
    np.multiply(pixels, np.float32(1 if largest is None else 1 / largest), out=image)
    return _turned(image, orientation)


def _orientation(file) -> int:
    """Return EXIF's orientation (tag 274), 1 where there is none that makes sense."""
    value = file.getexif().get(274, 1)
    return value if value in range(1, 9) else 1


def _turned(image: np.ndarray, orientation: int) -> np.ndarray:
    """Turn a (C, H, W) image upright (EXIF 2.3, tag 274)."""
    if orientation >= 5:
        image = image.transpose(0, 2, 1)
    # The corner that the stored first row and column belong to, after that transposition.
    if orientation in (2, 3, 6, 7):
        image = image[:, :, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[:, ::-1]
    return image


def _pixels(path: Path, file) -> tuple[np.ndarray, int | None]:
    """Return the pixels and the value that stands for white, None for 'as they are'."""
    mode = file.mode
    if mode == "1":
        return np.asarray(file, np.uint8), 1
    if mode in ("L", "RGB"):
        return np.asarray(file), 255
    if mode.startswith("I;16"):
        return _white_is_zero(file, np.asarray(file).astype(np.uint16)), 65535
    if mode == "I":
        return _integers(file)
    if mode == "F":
        return np.asarray(file), None
    if mode in ("LA", "La", "RGBA", "RGBa", "PA") or "transparency" in file.info:
        return _without_alpha(np.asarray(file.convert("RGBA" if mode != "LA" else mode)), 255), 255
    if mode in ("P", "CMYK", "YCbCr", "HSV"):
        return np.asarray(file.convert("RGB")), 255
    raise data_error(
        path, f"its pixels are of a kind that is not read ({mode})", "convert it to grey or RGB"
    )


def _integers(file) -> tuple[np.ndarray, int | None]:
    """Pixels that Pillow holds as int32: a PGM up to 65535, or a TIFF of another kind."""
    pixels = np.asarray(file)
    if file.format != "TIFF":
        return pixels, 65535
    bits = file.tag_v2.get(_BITS_PER_SAMPLE, (32,))[0]
    kind = file.tag_v2.get(_SAMPLE_FORMAT, (_TIFF_UNSIGNED,))[0]
    if kind != _TIFF_UNSIGNED:
        return pixels, None
    largest = 2**bits - 1
    return _white_is_zero(file, pixels.astype(np.int64) & largest), largest


def _white_is_zero(file, pixels: np.ndarray) -> np.ndarray:
    # Pillow inverts such TIFF files up to 8 bits, and leaves deeper ones as they are.
    if file.format == "TIFF" and file.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        bits = file.tag_v2.get(_BITS_PER_SAMPLE, (16,))[0]
        return (2**bits - 1) - pixels
    return pixels


def _without_alpha(pixels: np.ndarray, largest: int) -> np.ndarray:
    """Lay pixels with an alpha channel over black."""
    if pixels.shape[2] not in (2, 4):
        return pixels
    colour, alpha = pixels[:, :, :-1], pixels[:, :, -1:]
    if (alpha == largest).all():
        return colour
    return colour * (alpha / np.float32(largest))
