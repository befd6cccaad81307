"""Limits on sizes, checked before anything is unpacked, and the one shape of a DataError.

A file of a few hundred kilobytes can unpack to gigabytes (deflated DICOM, PNG, zip
members), and a header can claim any size. Every reader calls :func:`check_unpacked` with
what the header claims before it allocates.
"""

from __future__ import annotations

from pathlib import Path

from nnmed.errors import DataError

MAX_FILE_BYTES = 4 * 2**30
"""Largest image file that is opened."""

MAX_IMAGE_VALUES = 2**27
"""Largest channels x rows x columns of one frame: 512 MiB as float32."""

MAX_FRAMES = 100_000
"""Most frames, pages or images in one file."""

MAX_UNPACKED_BYTES = 4 * 2**30
"""Most bytes that one file may unpack to."""

FREE_UNPACKED_BYTES = 64 * 2**20
"""Up to this size any compression ratio is accepted: a blank image packs very well."""

MAX_UNPACK_RATIO = 100
"""Beyond FREE_UNPACKED_BYTES, the largest accepted ratio of unpacked to packed bytes.
Real images stay under 20, masks seldom reach 100, and a bomb has about 1000."""

MAX_TABLE_BYTES = 2**28
"""Largest label table."""

MIN_SIDE = 8
"""Fewest rows and columns of an image: below, nothing can be seen or resized sensibly."""


def data_error(path, reason: str, remedy: str) -> DataError:
    """Return the DataError for a file: which file, why, and what to do."""
    return DataError(f"{path}: {reason}; {remedy}")


def check_frame(path, channels: int, rows: int, columns: int) -> None:
    """Raise DataError unless one frame has a size that makes sense."""
    size = f"{columns} x {rows} pixels"
    if rows < MIN_SIDE or columns < MIN_SIDE:
        raise data_error(
            path,
            f"the image has only {size}",
            f"remove it or replace it by one of at least {MIN_SIDE} x {MIN_SIDE}",
        )
    if channels * rows * columns > MAX_IMAGE_VALUES:
        raise data_error(
            path,
            f"the header claims {size} in {channels} channels, more than "
            f"{MAX_IMAGE_VALUES} values (MAX_IMAGE_VALUES)",
            "cut it into tiles or make it smaller first",
        )


def check_unpacked(path, unpacked: int, packed: int, what: str = "the file") -> None:
    """Raise DataError if `packed` bytes would unpack to more than is plausible."""
    if unpacked > unpacked_limit(packed):
        raise data_error(
            path,
            f"{what} would unpack from {packed} to {unpacked} bytes, which no real image does "
            "(MAX_UNPACKED_BYTES, MAX_UNPACK_RATIO)",
            "check where it comes from, or store it uncompressed",
        )


def unpacked_limit(packed: int) -> int:
    """Return how many bytes `packed` bytes may unpack to."""
    return min(MAX_UNPACKED_BYTES, max(FREE_UNPACKED_BYTES, MAX_UNPACK_RATIO * packed))


def check_file(path: Path) -> int:
    """Return the size of the file in bytes.

    Raises
    ------
    DataError
        If the file is missing, unreadable, empty, not a plain file, or too large.
    """
    try:
        found = path.is_file()
        size = path.stat().st_size if found else 0
    except (OSError, ValueError) as error:
        raise data_error(path, f"cannot be looked up ({error})", "check the path") from error
    if not found:
        reason = "is not a plain file" if path.exists() else "does not exist"
        raise data_error(path, reason, "check the path")
    if size == 0:
        raise data_error(path, "the file is empty", "copy it again from its source")
    if size > MAX_FILE_BYTES:
        raise data_error(
            path,
            f"the file has {size} bytes, more than {MAX_FILE_BYTES} (MAX_FILE_BYTES)",
            "split it into smaller files",
        )
    return size
