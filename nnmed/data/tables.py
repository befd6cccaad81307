"""Reading a CSV or TSV table, and finding its columns.

Real tables come from spreadsheets in several countries, so the delimiter is found out, a
byte order mark is dropped, and UTF-8, UTF-16 and GB 18030 are understood. Row numbers are
those that a spreadsheet shows: the heading is row 1.
"""

from __future__ import annotations

import csv
import difflib
import io
import math
import re
from dataclasses import dataclass, field
from pathlib import Path

from nnmed.data.limits import MAX_TABLE_BYTES, check_file, data_error
from nnmed.errors import DataError

TABLE_SUFFIXES = frozenset((".csv", ".tsv"))
MAX_SHOWN = 30

_DELIMITERS = ",;\t|"


@dataclass
class Problems:
    """Collects what is wrong with a source, so that all of it is reported at once."""

    source: object
    found: list[tuple[float, str]] = field(default_factory=list)

    def add(self, text: str, row: int | None = None) -> None:
        """Note a problem, with the number of its row if it has one."""
        self.found.append((math.inf, text) if row is None else (row, f"row {row}: {text}"))

    def raise_if_any(self) -> None:
        """Raise a DataError that lists the problems, if there are any."""
        if not self.found:
            return
        lines = [text for _, text in sorted(self.found, key=lambda item: item[0])]
        if len(lines) == 1:
            raise DataError(f"{self.source}: {lines[0]}")
        shown = [f"  {line}" for line in lines[:MAX_SHOWN]]
        if len(lines) > MAX_SHOWN:
            shown.append(f"  ... and {len(lines) - MAX_SHOWN} more")
        raise DataError("\n".join([f"{self.source}: {len(lines)} problems:", *shown]))


@dataclass(frozen=True)
class Table:
    """A table as text.

    Attributes
    ----------
    path : Path
    columns : list of str
        The headings as they are written, without blanks around them.
    rows : list of (int, list of str)
        Row number and one cell a column, without blanks around them.
    notes : list of str
        What a reader of the log should know.
    """

    path: Path
    columns: list[str]
    rows: list[tuple[int, list[str]]]
    notes: list[str]

    def index(self, name: str) -> int | None:
        """Return the position of a column; case, blanks, ``_`` and ``-`` do not matter."""
        wanted = _plain(name)
        exact = [i for i, column in enumerate(self.columns) if column == name.strip()]
        loose = [i for i, column in enumerate(self.columns) if _plain(column) == wanted]
        found = exact or loose
        return found[0] if found else None

    def require(self, name: str, flag: str, problems: Problems) -> int | None:
        """Return the position of the column that the user named; note if it is missing."""
        index = self.index(name)
        if index is None:
            close = difflib.get_close_matches(name, self.columns, 1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            problems.add(
                f"there is no column {name!r}{hint}, which {flag} names; the columns are "
                + ", ".join(self.columns)
            )
        return index


def read_table(path) -> Table:
    """Read a CSV or TSV file with a heading.

    Raises
    ------
    DataError
        If it cannot be read, has no rows, or rows of a wrong length; all such rows at once.
    """
    path = Path(path)
    if check_file(path) > MAX_TABLE_BYTES:
        raise data_error(
            path,
            f"the table has more than {MAX_TABLE_BYTES} bytes (MAX_TABLE_BYTES)",
            "check that it is a table of labels",
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise data_error(path, f"cannot be read ({error})", "check its rights") from error
    text, notes = _decode(path, data)
    return _parse(path, text, notes)


def _decode(path: Path, data: bytes) -> tuple[str, list[str]]:
    encodings = ["utf-8-sig", "gb18030"]
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings = ["utf-16"]
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            break
        notes = [f"{path.name} is read as GB 18030"] if encoding == "gb18030" else []
        return text, notes
    raise data_error(path, "is not a text file in UTF-8", "save it as CSV UTF-8")


def _parse(path: Path, text: str, notes: list[str]) -> Table:
    heading = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(_DELIMITERS, key=lambda sign: _count_outside_quotes(heading, sign))
    try:
        # strict: an unclosed quote would otherwise swallow the rest of the table.
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        cells = [(number, [cell.strip() for cell in row]) for number, row in enumerate(reader, 1)]
    except csv.Error as error:
        raise data_error(path, f"is not a table ({error})", "save it as CSV again") from error
    cells = [(number, row) for number, row in cells if any(row)]
    if not cells:
        raise data_error(path, "the table is empty", "give it a heading and a row an image")
    columns = cells[0][1]
    problems = Problems(path)
    _check_columns(columns, problems)
    rows = []
    for number, row in cells[1:]:
        if any(row[len(columns) :]):
            problems.add(f"has {len(row)} cells, the heading has {len(columns)}", number)
        rows.append((number, (row + [""] * len(columns))[: len(columns)]))
    if not rows:
        problems.add("the table has a heading but no rows: give it a row an image")
    problems.raise_if_any()
    return Table(path, columns, rows, notes)


def _check_columns(columns: list[str], problems: Problems) -> None:
    while columns and not columns[-1]:
        columns.pop()
    seen = set()
    for column in columns:
        if column in seen and column:
            problems.add(f"two columns are called {column!r}: rename one")
        seen.add(column)


def _count_outside_quotes(line: str, sign: str) -> int:
    return re.sub(r'"[^"]*"', "", line).count(sign)


def _plain(name: str) -> str:
    return re.sub(r"[\s_\-]+", "", name).casefold()
