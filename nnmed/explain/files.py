"""Writing what this room makes."""

from __future__ import annotations

from pathlib import Path

from nnmed.backend.files import write_whole
from nnmed.errors import DataError


def write_text(path, text: str, what: str) -> None:
    """Write `text` to a file, whole or not at all.

    Raises
    ------
    DataError
        If it cannot be written; the message calls it `what`.
    """
    try:
        write_whole(Path(path), text.encode())
    except OSError as error:
        raise DataError(
            f"{path}: the {what} cannot be written: {error.strerror}; check that the folder "
            "exists, may be written to and has room"
        ) from error
