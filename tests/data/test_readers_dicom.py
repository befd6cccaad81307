"""DICOM: what the stored pixels mean, and what broken files say."""

from __future__ import annotations

import hashlib
import json
import zlib

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels import get_decoder
from pydicom.sequence import Sequence

from nnmed.data import limits
from nnmed.data.readers import dicom, read_frame, read_header, read_image
from nnmed.errors import DataError

RAMP = np.arange(256, dtype=np.uint16).reshape(16, 16)


def one(path):
    (sample,) = read_image(path)
    assert sample.image.dtype == np.float32
    return sample.image


def test_every_odd_file_reads_as_expected_or_is_an_error(shared_data):
    folder = shared_data / "dicom_odd"
    expected = json.loads((folder / "expected.json").read_text())
    assert len(expected) == 37
    for name, facts in expected.items():
        path = folder / name
        if not facts["decoded_by_pydicom"]:
            with pytest.raises(DataError, match=name):
                read_image(path)
            continue
        if not get_decoder(facts["ts"]).is_available:
            with pytest.raises(DataError, match=r"nnmed\[dicom\]"):
                read_image(path)
            continue
        dataset = dicom.parse(path, pixels=True)
        count = facts["frames"] or 1
        frames = [dicom.stored_pixels(path, dataset, i)[0] for i in range(count)]
        stored = np.stack(frames).reshape(facts["shape"])
        assert (stored.min(), stored.max()) == (facts["min"], facts["max"]), name
        assert stored.mean() == pytest.approx(facts["mean"], abs=1e-3), name
        little = stored.astype(stored.dtype.newbyteorder("<"))
        assert hashlib.sha256(little.tobytes()).hexdigest() == facts["sha256"], name
        samples = read_image(path)
        assert len(samples) == count == read_header(path).frames
        channels = read_header(path).channels
        for sample in samples:
            assert sample.image.shape == (channels, facts["rows"], facts["cols"])
            assert sample.image.min() >= 0
            assert sample.image.max() <= 1


def test_the_modality_lut_comes_before_the_window(dicom_file):
    path = dicom_file(
        RAMP, RescaleSlope=2, RescaleIntercept=-100, WindowCenter=100.5, WindowWidth=201
    )
    values = RAMP * 2.0 - 100
    wanted = np.clip((values - 100) / 200 + 0.5, 0, 1)  # PS3.3 C.11.2.1.2.1
    np.testing.assert_allclose(one(path)[0], wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("function", "wanted"),
    [
        ("LINEAR_EXACT", lambda x: np.clip((x - 100) / 50 + 0.5, 0, 1)),
        ("SIGMOID", lambda x: 1 / (1 + np.exp(-4 * (x - 100) / 50))),
    ],
)
def test_window_functions(dicom_file, function, wanted):
    path = dicom_file(RAMP, WindowCenter=100, WindowWidth=50, VOILUTFunction=function)
    np.testing.assert_allclose(one(path)[0], wanted(RAMP.astype(float)), atol=1e-6)


def test_the_first_of_several_windows_counts(dicom_file):
    several = one(dicom_file(RAMP, WindowCenter=[100, 7], WindowWidth=[50, 3]))
    assert (several == one(dicom_file(RAMP, WindowCenter=100, WindowWidth=50))).all()


def test_monochrome1_is_inverted_after_the_window(dicom_file):
    window = {"WindowCenter": 60, "WindowWidth": 40}
    plain = one(dicom_file(RAMP, **window))
    inverted = one(dicom_file(RAMP, PhotometricInterpretation="MONOCHROME1", **window))
    np.testing.assert_allclose(inverted, 1 - plain, atol=1e-6)


def test_the_presentation_shape_does_not_invert_a_second_time(dicom_file):
    options = {"PhotometricInterpretation": "MONOCHROME1"}
    assert (
        one(dicom_file(RAMP, PresentationLUTShape="INVERSE", **options))
        == one(dicom_file(RAMP, **options))
    ).all()


def lut_item(entries, first, bits):
    item = Dataset()
    item.LUTDescriptor = [len(entries), first, bits]
    item.LUTData = np.asarray(entries, "<u2").tobytes()
    item["LUTDescriptor"].VR, item["LUTData"].VR = "US", "OW"
    return item


def test_voi_lut_wins_over_the_window_and_holds_its_ends(dicom_file):
    lut = lut_item([0, 500, 1023], 100, 10)
    path = dicom_file(RAMP, VOILUTSequence=Sequence([lut]), WindowCenter=1, WindowWidth=2)
    image = one(path)[0].ravel()
    np.testing.assert_allclose(image[[0, 100, 101, 102, 255]], [0, 0, 500 / 1023, 1, 1], atol=1e-6)


def test_an_8_bit_voi_lut_on_deep_pixels(dicom_file):
    pixels = RAMP * 16
    lut = lut_item(np.arange(4096) // 16, 0, 8)
    image = one(dicom_file(pixels, VOILUTSequence=Sequence([lut])))
    np.testing.assert_allclose(image[0], RAMP / 255, atol=1e-6)


def test_modality_lut(dicom_file):
    lut = lut_item(np.arange(256)[::-1], 0, 16)
    path = dicom_file(RAMP, ModalityLUTSequence=Sequence([lut]), WindowCenter=128, WindowWidth=256)
    np.testing.assert_allclose(one(path)[0], (255 - RAMP) / 255, atol=1e-6)


def test_signed_pixels(dicom_file):
    pixels = RAMP.astype(np.int16) - 128
    path = dicom_file(pixels, WindowCenter=0, WindowWidth=101)
    np.testing.assert_allclose(one(path)[0], np.clip((pixels + 0.5) / 100 + 0.5, 0, 1), atol=1e-6)


def test_unused_high_bits_are_ignored(dicom_file):
    clean = dicom_file(RAMP, BitsStored=12)
    dirty = dicom_file(RAMP | 0xA000, BitsStored=12)
    assert (one(clean) == one(dirty)).all()
    signed = RAMP.astype(np.int16) - 128
    dirty_signed = ((signed & 0x0FFF) | 0x5000).astype(np.int16)  # sign bit of 12 bits, then junk
    assert (
        one(dicom_file(signed, BitsStored=12)) == one(dicom_file(dirty_signed, BitsStored=12))
    ).all()


def test_high_bit_above_the_stored_bits(dicom_file):
    assert (
        one(dicom_file(RAMP << 4, BitsStored=12, HighBit=15))
        == one(dicom_file(RAMP, BitsStored=12))
    ).all()


def test_without_a_window_8_bits_are_taken_in_full_like_a_png(dicom_file):
    pixels = (RAMP // 2).astype(np.uint8)
    np.testing.assert_allclose(one(dicom_file(pixels))[0], pixels / 255, atol=1e-6)


def test_without_a_window_deep_pixels_are_stretched_without_the_padding(dicom_file):
    pixels = RAMP + 1000
    pixels[0, :4] = 60000
    image = one(dicom_file(pixels, PixelPaddingValue=60000))[0]
    np.testing.assert_allclose(image.ravel()[4:], (RAMP.ravel()[4:] - 4) / 251, atol=1e-6)


def test_without_a_window_ct_keeps_its_hounsfield_units(dicom_file):
    path = dicom_file(RAMP * 20, Modality="CT", RescaleSlope=1, RescaleIntercept=-1024)
    np.testing.assert_allclose(one(path)[0], np.clip(RAMP * 20 / 4095, 0, 1), atol=1e-6)


def test_a_constant_image_is_black(dicom_file):
    assert not one(dicom_file(np.full((16, 16), 700, np.uint16))).any()


def test_colour_and_planes(dicom_file):
    rgb = np.stack([RAMP, RAMP[::-1], RAMP.T], -1).astype(np.uint8)
    wanted = rgb.transpose(2, 0, 1) / 255
    np.testing.assert_allclose(one(dicom_file(rgb)), wanted, atol=1e-6)
    planes = np.ascontiguousarray(rgb.transpose(2, 0, 1)).tobytes()
    path = dicom_file(rgb, PlanarConfiguration=1, PixelData=planes)
    np.testing.assert_allclose(one(path), wanted, atol=1e-6)


def test_ybr_is_turned_into_rgb(dicom_file):
    grey = np.stack([RAMP, np.full_like(RAMP, 128), np.full_like(RAMP, 128)], -1).astype(np.uint8)
    image = one(dicom_file(grey, PhotometricInterpretation="YBR_FULL"))
    np.testing.assert_allclose(image, np.stack([RAMP / 255] * 3), atol=1e-6)


def palette(bits, entries):
    result = {"PhotometricInterpretation": "PALETTE COLOR"}
    data = np.asarray(entries, "<u2" if bits == 16 else "u1").tobytes()
    for colour in ("Red", "Green", "Blue"):
        result[f"{colour}PaletteColorLookupTableDescriptor"] = [len(entries) % 65536, 0, bits]
        result[f"{colour}PaletteColorLookupTableData"] = data
    return result


@pytest.mark.parametrize("bits", [8, 16])
def test_palette(dicom_file, bits):
    entries = np.arange(256)[::-1] * (257 if bits == 16 else 1)
    image = one(dicom_file(RAMP.astype(np.uint8), **palette(bits, entries)))
    np.testing.assert_allclose(image, np.stack([(255 - RAMP) / 255] * 3), atol=1e-6)


def test_segmented_palette(dicom_file):
    options = {"PhotometricInterpretation": "PALETTE COLOR"}
    segments = bytes([0, 2, 0, 1, 1, 254, 255])  # discrete 0, 1; then a line up to 255
    for colour in ("Red", "Green", "Blue"):
        options[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 8]
        options[f"Segmented{colour}PaletteColorLookupTableData"] = segments + b"\0"
    image = one(dicom_file(RAMP.astype(np.uint8), **options))
    np.testing.assert_allclose(image, np.stack([RAMP / 255] * 3), atol=1e-6)


def test_frames_are_samples_and_one_can_be_read_alone(dicom_file):
    frames = np.stack([RAMP, RAMP[::-1], RAMP.T]).astype(np.uint8)
    path = dicom_file(frames)
    samples = read_image(path)
    assert [sample.path for sample in samples] == [f"{path}#{i}" for i in range(3)]
    for index, frame in enumerate(frames):
        np.testing.assert_allclose(samples[index].image[0], frame / 255, atol=1e-6)
        assert (read_frame(path, index).image == samples[index].image).all()
    with pytest.raises(DataError, match="has 3 frames, not a frame 3"):
        read_frame(path, 3)


def test_windows_and_spacing_of_single_frames(dicom_file):
    def group(center, spacing):
        item, window, measures = Dataset(), Dataset(), Dataset()
        window.WindowCenter, window.WindowWidth = center, 101
        measures.PixelSpacing = spacing
        item.FrameVOILUTSequence = Sequence([window])
        item.PixelMeasuresSequence = Sequence([measures])
        return item

    groups = Sequence([group(100, [0.5, 0.25]), group(200, [1, 1])])
    path = dicom_file(np.stack([RAMP, RAMP]), PerFrameFunctionalGroupsSequence=groups)
    first, second = read_image(path)
    np.testing.assert_allclose(first.image[0], np.clip((RAMP - 99.5) / 100 + 0.5, 0, 1), atol=1e-6)
    np.testing.assert_allclose(
        second.image[0], np.clip((RAMP - 199.5) / 100 + 0.5, 0, 1), atol=1e-6
    )
    assert (first.spacing, second.spacing) == ((0.5, 0.25), (1.0, 1.0))


@pytest.mark.parametrize(
    ("attributes", "spacing"),
    [
        ({"PixelSpacing": [0.7, 0.6]}, (0.7, 0.6)),
        ({"ImagerPixelSpacing": [0.2, 0.1]}, (0.2, 0.1)),
        ({"PixelSpacing": [0.7, 0.6], "ImagerPixelSpacing": [1, 1]}, (0.7, 0.6)),
        ({"PixelSpacing": [0, 0]}, None),
        ({}, None),
    ],
)
def test_spacing(dicom_file, attributes, spacing):
    assert read_image(dicom_file(RAMP, **attributes))[0].spacing == spacing


def test_the_patient_is_a_pseudonym(dicom_file):
    first = read_image(dicom_file(RAMP, PatientID="12345", PatientName="Doe^Jane"))[0]
    second = read_image(dicom_file(RAMP.T, PatientID="12345 "))[0]
    other = read_image(dicom_file(RAMP, PatientID="54321"))[0]
    assert first.patient == second.patient != other.patient
    assert "12345" not in repr(first)
    assert "Doe" not in repr(first)
    assert read_image(dicom_file(RAMP, PatientID="Anonymous"))[0].patient is None


def test_float_pixels(dicom_file, tmp_path):
    values = RAMP.astype(np.float32) / 10
    path = dicom_file(
        RAMP, PixelData=None, FloatPixelData=values.tobytes(), BitsAllocated=32, BitsStored=None
    )
    np.testing.assert_allclose(one(path)[0], RAMP / 255, atol=1e-6)
    values[3, 5] = np.nan
    path = dicom_file(
        RAMP, PixelData=None, FloatPixelData=values.tobytes(), BitsAllocated=32, BitsStored=None
    )
    with pytest.raises(DataError, match=r"1 of 256 pixels .* row 3, column 5"):
        read_image(path)


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"Rows": 60000, "Columns": 60000}, "MAX_IMAGE_VALUES"),
        ({"NumberOfFrames": 2_000_000_000}, "MAX_FRAMES"),
        ({"NumberOfFrames": 0}, "claims 0 frames"),
        ({"NumberOfFrames": 7}, "less than expected"),
        ({"Rows": 1, "Columns": 1}, "only 1 x 1 pixels"),
        ({"SamplesPerPixel": 4}, "4 samples per pixel"),
        ({"PhotometricInterpretation": "HSV"}, "HSV"),
        ({"PixelData": None}, "no pixel data"),
        ({"Rows": None, "Modality": "SR"}, "holds no image"),
    ],
)
def test_a_senseless_header_is_an_error(dicom_file, attributes, reason):
    path = dicom_file(RAMP, **attributes)
    with pytest.raises(DataError, match=reason) as caught:
        read_image(path)
    assert str(path) in str(caught.value)


def test_a_deflated_file_is_read_and_a_bomb_is_not(dicom_file, monkeypatch):
    path = dicom_file(RAMP, BitsStored=8)
    wanted = one(path)
    data = path.read_bytes()
    # The file meta group must name the deflated syntax; its length field is not checked.
    head = data.index(b"1.2.840.10008.1.2.1\0")
    body = data.index(b"\x08\0\x16\0")
    meta = bytearray(data[:body])
    new = b"1.2.840.10008.1.2.1.99"
    meta[head - 2 : head + 20] = len(new).to_bytes(2, "little") + new

    def deflated(content):
        packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
        return bytes(meta) + packer.compress(content) + packer.flush()

    path.write_bytes(deflated(data[body:]))
    assert (one(path) == wanted).all()
    assert read_header(path).rows == 16
    path.write_bytes(deflated(data[body:])[:-20])
    with pytest.raises(DataError, match="cut off"):
        read_image(path)
    monkeypatch.setattr(limits, "FREE_UNPACKED_BYTES", 2**20)
    path.write_bytes(deflated(data[body:] + bytes(2**22)))
    for read in (read_image, read_header):
        with pytest.raises(DataError, match="MAX_UNPACK_RATIO"):
            read(path)


def test_a_codestream_larger_than_its_header_never_reaches_the_codec(shared_data, tmp_path):
    data = bytearray((shared_data / "dicom_odd" / "JPEG2000.dcm").read_bytes())
    size = data.index(b"\xff\x4f\xff\x51")
    data[size + 8 : size + 16] = (60000).to_bytes(4, "big") * 2
    path = tmp_path / "bomb.dcm"
    path.write_bytes(data)
    with pytest.raises(DataError, match="do not fit the header"):
        read_image(path)


def test_a_missing_codec_names_the_extra(shared_data, monkeypatch):
    from pydicom.pixels.decoders import JPEGLSLosslessDecoder

    monkeypatch.setattr(JPEGLSLosslessDecoder, "_available", {})
    for read in (read_header, read_image):
        with pytest.raises(DataError, match=r'JPEG-LS.*pip install "nnmed\[dicom\]"'):
            read(shared_data / "dicom_odd" / "emri_small_jpeg_ls_lossless.dcm")


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.100", "1.2.3.4"])
def test_a_transfer_syntax_without_a_decoder(dicom_file, syntax):
    data = dicom_file(RAMP).read_bytes()
    path = dicom_file(RAMP)
    old, new = b"1.2.840.10008.1.2.1\0", (syntax + "\0" * (len(syntax) % 2)).encode()
    at = data.index(old)
    path.write_bytes(data[: at - 2] + len(new).to_bytes(2, "little") + new + data[at + len(old) :])
    with pytest.raises(DataError, match="transfer syntax that is not supported"):
        read_image(path)


def test_a_truncated_file_is_an_error(dicom_file):
    path = dicom_file(RAMP)
    data = path.read_bytes()
    for length in (133, 200, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(DataError, match=path.name):
            read_image(path)
