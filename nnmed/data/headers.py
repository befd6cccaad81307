"""Reading the headers of a data set's files: frames, patients, groups, channels."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from nnmed.backend.threads import get_num_threads
from nnmed.data.readers import Header, detect_format, read_header, read_image
from nnmed.data.records import Record
from nnmed.data.tables import Problems
from nnmed.errors import DataError


def read_headers(
    records: list[Record], problems: Problems, skip_reports: bool, notes: list[str]
) -> tuple[list[Record], int]:
    """Return a record a frame, each with patient and group, and the number of channels.

    Parameters
    ----------
    records : one a file, or with pixels
    problems : Problems
        Is added to: files whose headers cannot be read, or images that differ in channels
        by more than grey and colour.
    skip_reports : bool
        Whether DICOM objects that are no images are left out with a note; a table that
        names one is wrong.
    notes : list of str
        Is added to.
    """
    kept, reports, bad = [], [], False
    headers: dict[Path, Header] = {}
    for record in records:
        if record.pixels is None:
            try:
                headers[record.path] = read_header(record.path)
            except DataError as error:
                if skip_reports and _is_report(record.path):
                    reports.append(record.name)
                else:
                    problems.add(str(error), record.row)
                    bad = True
                continue
        kept.append(record)
    if bad:
        _check_pixels(kept, problems)  # so that one look names every damaged file
    if reports:
        notes.append(f"{len(reports)} DICOM files without an image are left out: {reports[0]} ...")
    channels = {_channels(record, headers) for record in kept} or {1}
    if len(channels - {1}) > 1:
        problems.add(f"the images have {sorted(channels)} channels: make them all alike")
    if len(channels) > 1:
        notes.append("grey images among colour ones are repeated in all channels")
    settled = _settle_groups(kept, headers, notes)
    frames = [frame for record in settled for frame in _frames(record, headers)]
    return frames, max(channels)


def _check_pixels(records: list[Record], problems: Problems) -> None:
    def check(record: Record) -> str | None:
        try:
            if record.pixels is None:
                read_image(record.path)
        except DataError as error:
            return str(error)
        return None

    with ThreadPoolExecutor(get_num_threads(), "nnmed-check") as pool:
        for record, text in zip(records, pool.map(check, records)):
            if text is not None:
                problems.add(text, record.row)


def _is_report(path: Path) -> bool:
    """Tell whether a file is a whole DICOM object of a kind that holds no image."""
    if detect_format(path) != "dicom":
        return False
    from nnmed.data.readers.dicom import is_image, parse

    try:
        return not is_image(parse(path, pixels=False))
    except Exception:
        return False


def _channels(record: Record, headers: dict[Path, Header]) -> int:
    if record.pixels is not None:
        return record.pixels.shape[0]
    return headers[record.path].channels


def _settle_groups(records, headers, notes) -> list[Record]:
    """Give each record its patient and group.

    The group is what the table says, else the patient, else the file. A patient known only
    by the pseudonym from DICOM headers is called after the first of its files, because
    splits depend on the names of groups, and pseudonyms differ between users.
    """
    pseudonyms = {path: header.patient for path, header in headers.items()}
    if len(headers) > 1 and len(set(pseudonyms.values())) == 1 and None not in pseudonyms.values():
        notes.append(
            "all DICOM files carry the same patient id: it is taken for a placeholder, and each "
            "file for a patient of its own"
        )
        pseudonyms = {}
    first_files: dict[str, str] = {}
    result = []
    for record in records:
        pseudonym = pseudonyms.get(record.path)
        patient = record.patient or pseudonym
        group = record.group or record.name
        if not record.group and pseudonym is not None:
            group = first_files.setdefault(pseudonym, record.name)
        result.append(replace(record, patient=patient, group=group))
    return result


def _frames(record: Record, headers: dict[Path, Header]) -> list[Record]:
    count = 1 if record.pixels is not None else headers[record.path].frames
    if count == 1:
        return [record]
    return [
        replace(record, name=f"{record.name}#{frame}", frame=frame, frames=count)
        for frame in range(count)
    ]
