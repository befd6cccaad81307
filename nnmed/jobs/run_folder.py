"""The folder into which a run writes."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from nnmed.backend.files import write_whole
from nnmed.errors import DataError, UsageError
from nnmed.metrics import to_json

CONFIG = "config.json"


class RunFolder:
    """A folder of results, which one run at a time may write.

    Nothing is made, changed or removed before :meth:`open`, so that a run whose data turn
    out to be bad leaves an earlier one as it was.

    Parameters
    ----------
    path : str, Path or None
        None makes a new folder ``runs/NAME-1``, ``runs/NAME-2``, ...
    name : str
        Name of the job.
    overwrite, resume : bool
        Replace an earlier run there, or go on with it.
    sources : sequence of (str, path)
        What the run reads: flag and path. Results may lie neither in a source, where their
        figures would be taken for images next time, nor around one that is to be kept.

    Raises
    ------
    UsageError
        If the folder holds something already, and neither `overwrite` nor `resume` is
        given, or what it holds was not written by nnmed; if it lies inside of a source.
    """

    def __init__(self, path, name: str, overwrite=False, resume=False, sources=()):
        self._new = path is None
        self.path = Path("runs", name) if path is None else Path(path)
        self._overwrite, self._resume = overwrite, resume
        self._handle: int | None = None
        self._check()
        self._keep_apart(sources)

    def open(self, description: dict) -> None:
        """Make the folder, remove an earlier run from it where told, and keep others out.

        `description` becomes its ``config.json``, unless a run goes on that has one.

        Raises
        ------
        UsageError
            If another run is writing there, or did so in the meantime.
        DataError
            If it cannot be made, cleared or written.
        """
        try:
            if self._new:
                self.path = _make_new(self.path)
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock()
            self._check()
            _remove(_leftovers(self.path))
            if self._overwrite:
                _remove(self._entries())
        except OSError as error:
            raise DataError(f"{error.filename}: cannot be used: {error.strerror}") from error
        if not (self.path / CONFIG).is_file():
            self.write_json(CONFIG, description)

    def close(self) -> None:
        """Let other runs write here."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def config(self) -> dict:
        """Return what ``config.json`` holds; an empty dict where there is none.

        Raises
        ------
        DataError
            If it is damaged.
        """
        path = self.path / CONFIG
        try:
            return json.loads(path.read_bytes()) if path.is_file() else {}
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: is damaged ({error}); start again in a new folder") from error

    def _check(self) -> None:
        if self._new:
            return
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"--out {self.path} is a file: name a folder")
        if not self._entries():
            return
        if not (self._overwrite or self._resume):
            raise UsageError(
                f"--out {self.path} holds files already: name another folder, go on with "
                "--resume, or replace them with --overwrite"
            )
        if not (self.path / CONFIG).is_file():
            flag = "--overwrite" if self._overwrite else "--resume"
            raise UsageError(
                f"{flag}: {self.path} holds files but no {CONFIG}, so it is no run of nnmed: "
                "name another folder"
            )

    def _keep_apart(self, sources) -> None:
        out = self.path.resolve()
        for flag, source in sources:
            source = Path(source).resolve()
            if source.is_dir() and out.is_relative_to(source):
                raise UsageError(
                    f"the folder of results {self.path} lies inside of {flag} {source}: its "
                    "figures would be taken for images next time; name one outside with --out"
                )
            if self._overwrite and source.is_relative_to(out):
                raise UsageError(f"--overwrite would remove {flag} {source}: name another --out")

    def _entries(self) -> list[Path]:
        """Return what lies in the folder, its ``config.json`` last, and no leftovers."""
        if not self.path.is_dir():
            return []
        leftovers = set(_leftovers(self.path))
        found = [path for path in self.path.iterdir() if path not in leftovers]
        return sorted(found, key=lambda path: path.name == CONFIG)

    def _lock(self) -> None:
        """Lock the folder until the process ends, however it ends."""
        try:
            import fcntl
        except ImportError:  # Windows cannot lock a folder
            return
        self._handle = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise UsageError(
                f"another run is writing to {self.path}: name another folder with --out"
            ) from None
        except OSError:
            pass  # a file system without locks

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
            # The name of a file need not be text: bytes that are none become \udc80 to \udcff.
            write_whole(self.path / name, text.encode(errors="backslashreplace"))
        except OSError as error:
            raise DataError(f"{self.path / name}: cannot be written: {error.strerror}") from error


def _leftovers(folder: Path) -> list[Path]:
    """Return the files that :func:`write_whole` left behind when its process was killed."""
    return list(folder.glob(".*.tmp"))


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _make_new(stem: Path) -> Path:
    """Make and return the first of ``STEM-1``, ``STEM-2``, ... that does not exist."""
    number = 1
    while True:
        path = stem.with_name(f"{stem.name}-{number}")
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return path
