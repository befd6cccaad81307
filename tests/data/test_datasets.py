"""Data sets in every layout, and what they say when something is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from nnmed.data import open_dataset
from nnmed.data.sample import Sample
from nnmed.errors import DataError, UsageError

IMAGES = {
    f"{kind}/{kind} ({i}).png": i * 20 for kind in ("benign", "malignant") for i in (1, 2, 10)
}


def table(root, *rows, name="labels.csv"):
    root.mkdir(exist_ok=True, parents=True)
    (root / name).write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root


def message(*arguments, **options):
    with pytest.raises(DataError) as caught:
        open_dataset(*arguments, **options)
    return str(caught.value)


# Folders ------------------------------------------------------------------------------


def test_a_folder_per_class(tmp_path, png_tree):
    dataset = open_dataset(png_tree(tmp_path, IMAGES))
    assert dataset.classes == ("benign", "malignant")
    assert dataset.names == list(IMAGES)  # "(10)" behind "(2)"
    assert dataset.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert dataset.labels.dtype == np.int64
    assert dataset.splits == [None] * 6
    assert dataset.groups == dataset.names
    assert dataset.label_names[3] == "malignant"
    assert dataset.paths[0] == str(tmp_path / "benign" / "benign (1).png")
    sample = dataset[4]
    assert isinstance(sample, Sample)
    assert (sample.label, sample.path) == (1, "malignant/malignant (2).png")
    np.testing.assert_allclose(sample.image, np.full((1, 16, 16), 40 / 255), atol=1e-6)
    assert [s.label for s in dataset] == dataset.labels.tolist()
    assert dataset[-1].path == dataset.names[-1]
    with pytest.raises(IndexError):
        dataset[6]


def test_junk_is_left_out_and_noted(tmp_path, png_tree):
    png_tree(tmp_path, {**IMAGES, ".hidden/a.png": 1, "__MACOSX/b.png": 1, "masks/c.png": 1})
    for name in ("SOURCE.txt", "benign/Thumbs.db", "benign/.DS_Store", "benign/notes.docx"):
        (tmp_path / name).write_text("x")
    dataset = open_dataset(tmp_path)
    assert dataset.names == list(IMAGES)
    assert any("masks" in note for note in dataset.notes)
    assert any(".docx" in note for note in dataset.notes)


def test_masks_beside_the_images_are_their_masks(tmp_path, png_tree):
    png_tree(tmp_path, IMAGES)
    for number, column in (("", 3), ("_1", 5)):
        mask = np.zeros((16, 16), bool)
        mask[2, column] = True
        Image.fromarray(mask).save(tmp_path / "benign" / f"benign (1)_mask{number}.png")
    png_tree(tmp_path, {"malignant/lost_mask.png": 0})
    dataset = open_dataset(tmp_path)
    assert dataset.names == list(IMAGES)
    mask = dataset[0].mask
    assert mask.dtype == np.uint8
    assert np.argwhere(mask).tolist() == [[2, 3], [2, 5]]
    assert dataset[1].mask is None
    assert any("lost_mask.png" in note for note in dataset.notes)


def test_split_folders(tmp_path, png_tree):
    files = {f"{side}/{kind}/{i}.png": 0 for side in ("train", "valid", "Test")
             for kind in ("NORMAL", "PNEUMONIA") for i in (1, 2)}  # fmt: skip
    dataset = open_dataset(png_tree(tmp_path, files))
    assert dataset.classes == ("NORMAL", "PNEUMONIA")
    assert {s: dataset.splits.count(s) for s in set(dataset.splits)} == {
        "train": 4, "val": 4, "test": 4,
    }  # fmt: skip


def test_one_folder_around_the_class_folders(tmp_path, png_tree):
    dataset = open_dataset(png_tree(tmp_path, {f"archive/{name}": v for name, v in IMAGES.items()}))
    assert dataset.classes == ("benign", "malignant")


def test_empty_classes_are_named_all_at_once(tmp_path, png_tree):
    png_tree(tmp_path, IMAGES)
    (tmp_path / "normal").mkdir()
    (tmp_path / "cyst").mkdir()
    (tmp_path / "cyst" / "readme.txt").write_text("x")
    text = message(tmp_path)
    assert "'normal' holds no image" in text
    assert "'cyst' holds no image" in text


def test_all_unreadable_files_are_named_before_anything_is_trained(tmp_path, png_tree):
    png_tree(tmp_path, IMAGES)
    (tmp_path / "benign" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    Image.new("L", (1, 1)).save(tmp_path / "malignant" / "tiny.png")
    text = message(tmp_path)
    assert "broken.png" in text
    assert "only 1 x 1 pixels" in text


def test_check_reads_every_pixel(tmp_path, png_tree):
    path = png_tree(tmp_path, IMAGES) / "benign" / "benign (2).png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32)).astype(np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-200])
    dataset = open_dataset(tmp_path)
    with pytest.raises(DataError, match=r"benign \(2\)\.png"):
        dataset.check()


def test_more_than_two_classes_need_a_choice(tmp_path, png_tree):
    png_tree(tmp_path, {**IMAGES, "normal/a.png": 0})
    assert "benign (3), malignant (3), normal (1)" in message(tmp_path)
    dataset = open_dataset(tmp_path, positive="malignant")
    assert dataset.classes == ("benign+normal", "malignant")
    assert "'cyst'" in message(tmp_path, positive="cyst")


def test_grey_images_among_colour_ones(tmp_path, png_tree):
    png_tree(tmp_path, IMAGES)
    Image.new("RGB", (16, 16), (255, 0, 0)).save(tmp_path / "benign" / "colour.png")
    dataset = open_dataset(tmp_path)
    assert {sample.image.shape for sample in dataset} == {(3, 16, 16)}
    assert any("grey" in note for note in dataset.notes)


def test_what_is_no_data_set(tmp_path, png_tree):
    assert "does not exist" in message(tmp_path / "nowhere")
    assert "--labels" in message(tmp_path)
    png_tree(tmp_path, {"a.png": 0})
    assert "one file" in message(tmp_path / "a.png")
    assert "neither a table" in message(tmp_path)
    with pytest.raises(UsageError, match="--group-column"):
        open_dataset(png_tree(tmp_path / "x", IMAGES), group_column="patient")


# DICOM and MedMNIST -------------------------------------------------------------------

RAMP = np.arange(256, dtype=np.uint16).reshape(16, 16)


def test_a_folder_of_dicom(tmp_path, dicom_file):
    for folder in ("normal/s1", "tumour/s1"):
        (tmp_path / folder).mkdir(parents=True)
    dicom_file(RAMP, name="normal/s1/IM0001", PatientID="A")
    dicom_file(np.stack([RAMP, RAMP]), name="tumour/s1/IM0001", PatientID="B")
    dicom_file(RAMP, name="tumour/s1/IM0002.dcm", PatientID="B", PixelSpacing=[0.5, 0.5])
    dicom_file(RAMP, name="tumour/s1/report.dcm", Rows=None, Modality="SR")
    dataset = open_dataset(tmp_path)
    assert dataset.names == ["normal/s1/IM0001", "tumour/s1/IM0001#0", "tumour/s1/IM0001#1",
                             "tumour/s1/IM0002.dcm"]  # fmt: skip
    assert dataset.labels.tolist() == [0, 1, 1, 1]
    # Groups are named after files: pseudonyms differ between users, splits must not.
    assert dataset.groups == ["normal/s1/IM0001"] + ["tumour/s1/IM0001"] * 3
    assert dataset.patients[1] == dataset.patients[3] != dataset.patients[0]
    assert "B" not in dataset.patients
    assert dataset[3].spacing == (0.5, 0.5)
    assert any("report.dcm" in note for note in dataset.notes)


def test_one_patient_id_in_all_files_is_a_placeholder(tmp_path, dicom_file):
    for folder in ("normal", "tumour"):
        (tmp_path / folder).mkdir()
        for number in (1, 2):
            dicom_file(RAMP, name=f"{folder}/{number}.dcm", PatientID="X")
    dataset = open_dataset(tmp_path)
    assert dataset.groups == dataset.names
    assert any("placeholder" in note for note in dataset.notes)


def test_a_table_that_names_a_report_or_a_broken_file(tmp_path, dicom_file):
    dicom_file(RAMP, name="a.dcm")
    dicom_file(RAMP, name="b.dcm", Rows=None, Modality="SR")
    (tmp_path / "c.dcm").write_bytes((tmp_path / "a.dcm").read_bytes()[:150])
    text = message(table(tmp_path, "file,label", "a,0", "b,1", "c,1"))
    assert "row 3:" in text
    assert "holds no image (SR)" in text
    assert "row 4:" in text


def medmnist(path, counts=(5, 3, 4), shape=(28, 28)):
    rng = np.random.default_rng(0)
    arrays = {}
    for side, count in zip(("train", "val", "test"), counts):
        arrays[f"{side}_images"] = rng.integers(0, 255, (count, *shape)).astype(np.uint8)
        arrays[f"{side}_labels"] = (np.arange(count) % 2)[:, None].astype(np.uint8)
    np.savez_compressed(path, **arrays)
    return arrays


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 3)])
def test_medmnist(tmp_path, shape):
    arrays = medmnist(tmp_path / "some.npz", shape=shape)
    dataset = open_dataset(tmp_path / "some.npz")
    assert dataset.splits == ["train"] * 5 + ["val"] * 3 + ["test"] * 4
    assert dataset.classes == ("0", "1")
    assert dataset.labels.tolist() == [0, 1, 0, 1, 0, 0, 1, 0, 0, 1, 0, 1]
    sample = dataset[6]
    assert sample.path == "some.npz#val/1"
    wanted = arrays["val_images"][1].reshape(28, 28, -1).transpose(2, 0, 1) / 255
    np.testing.assert_allclose(sample.image, wanted, atol=1e-6)


def test_breastmnist_knows_that_its_0_is_malignant(tmp_path):
    medmnist(tmp_path / "breastmnist_64.npz")
    dataset = open_dataset(tmp_path / "breastmnist_64.npz")
    assert dataset.classes == ("normal or benign", "malignant")
    assert dataset.labels[:2].tolist() == [1, 0]


def test_bad_medmnist(tmp_path):
    arrays = medmnist(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", images=arrays["train_images"])
    assert "train_images" in message(tmp_path / "b.npz")
    np.savez(tmp_path / "b.npz", train_images=arrays["train_images"])
    assert "no train_labels" in message(tmp_path / "b.npz")
    labels = np.zeros((5, 14), np.uint8)
    np.savez(tmp_path / "b.npz", train_images=arrays["train_images"], train_labels=labels)
    assert "shape (5, 14)" in message(tmp_path / "b.npz")


# Laziness and cache -------------------------------------------------------------------


def test_samples_are_cached_read_only_and_within_bounds(tmp_path, png_tree, monkeypatch):
    from nnmed.data import datasets

    reads = []
    load = datasets.load
    monkeypatch.setattr(datasets, "load", lambda *a: reads.append(a[0].name) or load(*a))
    size = 16 * 16 * 4
    dataset = open_dataset(png_tree(tmp_path, IMAGES), cache_bytes=2 * size)
    assert not reads
    first, again = dataset[0], dataset[0]
    assert reads == dataset.names[:1]
    assert first is not again
    assert first.image is again.image
    first.label = 7  # belongs to the caller
    assert dataset[0].label == 0
    with pytest.raises(ValueError, match="read-only"):
        first.image[:] = 0
    dataset[1], dataset[0], dataset[2]  # forgets 1, which was used before 0
    reads.clear()
    dataset[0], dataset[2], dataset[1]
    assert reads == [dataset.names[1]]
    tiny = open_dataset(tmp_path, cache_bytes=0)
    assert tiny[0].image.shape == tiny[0].image.shape


def test_threads_may_share_a_data_set(tmp_path, png_tree):
    from concurrent.futures import ThreadPoolExecutor

    dataset = open_dataset(png_tree(tmp_path, IMAGES), cache_bytes=3000)
    with ThreadPoolExecutor(8) as pool:
        samples = list(pool.map(dataset.__getitem__, list(range(6)) * 20))
    assert [s.path for s in samples] == dataset.names * 20
    assert all(s.image[0, 0, 0] == dataset[i % 6].image[0, 0, 0] for i, s in enumerate(samples))


# Real data ----------------------------------------------------------------------------


def test_busi(shared_data):
    dataset = open_dataset(
        shared_data / "busi_ultrasound", positive="malignant", group_column="dup_group"
    )
    assert len(dataset) == 780
    assert dataset.labels.sum() == 210
    assert dataset.splits.count("test") == 157
    assert sum(dataset.labels[[s == "test" for s in dataset.splits]]) == 42
    assert len(set(dataset.groups)) == 742
    assert dataset[0].image.shape == (3, 256, 256)


def test_lgg(shared_data):
    dataset = open_dataset(shared_data / "lgg_brain_mri")
    assert len(dataset) == 400
    assert dataset.labels.sum() == 250
    assert len(set(dataset.groups)) == 50
    by_number = open_dataset(
        shared_data / "lgg_brain_mri", label_column="tumour_pixels", positive=">0"
    )
    assert (by_number.labels == dataset.labels).all()
    for index in range(0, 400, 37):
        sample = dataset[index]
        assert sample.mask.sum() == int(by_number.label_names[index])
        rows, columns = np.nonzero(sample.mask)
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] if len(rows) else []
        assert sample.boxes.ravel().tolist() == box


def test_mini_mias(shared_data):
    dataset = open_dataset(shared_data / "mini_mias", label_column="severity", positive="M")
    assert len(dataset) == 84
    assert dataset.labels.sum() == 13
    assert len(dataset[dataset.names.index("mdb132.pgm")].boxes) == 2
    assert dataset[0].image.shape == (1, 1024, 1024)


def test_odd_dicom_files_with_a_table(shared_data, tmp_path):
    names = ("CT_small.dcm", "emri_small", "RG1_J2KI.dcm", "SC_rgb.dcm")
    rows = [f"{name},{number % 2}" for number, name in enumerate(names)]
    table(tmp_path, "file,label", *rows)
    dataset = open_dataset(shared_data / "dicom_odd", labels=tmp_path / "labels.csv")
    assert len(dataset) == 13
    assert dataset.names[1] == "emri_small.dcm#0"
    assert dataset[0].image.shape[0] == 3
