"""The history of a training run as a CSV file."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from nnmed.backend.files import write_whole
from nnmed.errors import DataError


def write_history(path, rows: Sequence[dict]) -> None:
    """Write one row an epoch, whole or not at all; the columns are those of the first row.

    Raises
    ------
    DataError
        If the file cannot be written.
    """
    text = io.StringIO(newline="")
    if rows:
        writer = csv.DictWriter(text, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    try:
        write_whole(path, text.getvalue().encode())
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from error
