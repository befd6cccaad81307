"""Weights as safetensors files: written whole or not at all, read with every check.

The format (huggingface.co/docs/safetensors): eight bytes with the length of a JSON header,
the header with dtype, shape and position of each array, then the arrays. Nothing in it can
run code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nnmed.autograd.tensor import Tensor
from nnmed.backend.arrays import to_device
from nnmed.backend.files import write_whole
from nnmed.errors import ModelError
from nnmed.nn.module import Module


def save_weights(module: Module, path, metadata: dict[str, str] | None = None) -> None:
    """Write the module's ``state_dict`` to a safetensors file, which PyTorch can read.

    Parameters
    ----------
    module : Module
    path : str or Path
    metadata : dict from str to str, optional
        Text to store in the header.

    Raises
    ------
    ModelError
        If the file cannot be written; a file that was there before is unchanged then.
    """
    save_arrays(module.state_dict(), path, metadata)


def load_weights(module: Module, path, strict: bool = True) -> dict[str, str]:
    """Read a safetensors file, of nnmed or of PyTorch, into the module.

    Parameters
    ----------
    module : Module
    path : str or Path
    strict : bool
        As in :meth:`Module.load_state_dict`.

    Returns
    -------
    dict from str to str
        The metadata in the file's header.

    Raises
    ------
    ModelError
        If the file cannot be read, is damaged or does not fit; the module is unchanged then.
    """
    arrays, metadata = load_arrays(path)
    try:
        module.load_state_dict(arrays, strict)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    return metadata


def save_arrays(
    arrays: Mapping[str, np.ndarray | Tensor], path, metadata: dict[str, str] | None = None
) -> None:
    """Write named arrays to a safetensors file, whole or not at all.

    The file is put in its place in one step and synced together with its folder.

    Raises
    ------
    ModelError
        If an array's dtype has no place in the format, or the file cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save

    try:
        data = save({name: _dense(value) for name, value in arrays.items()}, metadata)
    except (SafetensorError, TypeError, ValueError, KeyError) as error:
        raise ModelError(f"{path}: cannot be stored as safetensors: {error}") from error
    try:
        write_whole(path, data)
    except OSError as error:
        raise ModelError(f"{path}: cannot be written: {error}") from error


def load_arrays(path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the arrays and the metadata of a safetensors file. The arrays are read-only.

    Raises
    ------
    ModelError
        If the file cannot be read, is no safetensors file, is truncated or damaged, or holds
        a dtype that NumPy lacks.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        data = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read: {error}") from error
    try:
        arrays = load(data)
        metadata = _metadata(data)
    except (SafetensorError, ValueError, TypeError, OverflowError) as error:
        raise ModelError(
            f"{path}: not a whole safetensors file ({error}): it may be truncated, or be of "
            "another format; get or write it again"
        ) from error
    except KeyError as error:
        raise ModelError(
            f"{path}: holds the dtype {error}, which NumPy lacks: convert it to float32 with "
            "the program that wrote it"
        ) from error
    for array in arrays.values():
        array.flags.writeable = False
    return arrays, metadata


def _dense(value) -> np.ndarray:
    """Return `value` as a dense row-major array.

    The safetensors writer takes the memory as it lies, and so scrambles a transposed or a
    sliced array. ``ascontiguousarray`` makes a 0-d array 1-d, hence the reshape.
    """
    array = value._array if isinstance(value, Tensor) else value
    array = to_device(array, "cpu")
    return np.ascontiguousarray(array).reshape(array.shape)


def _metadata(data: bytes) -> dict[str, str]:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]).get("__metadata__") or {}
