"""Write a phantom as a DICOM file: a digital radiograph, 12 bits in 16, uncompressed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .physics import BITS, LARGEST, Exposure
from .render import SPACING

NOTICE = "SYNTHETIC PHANTOM"


def window_of(exposure: Exposure, inverted: bool) -> tuple[int, int]:
    """Return WindowCenter and WindowWidth in stored values.

    For an inverted image the centre is mirrored such that, by the formula of DICOM PS3.3
    C.11.2.1.2.1, value ``LARGEST - v`` gets exactly the complement of what `v` gets.
    """
    level, width = exposure.window
    centre = round(exposure.offset + exposure.gain * level)
    return (LARGEST + 1 - centre if inverted else centre), round(exposure.gain * width)


def write_dicom(path: Path, phantom) -> None:
    """Write `phantom` (:class:`~nnmed.data.phantoms.Phantom`) to `path`.

    Nothing in the header depends on the label, and all values have the same length in all
    files, so that not even a file's size tells anything.
    """
    # The whole first: while one thread loads it, another finds parts that are ready already.
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    def uid(*parts):
        # Made from the parts alone: the same phantom is the same file, byte for byte.
        return generate_uid(entropy_srcs=[NOTICE, *map(str, parts)])

    seed, patient, visit = phantom.seed, phantom.patient, phantom.visit
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"  # digital X-ray, presentation
    meta.MediaStorageSOPInstanceUID = uid(seed, patient, visit, "image")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    ds.SOPClassUID = meta.MediaStorageSOPClassUID
    ds.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    ds.StudyInstanceUID = uid(seed, patient, visit, "study")
    ds.SeriesInstanceUID = uid(seed, patient, visit, "series")
    ds.PatientName = "PHANTOM^SYNTHETIC"
    ds.PatientID = patient
    ds.PatientBirthDate = ds.PatientSex = ds.StudyTime = ds.AccessionNumber = ""
    ds.StudyID = str(visit + 1)
    ds.StudyDate = f"{2001 + visit}0101"
    ds.SeriesNumber = ds.InstanceNumber = 1
    ds.Modality, ds.PresentationIntentType = "DX", "FOR PRESENTATION"
    ds.ImageType = ["DERIVED", "PRIMARY", ""]
    ds.Manufacturer = "nnmed"
    ds.StudyDescription = ds.SeriesDescription = NOTICE
    ds.ImageComments = f"{NOTICE}: simulated image, no patient; not for diagnosis"
    ds.DerivationDescription = "Simulated projection radiograph"
    ds.BodyPartExamined, ds.ViewPosition, ds.PatientOrientation = "CHEST", "PA", ["L", "F"]
    ds.BurnedInAnnotation = "NO"
    ds.PixelSpacing = ds.ImagerPixelSpacing = [f"{SPACING:.4f}"] * 2
    _put_pixels(ds, phantom)
    pydicom.dcmwrite(path, ds, enforce_file_format=True)


def _put_pixels(ds, phantom) -> None:
    inverted = phantom.inverted
    pixels = LARGEST - phantom.pixels if inverted else phantom.pixels
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME1" if inverted else "MONOCHROME2"
    ds.PresentationLUTShape = "INVERSE" if inverted else "IDENTITY"
    ds.PixelIntensityRelationship = "LOG"
    ds.PixelIntensityRelationshipSign = 1 if inverted else -1
    ds.Rows, ds.Columns = pixels.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, BITS, BITS - 1, 0
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", "1", "US"
    centre, width = window_of(phantom.exposure, inverted)
    ds.WindowCenter, ds.WindowWidth = f"{centre:04d}", f"{width:04d}"
    ds.LossyImageCompression = "00"
    ds.PixelData = np.ascontiguousarray(pixels, "<u2").tobytes()
