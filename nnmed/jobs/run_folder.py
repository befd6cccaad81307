"""The folder into which a run writes."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Sequence
from pathlib import Path

from nnmed.backend.files import write_whole
from nnmed.errors import DataError, UsageError
from nnmed.metrics import to_json

CONFIG = "config.json"


class RunFolder:
    """A folder of results.

    Parameters
    ----------
    path : str, Path or None
        None makes a new folder ``runs/NAME-1``, ``runs/NAME-2``, ...
    name : str
        Name of the job.
    """

    def __init__(self, path, name: str):
        self.path = _new_path(Path("runs"), name) if path is None else Path(path)

    def prepare(self, overwrite: bool = False, resume: bool = False) -> None:
        """Make the folder.

        Raises
        ------
        UsageError
            If it holds something already, and neither `overwrite` nor `resume` is given, or
            what it holds was not written by nnmed.
        DataError
            If it cannot be made.
        """
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"--out {self.path} is a file: name a folder")
        if self.path.is_dir() and any(self.path.iterdir()) and not resume:
            if not overwrite:
                raise UsageError(
                    f"--out {self.path} holds files already: name another folder, go on with "
                    "--resume, or replace them with --overwrite"
                )
            self._clear()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{self.path}: cannot be made: {error.strerror}") from error

    def _clear(self) -> None:
        if not (self.path / CONFIG).is_file():
            raise UsageError(
                f"--overwrite: {self.path} holds files but no {CONFIG}, so it is no run of nnmed: "
                "name another folder"
            )
        shutil.rmtree(self.path)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def write_json(self, name: str, value) -> None:
        """Write strict JSON, whole or not at all; NaN becomes null."""
        self._write(name, to_json(value) + "\n")

    def write_csv(self, name: str, columns: Sequence[str], rows) -> None:
        """Write a table, whole or not at all."""
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow(columns)
        writer.writerows(rows)
        self._write(name, text.getvalue())

    def _write(self, name, text) -> None:
        try:
            write_whole(self.path / name, text.encode())
        except OSError as error:
            raise DataError(f"{self.path / name}: cannot be written: {error.strerror}") from error


def _new_path(parent: Path, name: str) -> Path:
    number = 1
    while (parent / f"{name}-{number}").exists():
        number += 1
    return parent / f"{name}-{number}"
