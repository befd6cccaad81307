"""DICOM through pydicom: parsing, patient, spacing, and the pixels as stored.

What the stored pixels mean (look-up tables, window, inversion) is in
:mod:`nnmed.data.readers.dicom_values`.
"""

from __future__ import annotations

import io
import math
import warnings
import zlib
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import get_frame
from pydicom.filereader import read_dataset
from pydicom.pixels import get_decoder
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
)

from nnmed.data.identity import patient_pseudonym
from nnmed.data.limits import check_frame, check_unpacked, data_error, unpacked_limit
from nnmed.data.readers.codestream import claimed_size
from nnmed.data.readers.common import Header, choose_frames, finished_image, frame_name
from nnmed.data.readers.dicom_values import group_of, pixel_values
from nnmed.data.sample import Sample

# pydicom warns of every odd value in a header. What matters is an error here; the rest
# would fill the screen once for each file.
warnings.filterwarnings("ignore", module=r"pydicom\.")

EXTRA = 'pip install "nnmed[dicom]"'
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_FIRST_PIXEL_TAG = 0x7FE00008
_META_START = 132  # after the preamble and the mark DICM
_AGAIN = "copy or export it again from its source"

# The first plugin that is installed and succeeds is used. GDCM comes last: it is the most
# lenient with damaged data.
_PLUGINS = ("pylibjpeg", "pyjpegls", "pillow", "pydicom", "gdcm")

# Names that stand for nobody in particular: no two images may be grouped by them.
_NOBODY = frozenset(("", "anon", "anonymous", "anonymized", "anonymised", "none", "unknown"))


def read_header(path: Path) -> Header:
    """Return the header of a DICOM file; see :func:`nnmed.data.readers.read_header`."""
    dataset = parse(path, pixels=False)
    rows, columns, samples, frames = _check_size(path, dataset)
    _decoder(path, dataset)  # a missing codec is better known before training starts
    channels = 3 if dataset.get("PhotometricInterpretation") == "PALETTE COLOR" else samples
    spacing = _spacing(dataset, 0)
    return Header("dicom", frames, channels, rows, columns, _patient(dataset), spacing)


def read_frames(path: Path, frame: int | None) -> list[Sample]:
    """Return one frame, or all; see :func:`nnmed.data.readers.read_image`."""
    dataset = parse(path, pixels=True)
    rows, columns, samples, count = _check_size(path, dataset)
    wanted = choose_frames(path, frame, count)
    bits = max(8, int(dataset.BitsAllocated))
    unpacked = len(wanted) * rows * columns * samples * bits // 8
    check_unpacked(path, unpacked, path.stat().st_size, "the image")
    patient = _patient(dataset)
    result = []
    for index in wanted:
        pixels, photometric = stored_pixels(path, dataset, index)
        image = finished_image(path, pixel_values(path, dataset, index, pixels, photometric))
        name = frame_name(path, index, count)
        result.append(Sample(image, patient=patient, spacing=_spacing(dataset, index), path=name))
    return result


def is_image(dataset: Dataset) -> bool:
    """Tell whether a DICOM object holds an image; a report or a treatment plan does not."""
    return "Rows" in dataset or not dataset.get("Modality")


def parse(path: Path, pixels: bool) -> Dataset:
    """Parse a DICOM file, with or without its pixel data.

    Raises
    ------
    DataError
        If it has no transfer syntax, or inflates to more than is plausible.
    """
    stop = None if pixels else (lambda tag, vr, length: int(tag) >= _FIRST_PIXEL_TAG)
    with path.open("rb") as file:
        file.seek(_META_START)
        meta = read_dataset(file, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
        syntax = meta.get("TransferSyntaxUID")
        if not syntax:
            raise data_error(path, "does not name its transfer syntax", _AGAIN)
        implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
        deflated = syntax == DeflatedExplicitVRLittleEndian
        body = io.BytesIO(_inflate(path, file.read())) if deflated else file
        dataset = read_dataset(body, implicit, little, stop_when=stop)
    dataset.file_meta = FileMetaDataset(meta)
    dataset.set_original_encoding(implicit, little)
    return dataset


def stored_pixels(path: Path, dataset: Dataset, frame: int) -> tuple[np.ndarray, str]:
    """Return one frame before any look-up table: (H, W) or (H, W, 3), and what it means.

    Signed as PixelRepresentation says, unused bits removed, YBR converted to RGB. The
    second value is the photometric interpretation of what is returned.

    Raises
    ------
    DataError
        If there are no pixel data, no codec for them, or they are damaged.
    """
    if not any(name in dataset for name in _PIXELS):
        raise data_error(path, "holds no pixel data", "remove it, or " + _AGAIN)
    decoder = _decoder(path, dataset)
    if decoder.UID in JPEGTransferSyntaxes + JPEGLSTransferSyntaxes + JPEG2000TransferSyntaxes:
        _check_codestream(path, dataset, frame)
    if decoder.is_native:
        options = {"correct_unused_bits": False}
        pixels, meta = decoder.as_array(dataset, index=frame, **options)
        return _used_bits(dataset, pixels), meta["photometric_interpretation"]
    return _decode(path, dataset, decoder, frame)


def _decoder(path: Path, dataset: Dataset):
    """Return pydicom's decoder for the file's transfer syntax, if its codec is installed."""
    syntax = dataset.file_meta.TransferSyntaxUID
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise data_error(
            path,
            f"has a transfer syntax that is not supported ({syntax.name})",
            "convert it first, for instance with: gdcmconv --raw IN OUT",
        ) from error
    if not decoder.is_available:
        raise data_error(path, f"needs a codec for {syntax.name}", f"run: {EXTRA}")
    return decoder


def _decode(path: Path, dataset: Dataset, decoder, frame: int) -> tuple[np.ndarray, str]:
    reasons = []
    for plugin in _PLUGINS:
        if plugin not in decoder.available_plugins:
            continue
        try:
            pixels, meta = decoder.as_array(dataset, index=frame, decoding_plugin=plugin)
            return pixels, meta["photometric_interpretation"]
        except Exception as error:
            reasons.append(" ".join(str(error).split())[-150:])
    raise data_error(
        path,
        f"frame {frame} cannot be decoded ({decoder.UID.name}: {'; '.join(reasons)})",
        f"{_AGAIN}, or install all codecs: {EXTRA}",
    )


def _check_codestream(path: Path, dataset: Dataset, frame: int) -> None:
    extended = None
    if "ExtendedOffsetTable" in dataset:
        extended = dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths
    data = get_frame(
        dataset.PixelData,
        frame,
        number_of_frames=_count(dataset),
        extended_offsets=extended,
    )
    claimed = claimed_size(data)
    expected = int(dataset.Rows), int(dataset.Columns), int(dataset.SamplesPerPixel)
    if claimed is None or claimed[:3] != expected or claimed[3] > int(dataset.BitsAllocated):
        found = "none" if claimed is None else "rows, columns, samples, bits = %d, %d, %d, %d"
        raise data_error(
            path,
            f"frame {frame}: the compressed data do not fit the header (header: rows, columns, "
            f"samples = {', '.join(map(str, expected))}; data: {found % (claimed or ())})",
            _AGAIN,
        )


def _used_bits(dataset: Dataset, pixels: np.ndarray) -> np.ndarray:
    """Keep BitsStored bits below HighBit, with their sign; the others may hold anything.

    PS3.5 section 8.1.1; old files have overlays in the upper bits.
    """
    allocated = 8 * pixels.dtype.itemsize
    stored = int(dataset.get("BitsStored", 0) or 0)
    if pixels.dtype.kind not in "ui" or not 1 < stored < allocated:
        return pixels
    high = dataset.get("HighBit")
    high = int(high) if high is not None and stored <= int(high) + 1 <= allocated else stored - 1
    return (pixels << (allocated - 1 - high)) >> (allocated - stored)


def _check_size(path: Path, dataset: Dataset) -> tuple[int, int, int, int]:
    """Return rows, columns, samples and frames after checking them."""
    if "Rows" not in dataset or "Columns" not in dataset:
        if is_image(dataset):
            raise data_error(path, "is cut off or damaged: its header describes no image", _AGAIN)
        raise data_error(path, f"holds no image ({dataset.Modality})", "remove it, or " + _AGAIN)
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    samples = int(dataset.get("SamplesPerPixel", 1))
    if samples not in (1, 3):
        raise data_error(path, f"has {samples} samples per pixel", "convert it to grey or RGB")
    check_frame(path, samples, rows, columns)
    frames = _count(dataset)
    choose_frames(path, None, frames)
    return rows, columns, samples, frames


def _count(dataset: Dataset) -> int:
    value = dataset.get("NumberOfFrames")
    return 1 if value is None else int(value)


def _inflate(path: Path, data: bytes) -> bytes:
    limit = unpacked_limit(len(data))
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    result = inflater.decompress(data, limit + 1)
    if len(result) > limit:
        check_unpacked(path, len(result), len(data))
    if not inflater.eof:
        raise data_error(path, "its deflated data are cut off", _AGAIN)
    return result


def _patient(dataset: Dataset) -> str | None:
    """Return the patient's pseudonym, None where the header names nobody."""
    for keyword in ("PatientID", "PatientName"):
        name = str(dataset.get(keyword) or "").strip()
        if name.lower() not in _NOBODY:
            return patient_pseudonym(name)
    return None


def _spacing(dataset: Dataset, frame: int) -> tuple[float, float] | None:
    """Return mm per pixel as (row, column), None where the header has no sensible value."""
    sources = (
        (group_of(dataset, frame, "PixelMeasuresSequence"), "PixelSpacing"),
        (dataset, "ImagerPixelSpacing"),  # at the detector: slightly too large for the body
        (dataset, "NominalScannedPixelSpacing"),
    )
    for source, keyword in sources:
        value = source.get(keyword)
        if value is None or isinstance(value, str) or len(value) != 2:
            continue
        row, column = float(value[0]), float(value[1])
        if 0 < row < math.inf and 0 < column < math.inf:
            return row, column
    return None
