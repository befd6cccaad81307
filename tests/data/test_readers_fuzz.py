"""Whatever the bytes: samples or a DataError, never another exception."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from nnmed.data.readers import Header, read_header, read_image
from nnmed.errors import DataError

RAMP = np.arange(256, dtype=np.uint16).reshape(16, 16)
FUZZ = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def outcome(function, path):
    """Return the result, or the message of the DataError; nothing else may be raised."""
    try:
        return function(path)
    except DataError as error:
        return str(error)


def read(path):
    header, samples = outcome(read_header, path), outcome(read_image, path)
    assert isinstance(header, Header) or str(path) in header
    if isinstance(samples, str):
        assert str(path) in samples
    else:
        assert samples
        assert all(np.isfinite(sample.image).all() for sample in samples)


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Cut the data off, or change some bits or bytes, mostly near the start."""
    result = bytearray(data)
    kind = rng.randrange(3)
    if kind == 0:
        return bytes(result[: rng.randrange(len(result))])
    reach = len(result) if kind == 1 else min(len(result), 2000)
    for _ in range(rng.randrange(1, 8)):
        position = rng.randrange(reach)
        result[position] = rng.choice((result[position] ^ (1 << rng.randrange(8)), 0, 255))
    return bytes(result)


def raster(suffix, **options):
    buffer = io.BytesIO()
    rgb = np.stack([RAMP, RAMP.T, RAMP[::-1]], -1).astype(np.uint8)
    Image.fromarray(rgb).save(buffer, suffix, **options)
    return buffer.getvalue()


def array(save):
    buffer = io.BytesIO()
    save(buffer, RAMP)
    return buffer.getvalue()


MADE = {
    "png": lambda: raster("PNG"),
    "jpg": lambda: raster("JPEG"),
    "tif": lambda: raster("TIFF", compression="tiff_lzw"),
    "bmp": lambda: raster("BMP"),
    "ppm": lambda: raster("PPM"),
    "npy": lambda: array(np.save),
    "npz": lambda: array(np.savez_compressed),
}


@pytest.mark.parametrize("suffix", sorted(MADE))
def test_damaged_files(tmp_path, suffix):
    data, rng = MADE[suffix](), random.Random(suffix)
    path = tmp_path / f"a.{suffix}"
    for _ in range(60):
        path.write_bytes(damaged(data, rng))
        read(path)


def test_damaged_dicom(dicom_file):
    path = dicom_file(RAMP, BitsStored=12, WindowCenter=100, WindowWidth=50, PixelSpacing=[1, 1])
    data, rng = path.read_bytes(), random.Random(0)
    for _ in range(150):
        path.write_bytes(damaged(data, rng))
        read(path)


def test_damaged_odd_dicom(shared_data, tmp_path):
    rng = random.Random(0)
    path = tmp_path / "a.dcm"
    for source in sorted((shared_data / "dicom_odd").glob("*.dcm")):
        if source.stat().st_size > 250_000:
            continue
        data = source.read_bytes()
        for _ in range(2):
            path.write_bytes(damaged(data, rng))
            read(path)


MARKS = [b"", bytes(128) + b"DICM", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"II*\0", b"BM",
         b"P5 9 9 255\n", b"P2\n", b"\x93NUMPY\x01\0", b"PK\x03\x04"]  # fmt: skip


@FUZZ
@given(st.sampled_from(MARKS), st.binary(max_size=300))
def test_any_bytes_behind_any_mark(tmp_path, mark, content):
    path = tmp_path / "a.png"
    path.write_bytes(mark + content)
    read(path)
