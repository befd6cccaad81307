"""``.npy`` and ``.npz``: shapes, values, and files that must not be trusted."""

from __future__ import annotations

import io
import pickle
import zipfile

import numpy as np
import pytest

from nnmed.data import limits
from nnmed.data.readers import read_header, read_image
from nnmed.errors import DataError


def saved(path, array, **options):
    np.save(path, array, **options)
    return path


@pytest.mark.parametrize(
    ("shape", "frames", "channels"),
    [
        ((12, 20), 1, 1),
        ((12, 20, 3), 1, 3),
        ((3, 12, 20), 1, 3),
        ((5, 12, 20), 5, 1),
        ((5, 12, 20, 3), 5, 3),
        ((5, 3, 12, 20), 5, 3),
        ((5, 12, 20, 1), 5, 1),
    ],
)
def test_shapes(tmp_path, shape, frames, channels):
    array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    path = saved(tmp_path / "a.npy", array)
    samples = read_image(path)
    assert [sample.image.shape for sample in samples] == [(channels, 12, 20)] * frames
    header = read_header(path)
    assert (header.frames, header.channels, header.rows, header.columns) == (
        frames, channels, 12, 20,
    )  # fmt: skip
    # Every value arrives, whatever the layout.
    total = sum(sample.image.sum(dtype=float) for sample in samples)
    assert total == pytest.approx(array.sum(dtype=float))


def test_channels_last_are_moved(tmp_path):
    array = np.random.default_rng(0).integers(0, 255, (12, 20, 3)).astype(np.uint8)
    (sample,) = read_image(saved(tmp_path / "a.npy", array))
    np.testing.assert_allclose(sample.image, array.transpose(2, 0, 1) / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "scale"),
    [
        ("?", 1),
        ("u1", 255),
        ("u2", 65535),
        (">u2", 65535),
        ("i2", 1),
        ("i8", 1),
        ("f2", 1),
        ("f8", 1),
    ],
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_types_and_orders(tmp_path, dtype, scale, order):
    array = np.arange(240).reshape(12, 20).astype(dtype)
    (sample,) = read_image(saved(tmp_path / "a.npy", np.asarray(array, order=order)))
    assert sample.image.dtype == np.float32
    np.testing.assert_allclose(sample.image[0], array.astype(float) / scale, rtol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_what_float32_cannot_hold_says_where(tmp_path, value):
    array = np.zeros((12, 20))
    array[4, 6] = value
    with pytest.raises(DataError, match="row 4, column 6"):
        read_image(saved(tmp_path / "a.npy", array))


@pytest.mark.parametrize("shape", [(0, 9), (9,), (), (2, 3, 4, 5, 6), (9, 9, 9, 9), (0, 9, 9, 3)])
def test_shapes_that_are_no_images(tmp_path, shape):
    with pytest.raises(DataError):
        read_image(saved(tmp_path / "a.npy", np.zeros(shape)))


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("the pickle was loaded",))


def test_pickles_are_never_loaded(tmp_path):
    array = np.empty((9, 9), object)
    array[:] = Bomb()
    with pytest.raises(DataError, match="object"):
        read_image(saved(tmp_path / "a.npy", array, allow_pickle=True))
    np.savez(tmp_path / "b.npz", train_images=array)
    with pytest.raises(DataError, match="Python objects"):
        read_image(tmp_path / "b.npz")
    (tmp_path / "c.npy").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(DataError):
        read_image(tmp_path / "c.npy")


@pytest.mark.parametrize("dtype", ["c8", "U3", "M8[s]", "V4"])
def test_other_types_are_errors(tmp_path, dtype):
    with pytest.raises(DataError):
        read_image(saved(tmp_path / "a.npy", np.zeros((9, 9), dtype)))


def test_a_header_that_claims_more_than_the_file_has(tmp_path):
    buffer = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": (11000, 11000)}
    np.lib.format.write_array_header_1_0(buffer, header)
    path = tmp_path / "a.npy"
    path.write_bytes(buffer.getvalue() + bytes(100))
    with pytest.raises(DataError, match="cut off"):
        read_image(path)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy", buffer.getvalue() + bytes(100))
    with pytest.raises(DataError, match="cut off"):
        read_image(tmp_path / "a.npz")


def test_a_zip_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "FREE_UNPACKED_BYTES", 2**20)
    np.savez_compressed(tmp_path / "a.npz", train_images=np.zeros((400, 100, 100), np.uint8))
    with pytest.raises(DataError, match="MAX_UNPACK_RATIO"):
        read_image(tmp_path / "a.npz")


def test_npz_images(tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (4, 12, 20)).astype(np.uint8)
    np.savez_compressed(tmp_path / "a.npz", images=images)
    samples = read_image(tmp_path / "a.npz")
    np.testing.assert_allclose([sample.image[0] for sample in samples], images / 255, atol=1e-6)


def test_damaged_archives(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, images=np.random.default_rng(0).random((12, 20)))
    data = path.read_bytes()
    for damaged in (data[:200], data[:-10], data[:300] + b"junk" + data[304:], b"PK\x03\x04"):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=path.name):
            read_image(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no arrays")
    with pytest.raises(DataError, match="no arrays"):
        read_image(path)
