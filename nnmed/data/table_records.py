"""From the rows of a label table to records, with everything that is wrong at once."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from nnmed.data.files import FileFinder
from nnmed.data.records import Record
from nnmed.data.tables import Problems, Table
from nnmed.errors import DataError

# In order of preference: a table may have several. The first of each is the documented one.
IMAGE_COLUMNS = (
    "path", "file", "image", "filename", "filepath", "image_path", "image_file",
    "image_file_path", "image_name", "img", "img_path", "image_id", "id",
)  # fmt: skip
LABEL_COLUMNS = (
    "label", "class", "target", "diagnosis", "dx", "category", "pathology", "class_name", "labels",
)  # fmt: skip
MASK_COLUMNS = ("mask", "mask_path", "mask_file", "segmentation")
PATIENT_COLUMNS = ("patient", "patient_id", "subject", "subject_id")
GROUP_COLUMNS = ("group", "group_id")
SPLIT_COLUMNS = ("split",)
# Columns of a lesion's place, and what they mean.
PLACES = (
    (("x0", "y0", "x1", "y1"), "corners"),
    (("xmin", "ymin", "xmax", "ymax"), "corners"),
    (("x_min", "y_min", "x_max", "y_max"), "corners"),
    (("x", "y_from_top", "radius"), "circle"),
    (("x", "y", "radius"), "circle"),
    (("x", "y", "width", "height"), "size"),
    (("x", "y", "w", "h"), "size"),
)
SPLITS = {
    "train": "train", "training": "train", "tr": "train", "trn": "train",
    "val": "val", "valid": "val", "validation": "val", "validate": "val", "dev": "val",
    "development": "val", "tune": "val", "tuning": "val",
    "test": "test", "testing": "test", "tst": "test", "holdout": "test", "eval": "test",
}  # fmt: skip
NO_LESION = "none"
LESION = "lesion"


@dataclass(frozen=True)
class Columns:
    """Positions of the columns in use, and the text that names them in the log."""

    image: int
    label: int | None
    mask: int | None
    patient: int | None
    group: int | None
    split: int | None
    place: tuple[int, ...]
    place_kind: str
    text: str


def split_side(name: str) -> str | None:
    """Return ``"train"``, ``"val"`` or ``"test"`` for its many names, None for another."""
    return SPLITS.get(name.strip().casefold())


def find_columns(table: Table, label_column, group_column, split_column) -> Columns:
    """Find the columns, by the user's names or else by their usual ones.

    Raises
    ------
    DataError
        If a column is missing: all of them at once.
    """
    problems = Problems(table.path)
    image = _usual(table, IMAGE_COLUMNS)
    if image is None:
        problems.add(
            "no column names the images: call it path, file or image; the columns are "
            + ", ".join(table.columns)
        )
    place, kind = _place(table)
    if label_column is not None:
        label = table.require(label_column, "--label-column", problems)
    else:
        label = _label(table, problems, bool(place))
    group, split = _usual(table, GROUP_COLUMNS), _usual(table, SPLIT_COLUMNS)
    if group_column is not None:
        group = table.require(group_column, "--group-column", problems)
    if split_column is not None:
        split = table.require(split_column, "--split-column", problems)
    problems.raise_if_any()
    patient = _usual(table, PATIENT_COLUMNS)
    label_text = f"label = {table.columns[label]!r}" if label is not None else "label = any box"
    used = [("group", group), ("patient", patient), ("split", split)]
    text = [f"image = {table.columns[image]!r}", label_text]
    text += [f"{name} = {table.columns[index]!r}" for name, index in used if index is not None]
    mask = _usual(table, MASK_COLUMNS)
    return Columns(image, label, mask, patient, group, split, place, kind, ", ".join(text))


def table_records(
    table: Table, columns: Columns, finder: FileFinder, name_of, problems: Problems
) -> list[Record]:
    """Return one record an image, in the order of the table.

    Rows of one image are several lesions of it if their places differ. They must agree in
    patient, group and split; the image then has all their boxes and labels.

    What is wrong in any row is added to `problems`.
    """
    records: dict[Path, Record] = {}
    first_rows: dict[Path, int] = {}
    for number, cells in table.rows:
        record = _record(number, cells, columns, finder, name_of, problems)
        if record is None:
            continue
        earlier = records.get(record.path)
        if earlier is None:
            records[record.path], first_rows[record.path] = record, number
            continue
        problem = _conflict(earlier, record)
        if problem:
            first = first_rows[record.path]
            problems.add(f"duplicate of row {first}, {record.name}: {problem}", number)
        else:
            records[record.path] = replace(
                earlier,
                boxes=earlier.boxes + record.boxes,
                labels=earlier.labels + record.labels,
                masks=tuple(dict.fromkeys(earlier.masks + record.masks)),
            )
    _check_folder_classes(table, columns, list(records.values()), first_rows, problems)
    return list(records.values())


def _record(number, cells, columns, finder, name_of, problems) -> Record | None:
    """Return the record of one row, None if its image is missing."""
    boxes = None
    if columns.place:
        boxes = _boxes(number, [cells[i] for i in columns.place], columns.place_kind, problems)
    label = _row_label(number, cells, columns, boxes, problems)
    split = None
    if columns.split is not None:
        split = split_side(cells[columns.split])
        if split is None:
            problems.add(
                f"unknown split {cells[columns.split]!r}: write train, val or test", number
            )
    masks = ()
    if columns.mask is not None and cells[columns.mask]:
        try:
            masks = (finder.find(cells[columns.mask]),)
        except DataError as error:
            problems.add(f"mask: {error}", number)
    if not cells[columns.image]:
        problems.add("names no image", number)
        return None
    try:
        path = finder.find(cells[columns.image])
    except DataError as error:
        problems.add(str(error), number)
        return None
    patient = cells[columns.patient] if columns.patient is not None else ""
    group = cells[columns.group] if columns.group is not None else ""
    return Record(
        path, name_of(path), (label,), patient=patient or None, group=group or patient,
        split=split, masks=masks, boxes=boxes, row=number,
    )  # fmt: skip


def _row_label(number, cells, columns, boxes, problems) -> str:
    if columns.label is None:
        return LESION if boxes else NO_LESION
    label = cells[columns.label]
    if label:
        return label
    # A row about no lesion (its place is empty too) has nothing to say in a column such as
    # 'severity'. Any other empty label is a gap in the table.
    if columns.place and not boxes:
        return NO_LESION
    problems.add("the label is empty: fill it in or remove the row", number)
    return NO_LESION


def _boxes(number, cells, kind, problems) -> tuple:
    if not any(cells):
        return ()
    try:
        values = [float(cell) for cell in cells]
    except ValueError:
        values = [math.nan]
    if not all(map(math.isfinite, values)):
        problems.add(f"the lesion's place is not all numbers: {', '.join(cells)}", number)
        return ()
    if kind == "circle":
        x, y, r = values
        box = (x - r, y - r, x + r, y + r)
    elif kind == "size":
        x, y, width, height = values
        box = (x, y, x + width, y + height)
    else:
        box = tuple(values)
    if box[2] <= box[0] or box[3] <= box[1]:
        problems.add(f"the lesion's box is empty: {', '.join(cells)}", number)
    return (box,)


def _conflict(earlier: Record, later: Record) -> str | None:
    for name in ("patient", "group", "split"):
        if getattr(earlier, name) != getattr(later, name):
            return f"it gives the image another {name}"
    if not earlier.boxes or not later.boxes or set(earlier.boxes) & set(later.boxes):
        return "the same image" + (" and the same lesion" if later.boxes else "")
    return None


def _check_folder_classes(table, columns, records, first_rows, problems) -> None:
    """Where labels repeat the names of the image's folders, another label is a mistake."""
    if columns.label is None or not records:
        return
    folders = {record.path.parent.name.casefold() for record in records}
    agree = sum(r.labels[0].casefold() == r.path.parent.name.casefold() for r in records)
    if len(folders) < 2 or agree < 0.9 * len(records):
        return
    for record in records:
        label = record.labels[0]
        if label.casefold() not in folders and label != NO_LESION:
            problems.add(
                f"unknown class {label!r}: the images lie in folders of the classes "
                + ", ".join(sorted(folders)),
                first_rows[record.path],
            )


def _usual(table: Table, names) -> int | None:
    for name in names:
        index = table.index(name)
        if index is not None:
            return index
    return None


def _label(table: Table, problems: Problems, has_place: bool) -> int | None:
    """Return the column of the labels; None if a lesion's place is the only label there is."""
    first = table.index(LABEL_COLUMNS[0])
    if first is not None:
        return first
    found = [i for i in (table.index(name) for name in LABEL_COLUMNS[1:]) if i is not None]
    if len(set(found)) == 1:
        return found[0]
    if not found and has_place:
        return None
    columns = ", ".join(table.columns[i] for i in found) or ", ".join(table.columns)
    reason = "several columns could be the label" if found else "no column is called label"
    problems.add(f"{reason}: choose with --label-column NAME, one of {columns}")
    return None


def _place(table: Table) -> tuple[tuple[int, ...], str]:
    for names, kind in PLACES:
        indices = tuple(table.index(name) for name in names)
        if None not in indices:
            return indices, kind
    return (), ""
