"""Files that the tests of nnmed.data read: written here, so that each shows what is in it."""

from __future__ import annotations

import numpy as np
import pytest

from nnmed.data import identity


@pytest.fixture(autouse=True)
def own_data_home(tmp_path_factory, monkeypatch):
    """Keep the key of the pseudonyms out of the home directory of whoever runs the tests."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data-home")))
    identity._key.cache_clear()
    yield
    identity._key.cache_clear()


def write_dicom(path, pixels, syntax="1.2.840.10008.1.2.1", **attributes):
    """Write pixels of shape (H, W), (N, H, W), (H, W, 3) or (N, H, W, 3) as a DICOM file."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import SecondaryCaptureImageStorage, generate_uid

    pixels = np.asarray(pixels)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID = SecondaryCaptureImageStorage
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=[str(path)])
    dataset.Modality = "OT"
    colour = pixels.shape[-1] == 3
    shape = pixels.shape[:-1] if colour else pixels.shape
    dataset.SamplesPerPixel = 3 if colour else 1
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns = shape[-2:]
    if len(shape) == 3:
        dataset.NumberOfFrames = shape[0]
    dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.dtype.itemsize
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    data = pixels.tobytes()
    dataset.PixelData = data + b"\0" * (len(data) % 2)
    dataset["PixelData"].VR = "OB" if pixels.dtype.itemsize == 1 else "OW"
    for keyword, value in attributes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    if attributes.get("BitsStored") and "HighBit" not in attributes:
        dataset.HighBit = dataset.BitsStored - 1
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def dicom_file(tmp_path):
    """Return ``make(pixels, **attributes)``, which writes a DICOM file and returns its path."""
    count = 0

    def make(pixels, name=None, **attributes):
        nonlocal count
        count += 1
        return write_dicom(tmp_path / (name or f"{count}.dcm"), pixels, **attributes)

    return make


@pytest.fixture
def png_tree():
    """Return ``make(root, {"folder/name.png": value, ...})``, which writes 16 x 16 grey PNGs."""
    from PIL import Image

    def make(root, files):
        for name, value in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((16, 16), value, np.uint8)).save(path)
        return root

    return make
