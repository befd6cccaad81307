"""PNG, JPEG, TIFF, PGM and BMP: values, rotation, alpha, pages, and broken files."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from nnmed.data import limits
from nnmed.data.readers import detect_format, raster, read_header, read_image
from nnmed.errors import DataError

GREY = (np.arange(12 * 20) % 256).astype(np.uint8).reshape(12, 20)
DEEP = (np.arange(12 * 20) * 273).astype(np.uint16).reshape(12, 20)
RGB = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], -1)


def save(path, array, mode=None, **options):
    image = Image.fromarray(np.asarray(array))
    (image if mode is None else image.convert(mode)).save(path, **options)
    return path


def one(path):
    (sample,) = read_image(path)
    assert sample.image.dtype == np.float32
    assert sample.image.flags.c_contiguous
    header = read_header(path)
    assert (header.channels, header.frames) == (len(sample.image), 1)
    return sample.image


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "pgm"])
def test_grey_8_bits(tmp_path, suffix):
    image = one(save(tmp_path / f"a.{suffix}", GREY))
    np.testing.assert_allclose(image, GREY[None] / 255, atol=1e-6)


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "ppm"])
def test_colour_8_bits(tmp_path, suffix):
    image = one(save(tmp_path / f"a.{suffix}", RGB))
    np.testing.assert_allclose(image, RGB.transpose(2, 0, 1) / 255, atol=1e-6)


def test_jpeg(tmp_path):
    smooth = np.linspace(0, 255, 32 * 32).reshape(32, 32).astype(np.uint8)
    path = save(tmp_path / "a.jpg", smooth, quality=95)
    np.testing.assert_allclose(one(path)[0], smooth / 255, atol=0.03)


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_16_bits_are_neither_clipped_nor_cut_to_8(tmp_path, suffix):
    image = one(save(tmp_path / f"a.{suffix}", DEEP))
    np.testing.assert_allclose(image, DEEP[None] / 65535, atol=1e-7)


def test_pgm_of_12_bits_and_in_ascii(tmp_path):
    path = tmp_path / "a.pgm"
    values = DEEP % 4096
    path.write_bytes(b"P5 20 12 4095\n" + values.astype(">u2").tobytes())
    np.testing.assert_allclose(one(path)[0], values / 4095, atol=2e-5)
    path.write_text("P2\n# made by hand\n20 12\n255\n" + " ".join(map(str, GREY.ravel())))
    np.testing.assert_allclose(one(path)[0], GREY / 255, atol=1e-6)


@pytest.mark.parametrize("suffix", ["png", "tif", "pbm", "bmp"])
def test_1_bit(tmp_path, suffix):
    bits = GREY % 3 == 0
    path = save(tmp_path / f"a.{suffix}", bits.astype(np.uint8) * 255, mode="1")
    assert (one(path)[0] == bits).all()


def png16(channels, colour_type, filters=(0, 1, 2, 3, 4)):
    """Write a PNG of 16 bits by the specification, a filter type a row."""
    height, width, count = channels.shape
    step = 2 * count
    rows = channels.astype(">u2").tobytes()
    rows = np.frombuffer(rows, np.uint8).reshape(height, width * step).astype(int)
    out = bytearray()
    for y in range(height):
        kind = filters[y % len(filters)]
        out.append(kind)
        for i in range(width * step):
            a = rows[y, i - step] if i >= step else 0
            b = rows[y - 1, i] if y else 0
            c = rows[y - 1, i - step] if y and i >= step else 0
            p = a + b - c
            near = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            out.append((rows[y, i] - (0, a, b, (a + b) // 2, near)[kind]) % 256)

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    packed = zlib.compress(bytes(out))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (
            chunk(b"IHDR", header),
            chunk(b"IDAT", packed[:50]),
            chunk(b"IDAT", packed[50:]),
            chunk(b"IEND", b""),
        )
    )


def test_colour_png_of_16_bits_keeps_all_of_them(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 65536, (13, 9, 4)).astype(np.uint16)
    path = tmp_path / "a.png"
    path.write_bytes(png16(values[..., :3], 2))
    np.testing.assert_allclose(one(path), values[..., :3].transpose(2, 0, 1) / 65535, atol=1e-6)
    path.write_bytes(png16(values[..., :2], 4))
    alpha = values[..., 1] / 65535
    np.testing.assert_allclose(one(path)[0], values[..., 0] / 65535 * alpha, atol=1e-6)
    path.write_bytes(png16(values, 6))
    wanted = values[..., :3] / 65535 * (values[..., 3:] / 65535)
    np.testing.assert_allclose(one(path), wanted.transpose(2, 0, 1), atol=1e-6)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
def test_exif_rotation(tmp_path, orientation, suffix):
    upright = np.zeros((16, 24), np.uint8)
    upright[:4, :8] = 255  # bright at the upper left, longer than high
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[274] = orientation
    path = save(tmp_path / f"a.{suffix}", np.ascontiguousarray(stored), exif=exif)
    np.testing.assert_allclose(one(path)[0], upright / 255, atol=0.02)


def test_palette_and_transparency(tmp_path):
    indices = GREY // 64
    colours = np.array([(0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)], np.uint8)
    indexed = Image.fromarray(indices).convert("P")
    indexed.putpalette(colours.tobytes())
    indexed.save(tmp_path / "a.png")
    np.testing.assert_array_equal(
        one(tmp_path / "a.png"), colours[indices].transpose(2, 0, 1) / 255
    )
    indexed.save(tmp_path / "b.png", transparency=1)
    assert not one(tmp_path / "b.png")[:, indices == 1].any()


def test_alpha_lies_over_black(tmp_path):
    alpha = np.full_like(GREY, 255)
    path = save(tmp_path / "a.png", np.dstack([RGB, alpha]))
    np.testing.assert_allclose(one(path), RGB.transpose(2, 0, 1) / 255, atol=1e-6)
    alpha[:, 10:] = 0
    assert not one(save(tmp_path / "b.png", np.dstack([RGB, alpha])))[:, :, 10:].any()
    grey = Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(alpha)])
    grey.save(tmp_path / "c.png")
    np.testing.assert_allclose(one(tmp_path / "c.png")[0], GREY * (alpha // 255) / 255, atol=1e-6)


def test_cmyk_becomes_rgb(tmp_path):
    path = tmp_path / "a.tif"
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(path)
    assert (one(path).mean((1, 2)) == [1, 0, 0]).all()


def tiff(array, bits, sample_format, photometric=1):
    """Return an uncompressed grey TIFF by the specification."""
    height, width = array.shape
    data = array.tobytes()
    entries = [
        (256, width), (257, height), (258, bits), (259, 1), (262, photometric), (273, 8),
        (277, 1), (278, height), (279, len(data)), (339, sample_format),
    ]  # fmt: skip
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    start = struct.pack("<I", 8 + len(data))
    return b"II*\0" + start + data + struct.pack("<H", len(entries)) + directory + bytes(4)


@pytest.mark.parametrize(
    ("dtype", "sample_format", "wanted"),
    [
        ("<u2", 1, lambda a: a / 65535),
        ("<i2", 2, lambda a: a.astype("<i2").astype(float)),
        ("<u4", 1, lambda a: a / (2**32 - 1)),
        ("<f4", 3, lambda a: a.astype(float)),
    ],
)
def test_tiff_types(tmp_path, dtype, sample_format, wanted):
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(DEEP.astype(dtype), 8 * np.dtype(dtype).itemsize, sample_format))
    np.testing.assert_allclose(one(path)[0], wanted(DEEP), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("dtype", ["u1", "<u2"])
def test_white_is_zero_is_inverted(tmp_path, dtype):
    values = DEEP.astype(dtype)
    bits = 8 * values.itemsize
    (tmp_path / "a.tif").write_bytes(tiff(values, bits, 1, photometric=0))
    np.testing.assert_allclose(one(tmp_path / "a.tif")[0], 1 - values / (2**bits - 1), atol=1e-6)


def test_pages_of_a_tiff_are_frames(tmp_path):
    path = tmp_path / "a.tif"
    pages = [Image.fromarray(GREY), Image.fromarray(GREY[::-1].copy())]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    samples = read_image(path)
    assert [sample.path for sample in samples] == [f"{path}#0", f"{path}#1"]
    np.testing.assert_allclose(samples[1].image[0], GREY[::-1] / 255, atol=1e-6)
    assert read_header(path).frames == 2


def test_the_content_decides_not_the_suffix(tmp_path):
    path = save(tmp_path / "a.jpg", GREY, format="PNG")
    assert (one(path)[0] == one(save(tmp_path / "b.png", GREY))[0]).all()


def test_nan_in_a_float_tiff_says_where(tmp_path):
    values = np.zeros((12, 20), np.float32)
    values[7, 3] = np.nan
    with pytest.raises(DataError, match=r"1 of 240 pixels are NaN.*row 7, column 3"):
        read_image(save(tmp_path / "a.tif", values))


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (7, 8)])
def test_a_tiny_image_is_an_error(tmp_path, size):
    path = save(tmp_path / "a.png", np.zeros(size, np.uint8))
    with pytest.raises(DataError, match=rf"only {size[1]} x {size[0]} pixels"):
        read_image(path)


def test_sizes_are_capped_before_unpacking(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", np.zeros((2000, 2000), np.uint8))

    def fail(*_):
        raise AssertionError("unpacked")

    monkeypatch.setattr(raster, "_decode", fail)
    monkeypatch.setattr(limits, "FREE_UNPACKED_BYTES", 2**20)
    with pytest.raises(DataError, match="MAX_UNPACK_RATIO"):
        read_image(path)
    monkeypatch.setattr(limits, "MAX_IMAGE_VALUES", 2**20)
    for read in (read_image, read_header):
        with pytest.raises(DataError, match="MAX_IMAGE_VALUES"):
            read(path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp", "pgm"])
def test_a_truncated_file_is_an_error(tmp_path, suffix):
    rng = np.random.default_rng(0)
    path = save(tmp_path / f"a.{suffix}", rng.integers(0, 255, (32, 32)).astype(np.uint8))
    data = path.read_bytes()
    for length in (1, 20, len(data) // 2, len(data) - 40):
        path.write_bytes(data[:length])
        with pytest.raises(DataError, match=path.name):
            read_image(path)


def test_what_is_no_image(tmp_path):
    text = tmp_path / "a.png"
    text.write_text("<html>404</html>")
    with pytest.raises(DataError, match="no format that nnmed reads"):
        read_image(text)
    empty = tmp_path / "b.png"
    empty.touch()
    with pytest.raises(DataError, match="empty"):
        read_image(empty)
    with pytest.raises(DataError, match="does not exist"):
        read_image(tmp_path / "c.png")
    with pytest.raises(DataError, match="not a plain file"):
        read_image(tmp_path)
    with pytest.raises(DataError):
        read_image("nul\0byte.png")
    assert detect_format(text) is None
