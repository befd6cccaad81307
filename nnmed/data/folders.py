"""A folder per class, as it is or inside ``train``, ``val`` and ``test``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from nnmed.data.files import Found, find_images, is_hidden, natural, walk
from nnmed.data.limits import data_error
from nnmed.data.records import Record
from nnmed.data.table_records import split_side
from nnmed.data.tables import Problems

# Folders that hold pictures about the images, not images of a class of that name.
_BESIDE = frozenset(
    ("mask", "masks", "segmentation", "segmentations", "annotation", "annotations",
     "groundtruth", "ground_truth")
)  # fmt: skip


def folder_records(root: Path) -> tuple[list[Record], list[str]]:
    """Return a record an image of the class folders below `root`, and notes for the log.

    Layouts: ``class/**/image`` or ``split/class/**/image``, either also inside one single
    folder. DICOM files are found by content, whatever their names.

    Raises
    ------
    DataError
        If there are no class folders, or one holds no image: all such folders at once.
    """
    notes: list[str] = []
    root_of_classes, folders = _descend(root)
    folders = _without_beside(folders, notes)
    if not folders:
        raise _no_classes(root)
    sides = {folder: split_side(folder.name) for folder in folders}
    if None in sides.values():
        classes = [(None, folder) for folder in folders]
    else:
        classes = [
            (side, inner)
            for folder, side in sides.items()
            for inner in _without_beside(_subfolders(folder), notes)
        ]
        if not classes:
            raise _no_classes(root)
    problems, total = Problems(root), Found()
    loose = find_images([path for path in root_of_classes.iterdir() if _is_loose(path)])
    if loose.images:
        notes.append(f"{len(loose.images)} images beside the class folders are left out")
    records: list[Record] = []
    for side, folder in classes:
        found = find_images(walk(folder))
        if not found.images:
            name = folder.relative_to(root).as_posix()
            problems.add(f"the class folder {name!r} holds no image: fill it or remove it")
        for path in found.images:
            name = path.relative_to(root).as_posix()
            masks = tuple(found.masks.get(path, ()))
            records.append(Record(path, name, (folder.name,), split=side, masks=masks))
        total.masks.update(found.masks)
        total.orphans += found.orphans
        total.skipped.update(found.skipped)
    problems.raise_if_any()
    return records, notes + _found_notes(total)


def _descend(root: Path) -> tuple[Path, list[Path]]:
    """Go down while there is nothing but one folder of folders, as archives unpack."""
    folders = _subfolders(root)
    while len(folders) == 1 and split_side(folders[0].name) is None:
        inner = _subfolders(folders[0])
        if not inner or any(_is_loose(path) and not _is_text(path) for path in root.iterdir()):
            break
        root, folders = folders[0], inner
    return root, folders


def _subfolders(folder: Path) -> list[Path]:
    try:
        entries = [path for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name)]
    except OSError as error:
        raise data_error(folder, f"cannot be read ({error})", "check its rights") from error
    return sorted(entries, key=lambda path: natural(path.name))


def _without_beside(folders: list[Path], notes: list[str]) -> list[Path]:
    beside = [folder for folder in folders if folder.name.casefold() in _BESIDE]
    if beside and len(beside) < len(folders):
        names = ", ".join(sorted({folder.name for folder in beside}))
        notes.append(f"the folder {names} is not taken as a class")
        return [folder for folder in folders if folder not in beside]
    return folders


def _is_loose(path: Path) -> bool:
    return path.is_file() and not is_hidden(path.name)


def _is_text(path: Path) -> bool:
    return path.suffix.lower() in (".txt", ".md", ".pdf", ".html")


def _no_classes(root: Path):
    return data_error(
        root,
        "there is neither a table (.csv, .tsv) nor a folder per class",
        "put the images into one folder per class, or name a table with --labels",
    )


def _found_notes(found: Found) -> list[str]:
    notes = []
    if found.masks:
        count = sum(map(len, found.masks.values()))
        notes.append(f"{count} files called like an image plus '_mask' are read as its mask")
    if found.orphans:
        notes.append(
            f"{len(found.orphans)} masks without an image are left out, such as "
            f"{found.orphans[0].name}"
        )
    if found.skipped:
        kinds: Counter = found.skipped
        shown = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(8))
        notes.append(f"files that are no images are left out: {shown}")
    return notes
