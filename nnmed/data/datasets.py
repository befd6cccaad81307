"""Opening a data set, whatever its layout, and reading its images when they are asked for."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnmed.data.cache import SampleCache
from nnmed.data.files import FileFinder, is_hidden
from nnmed.data.folders import folder_records
from nnmed.data.headers import read_headers
from nnmed.data.labels import Classes, two_classes
from nnmed.data.limits import data_error
from nnmed.data.medmnist import npz_records
from nnmed.data.records import Record, display_path, load
from nnmed.data.sample import Sample
from nnmed.data.table_records import NO_LESION, find_columns, table_records
from nnmed.data.tables import TABLE_SUFFIXES, Problems, read_table
from nnmed.errors import DataError, UsageError

CACHE_BYTES = 2**30
"""Default size of a data set's cache."""


class Dataset(Sequence):
    """Images with labels, read lazily. Made by :func:`open_dataset`.

    ``dataset[i]`` is a :class:`Sample`. Its arrays are read-only; its `path` is ``names[i]``.

    Attributes
    ----------
    classes : (str, str)
        Names of class 0, negative, and class 1, positive.
    labels : int64 array of N
        0 or 1.
    groups : list of N str
        What must not be divided by a split: the group or patient that the table or the
        DICOM header gives, else the file.
    splits : list of N (str or None)
        ``"train"``, ``"val"`` or ``"test"``, or None where the data bring no split.
    names, paths : list of N str
        Path below the data folder, and path as opened; ``#frame`` follows where a file has
        several.
    label_names : list of N str
        The classes as the data name them.
    kinds : list of N str
        Of those the one that decides the label: an image with a malignant and a benign
        lesion is malignant.
    patients : list of N (str or None)
    source : str
        What was opened and how it was understood, for the log.
    notes : list of str
        What was left out or assumed, for the log.
    """

    def __init__(
        self,
        records: Sequence[Record],
        labels: Sequence[int],
        kinds: Sequence[str],
        classes: tuple[str, str],
        channels: int,
        source: str,
        notes: Sequence[str] = (),
        cache_bytes: int = CACHE_BYTES,
    ):
        self.records = list(records)
        self.labels = np.array(labels, np.int64)
        self.kinds = list(kinds)
        self.classes = classes
        self.channels = channels
        self.source = source
        self.notes = list(notes)
        self.groups = [record.group for record in self.records]
        self.splits = [record.split for record in self.records]
        self.patients = [record.patient for record in self.records]
        self.names = [record.name for record in self.records]
        self.paths = [display_path(record) for record in self.records]
        self.label_names = ["+".join(dict.fromkeys(r.labels)) for r in self.records]
        self._cache = SampleCache(cache_bytes)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        """Read sample `index`.

        Raises
        ------
        DataError
            If its file cannot be read.
        """
        index = range(len(self.records))[index]
        sample = self._cache.get(index)
        if sample is None:
            sample = load(self.records[index], int(self.labels[index]), self.channels)
            self._cache.put(index, sample)
        return sample

    def __iter__(self) -> Iterator[Sample]:
        return (self[index] for index in range(len(self)))

    def check(self) -> None:
        """Read every image, mask and box once.

        Raises
        ------
        DataError
            That lists all files which cannot be read.
        """
        problems = Problems(self.source.splitlines()[0])
        for index in range(len(self)):
            try:
                self[index]
            except DataError as error:
                problems.add(str(error))
        problems.raise_if_any()


def open_dataset(
    path,
    labels=None,
    label_column: str | None = None,
    positive: str | Sequence[str] | None = None,
    group_column: str | None = None,
    split_column: str | None = None,
    cache_bytes: int = CACHE_BYTES,
) -> Dataset:
    """Open a data set of two classes.

    Parameters
    ----------
    path : str or path-like
        A folder with one table (``.csv``, ``.tsv``) in its root; a folder per class (also
        inside ``train``, ``val``, ``test``), of any images or DICOM files; a table; or a
        MedMNIST ``.npz``. A table wins over class folders.
    labels : str or path-like, optional
        A table to use instead of the one in the root. File names in it count from its own
        folder or from `path`.
    label_column, group_column, split_column : str, optional
        Columns of the table. By default those called label (or class, diagnosis, ...),
        group, split. Without a label column but with boxes, the label is whether the image
        has any.
    positive : str or sequence of str, optional
        Classes that count as positive, as a list or with commas; or a threshold for a
        column of numbers, such as ``">0"``. The rest is negative. By default see
        :func:`nnmed.data.labels.two_classes`.
    cache_bytes : int
        Bound of the cache of images.

    Returns
    -------
    Dataset
        Of at least one negative and one positive image. A file of several frames gives one
        sample a frame. Every file's header has been read, no pixels yet.

    Raises
    ------
    DataError
        On bad files and tables: everything that is wrong at once, with row numbers.
    """
    root = Path(path)
    columns = {
        "--label-column": label_column,
        "--group-column": group_column,
        "--split-column": split_column,
    }
    if not root.exists():
        raise data_error(root, "does not exist", "check --data")
    layout = _open_layout(root, labels, columns)
    problems = layout.problems
    records, channels = read_headers(layout.records, problems, layout.is_folder, layout.notes)
    # Rows that are wrong have no record, but their labels are classes all the same.
    names = layout.labels if problems.found else _label_names(records)
    classes = _classes(names, positive, layout.name, problems)
    problems.raise_if_any()
    # Of several lesions in an image, one that is positive makes it so.
    lesions = iter(zip(classes.labels, classes.kinds))
    deciding = [
        max([next(lesions) for _ in record.labels], key=operator.itemgetter(0))
        for record in records
    ]
    numbers, kinds = ([lesion[part] for lesion in deciding] for part in (0, 1))
    if len(set(numbers)) < 2:
        raise data_error(
            problems.source,
            f"every image has a lesion of the class {classes.names[1]}",
            "choose other classes with --positive",
        )
    source = (
        f"{problems.source}: {len(records)} images from {layout.name}{layout.detail}; "
        f"{classes.source}; images: {sum(numbers)} positive, {len(numbers) - sum(numbers)} negative"
    )
    return Dataset(
        records, numbers, kinds, classes.names, channels, source, layout.notes, cache_bytes
    )


@dataclass
class _Layout:
    """What was found at a path: records, one a file or with pixels, and how to call it."""

    name: str
    problems: Problems
    records: list[Record]
    labels: list[str]
    notes: list[str]
    detail: str = ""
    is_folder: bool = False


def _open_layout(root: Path, labels, columns: dict) -> _Layout:
    """Find out what the data set is: a table, a MedMNIST file, or class folders."""
    notes: list[str] = []
    table = None
    if labels is not None:
        table = _explicit_table(labels, root)
    elif root.is_file() and root.suffix.lower() in TABLE_SUFFIXES:
        table = root
    elif root.is_dir():
        table = _table_in_root(root, notes)
    if table is not None:
        return _from_table(table, root if root.is_dir() else root.parent, columns, notes)
    used = [flag for flag, value in columns.items() if value is not None]
    if used:
        raise UsageError(
            f"{root} has no table in its root, so {', '.join(used)} has nothing to choose from; "
            "name a table with --labels"
        )
    problems = Problems(root)
    if root.is_dir():
        records, notes = folder_records(root)
        names = _label_names(records)
        return _Layout("the class folders", problems, records, names, notes, is_folder=True)
    if root.suffix.lower() == ".npz":
        records = npz_records(root)
        return _Layout(f"{root.name} (MedMNIST)", problems, records, _label_names(records), notes)
    raise data_error(
        root, "is one file, not a data set", "give a folder, a table (.csv) or an .npz file"
    )


def _label_names(records: list[Record]) -> list[str]:
    return [name for record in records for name in record.labels]


def _classes(names: list[str], positive, what: str, problems: Problems) -> Classes | None:
    try:
        return two_classes(names, positive, what)
    except DataError as error:
        problems.add(str(error))
        return None


def _from_table(path: Path, root: Path, column_names: dict, notes: list[str]) -> _Layout:
    table, problems = read_table(path), Problems(path)
    columns = find_columns(table, *column_names.values())
    finder = FileFinder(root, [path.parent, root])

    def name_of(file: Path) -> str:
        for base in (root, path.parent):
            if file.is_relative_to(base):
                return file.relative_to(base).as_posix()
        return str(file)

    records = table_records(table, columns, finder, name_of, problems)
    labels = _label_names(records)
    if columns.label is not None:
        labels = [cells[columns.label] or NO_LESION for _, cells in table.rows]
    notes = [*notes, *table.notes]
    return _Layout(f"table {path.name}", problems, records, labels, notes, f" ({columns.text})")


def _explicit_table(labels, root: Path) -> Path:
    table = Path(labels)
    if not table.exists() and root.is_dir() and (root / table).is_file():
        return root / table
    return table


def _table_in_root(root: Path, notes: list[str]) -> Path | None:
    try:
        tables = sorted(
            path
            for path in root.iterdir()
            if path.suffix.lower() in TABLE_SUFFIXES and path.is_file() and not is_hidden(path.name)
        )
    except OSError as error:
        raise data_error(root, f"cannot be read ({error})", "check its rights") from error
    if len(tables) > 1:
        names = ", ".join(table.name for table in tables)
        raise data_error(root, f"holds several tables: {names}", "choose one with --labels")
    if not tables:
        return None
    notes.append(f"the table {tables[0].name} decides, folders do not")
    return tables[0]
