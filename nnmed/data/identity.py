"""Pseudonyms for the patients of DICOM headers.

A patient's name or id never enters a Sample, a log or a result. What does is BLAKE2b of
the id under a random key. The key is made once, with mode 0600, in the user's data
directory, so that the same patient has the same pseudonym in all of this user's runs, and
nobody without the key can find an id by hashing guesses.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import secrets
import tempfile
from pathlib import Path

KEY_BYTES = 32


def patient_pseudonym(patient_id: str) -> str:
    """Return the pseudonym of a patient id: 16 hexadecimal digits, the same in every run."""
    data = patient_id.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, key=_key(), digest_size=8).hexdigest()


def key_path() -> Path:
    """Return where the key lies: ``nnmed/patient.key`` in the user's data directory."""
    if os.name == "nt" and os.environ.get("LOCALAPPDATA"):
        base = Path(os.environ["LOCALAPPDATA"])
    else:
        # The XDG base directory specification: a relative path is to be ignored.
        base = Path(os.environ.get("XDG_DATA_HOME", ""))
        if not base.is_absolute():
            base = Path(os.path.expanduser("~")) / ".local" / "share"  # noqa: PTH111
    return base / "nnmed" / "patient.key"


@functools.lru_cache(maxsize=1)
def _key() -> bytes:
    path = key_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = _read(path)
        return key if key else _create(path)
    except OSError:
        # No data directory that can be written: a key for this process. Splits do not
        # depend on the pseudonyms, so nothing but their spelling changes between runs.
        return secrets.token_bytes(KEY_BYTES)


def _read(path: Path) -> bytes | None:
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        return None
    return key if len(key) == KEY_BYTES else None


def _create(path: Path) -> bytes:
    """Write the key whole, under a name of its own, and let the first process win."""
    handle, name = tempfile.mkstemp(dir=path.parent)  # mode 0600
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        if path.exists() and _read(path) is None:
            temporary.replace(path)  # a damaged key helps nobody
        else:
            with contextlib.suppress(FileExistsError):
                os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    key = _read(path)
    if key is None:
        raise OSError(f"{path} cannot be read back")
    return key
