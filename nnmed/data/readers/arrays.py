"""NumPy's ``.npy``, and ``.npz`` as MedMNIST uses it, never through pickle.

The first axis of an ``.npz`` array called ``...images`` counts images. Otherwise
an array is taken as images by its shape: (H, W); (H, W, C) with C <= 4 or else (C, H, W)
with C <= 4; any other three axes are (N, H, W); four axes are (N, H, W, C) or else
(N, C, H, W) with C <= 4. Booleans are 0 and 1; uint8 and uint16 are divided by 255 and
65535; all other numbers are taken as they are.
"""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import numpy as np
from numpy.lib import format as npy_format

from nnmed.data.limits import check_frame, check_unpacked, data_error
from nnmed.data.readers.common import Header, choose_frames, finished_image, frame_name
from nnmed.data.sample import Sample
from nnmed.errors import DataError

MAX_CHANNELS = 4
_SCALE = {"bool": 1, "uint8": 255, "uint16": 65535}


def read_header(path: Path) -> Header:
    """Return the header of an array file; see :func:`nnmed.data.readers.read_header`."""
    if zipfile.is_zipfile(path):
        images = _all_images(path)
        return Header("npz", *images.shape)
    with path.open("rb") as file:
        shape, _, dtype = _array_header(path, file)
    _check_dtype(path, dtype)
    return Header("npy", *_layout(path, shape)[0])


def read_frames(path: Path, frame: int | None) -> list[Sample]:
    """Return one image, or all; see :func:`nnmed.data.readers.read_image`."""
    images = _all_images(path) if zipfile.is_zipfile(path) else as_images(path, _read_npy(path))
    count = len(images)
    return [
        Sample(image_values(path, images[index]), path=frame_name(path, index, count))
        for index in choose_frames(path, frame, count)
    ]


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Read all arrays of an ``.npz`` file.

    Raises
    ------
    DataError
        If it holds Python objects, unpacks to more than is plausible, or is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if m.filename.endswith(".npy")]
            total = sum(member.file_size for member in members)
            check_unpacked(path, total, path.stat().st_size)
            arrays = {}
            for member in members:
                with archive.open(member) as file:
                    name = member.filename[: -len(".npy")]
                    arrays[name] = _read_array(path, file, member.file_size)
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise data_error(
            path, f"is damaged ({error})", "copy or download it again from its source"
        ) from error
    if not arrays:
        raise data_error(path, "holds no arrays", "save it with numpy.savez")
    return arrays


def as_images(path, array: np.ndarray, stack: bool = False) -> np.ndarray:
    """Return a view of `array` as (N, C, H, W), by the rule that the module states.

    With `stack` the first axis is known to count images.
    """
    _check_dtype(path, array.dtype)
    if stack and array.ndim == 3:
        array = array[..., None]
    shape, channels_last = _layout(path, array.shape)
    if channels_last:
        count, channels, rows, columns = shape
        return array.reshape(count, rows, columns, channels).transpose(0, 3, 1, 2)
    return array.reshape(shape)


def image_values(path, pixels: np.ndarray) -> np.ndarray:
    """Return one (C, H, W) image as finite float32 values, unsigned ones scaled to [0, 1]."""
    largest = _SCALE.get(pixels.dtype.name)
    image = finished_image(path, pixels)
    return image if largest is None else image * np.float32(1 / largest)


def _all_images(path: Path) -> np.ndarray:
    """Return the images of all arrays of an ``.npz`` but the labels, one after another."""
    arrays = read_npz(path)
    images = [
        as_images(path, array, stack=name.endswith("images"))
        for name, array in sorted(arrays.items())
        if "label" not in name
    ]
    if not images or len({(a.shape[1:], a.dtype) for a in images}) != 1:
        raise data_error(
            path,
            f"its arrays ({', '.join(sorted(arrays))}) are not images of one size and type",
            "save one array of images, or use MedMNIST's names (train_images, train_labels, ...)",
        )
    return np.concatenate(images)


def _read_npy(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        return _read_array(path, file, path.stat().st_size)


def _read_array(path: Path, file, size: int) -> np.ndarray:
    """Read one array of `size` bytes, header included."""
    shape, fortran, dtype = _array_header(path, file)
    if dtype.hasobject:
        raise data_error(
            path,
            "holds Python objects, which could run code when read",
            "save plain numbers: numpy.save(file, array, allow_pickle=False)",
        )
    expected = math.prod(shape) * dtype.itemsize
    if expected > size:
        raise data_error(
            path,
            f"is cut off: shape {shape} of {dtype} needs {expected} bytes, there are {size}",
            "copy it again from its source",
        )
    data = file.read(expected)
    if len(data) < expected:
        raise data_error(path, "is cut off", "copy it again from its source")
    array = np.frombuffer(data, dtype)
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)


def _array_header(path: Path, file) -> tuple[tuple[int, ...], bool, np.dtype]:
    try:
        version = npy_format.read_magic(file)
        read = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}
        if version not in read:
            raise ValueError(f"version {version} of the format is not read")
        shape, fortran, dtype = read[version](file)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise data_error(
            path, f"has a damaged header ({error})", "save it again with numpy.save"
        ) from error
    if min(shape, default=0) < 0:
        raise data_error(path, f"claims shape {shape}", "save it again with numpy.save")
    return shape, fortran, dtype


def _check_dtype(path, dtype: np.dtype) -> None:
    if dtype.kind not in "buif":
        raise data_error(path, f"holds {dtype}, not numbers", "save integers or floats")


def _layout(path, shape: tuple[int, ...]) -> tuple[tuple[int, int, int, int], bool]:
    """Return the shape as (N, C, H, W), and whether the channels come last in the array."""
    last = len(shape) >= 3 and shape[-1] <= MAX_CHANNELS
    if len(shape) == 2:
        result = (1, 1, *shape)
    elif len(shape) == 3 and last:
        result = (1, shape[2], *shape[:2])
    elif len(shape) == 3:
        result = (1, *shape) if shape[0] <= MAX_CHANNELS else (shape[0], 1, *shape[1:])
    elif len(shape) == 4 and last:
        result = (shape[0], shape[3], *shape[1:3])
    elif len(shape) == 4 and shape[1] <= MAX_CHANNELS:
        result = shape
    else:
        raise data_error(
            path,
            f"an array of shape {shape} is not one image or a stack of images",
            "save it as (H, W), (H, W, C), (N, H, W) or (N, H, W, C) with at most "
            f"{MAX_CHANNELS} channels",
        )
    check_frame(path, *result[1:])
    if 0 in result:
        raise data_error(path, f"an array of shape {shape} holds no images", "save it again")
    return result, last
