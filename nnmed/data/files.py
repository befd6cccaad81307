"""Finding image files: walking a folder, telling images from the rest, names in tables."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from nnmed.data.limits import data_error
from nnmed.data.readers import IMAGE_SUFFIXES, detect_format
from nnmed.errors import DataError

# What unpackers, file managers and CD writers leave behind.
_JUNK = frozenset(("thumbs.db", "desktop.ini", "dicomdir", "__macosx"))
# Suffixes whose content is not looked at: never an image.
_OTHER = frozenset(
    (".txt", ".md", ".csv", ".tsv", ".json", ".xml", ".html", ".pdf", ".zip", ".gz", ".py",
     ".xls", ".xlsx", ".doc", ".docx", ".log", ".yaml", ".yml", ".mat", ".ini")
)  # fmt: skip
_MASK_NAME = re.compile(
    r"(?P<base>.+?)[ _-]+(?P<word>masks?|seg(?:mentation)?|gt|ground[ _-]?truth)"
    r"(?:[ _-]*\d+)?",
    re.IGNORECASE,
)


def is_hidden(name: str) -> bool:
    """Tell whether a file or folder is nobody's data: ``.DS_Store``, ``Thumbs.db``, ..."""
    return name.startswith(".") or name.lower() in _JUNK


def walk(folder: Path) -> list[Path]:
    """Return all files below `folder` that are not hidden, sorted, folders included in order.

    Links to folders are not followed, so a circle of links does no harm.

    Raises
    ------
    DataError
        If a folder cannot be read.
    """

    def refuse(error):
        raise data_error(
            error.filename, f"cannot be read ({error.strerror})", "check its rights"
        ) from error

    result = []
    for base, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted((name for name in folders if not is_hidden(name)), key=natural)
        names = sorted((name for name in files if not is_hidden(name)), key=natural)
        result += [Path(base, name) for name in names]
    return result


def natural(name: str) -> tuple:
    """Return a key that sorts ``benign (10)`` behind ``benign (9)``."""
    parts = re.split(r"(\d+)", name)
    return tuple((int(p), "") if p.isdecimal() else (-1, p.casefold()) for p in parts), name


@dataclass
class Found:
    """The images of a folder, the masks that lie beside them, and what was left out."""

    images: list[Path] = field(default_factory=list)
    masks: dict[Path, list[Path]] = field(default_factory=dict)
    orphans: list[Path] = field(default_factory=list)
    skipped: Counter = field(default_factory=Counter)


def find_images(files: list[Path]) -> Found:
    """Sort files into images, masks of images (``a_mask.png`` beside ``a.png``), and others.

    Files with a known suffix count as images without a look inside, so that a damaged one
    is reported and not passed over. Others count if they are DICOM by content.
    """
    found = Found()
    candidates = []
    for path in files:
        if path.suffix.lower() in IMAGE_SUFFIXES or _is_unnamed_dicom(path):
            candidates.append(path)
        else:
            found.skipped[path.suffix.lower() or path.name] += 1
    stems = defaultdict(list)
    for path in candidates:
        stems[path.parent, path.stem.casefold()].append(path)
    for path in candidates:
        match = _MASK_NAME.fullmatch(path.stem)
        bases = stems.get((path.parent, match["base"].casefold())) if match else None
        if bases:
            found.masks.setdefault(bases[0], []).append(path)
        elif match and match["word"].lower().startswith("mask"):
            found.orphans.append(path)
        else:
            found.images.append(path)
    return found


def _is_unnamed_dicom(path: Path) -> bool:
    if path.suffix.lower() in _OTHER:
        return False
    try:
        return detect_format(path) == "dicom"
    except DataError:
        return False


class FileFinder:
    """Finds the files that a table names.

    A name is taken relative to the table's folder or the data folder; it may lack its
    suffix, use backslashes, differ in case, or come from another machine: then the one file
    below the data folder is taken whose path agrees with most of its end.
    """

    def __init__(self, root: Path, bases: list[Path]):
        self._root = root
        self._bases = list(dict.fromkeys(bases))
        self._by_name: dict[str, list[Path]] | None = None

    def find(self, name: str) -> Path:
        """Return the file that `name` means.

        Raises
        ------
        DataError
            If there is none, or more than one.
        """
        name = name.replace("\\", "/")
        for base in self._bases:
            path = base / name
            try:
                if path.is_file():
                    return path
            except (OSError, ValueError):
                break
        parts = [part for part in PurePosixPath(name.casefold()).parts if part not in ("/", "..")]
        candidates = self._index().get(parts[-1], []) if parts else []
        best = self._best(candidates, parts)
        if not best:
            raise DataError(f"the file {name!r} does not exist")
        if len(best) > 1:
            shown = " or ".join(self._short(path) for path in best[:2])
            raise DataError(f"{name!r} could mean {shown}: write the path in full")
        return best[0]

    def _short(self, path: Path) -> str:
        return path.relative_to(self._root).as_posix()

    def _best(self, candidates: list[Path], parts: list[str]) -> list[Path]:
        """Return the candidates whose folders agree with most of the end of the name."""

        def agreement(path: Path) -> int:
            folders = path.relative_to(self._root).as_posix().casefold().split("/")[:-1]
            count = 0
            while count < min(len(folders), len(parts) - 1):
                if folders[-1 - count] != parts[-2 - count]:
                    break
                count += 1
            return count

        scores = [agreement(path) for path in candidates]
        return [p for p, score in zip(candidates, scores) if score == max(scores)]

    def _index(self) -> dict[str, list[Path]]:
        """Return the files below the root by name, and images also by name without suffix."""
        if self._by_name is None:
            self._by_name = defaultdict(list)
            for path in walk(self._root):
                self._by_name[path.name.casefold()].append(path)
                if path.suffix.lower() in IMAGE_SUFFIXES:
                    self._by_name[path.stem.casefold()].append(path)
        return self._by_name
