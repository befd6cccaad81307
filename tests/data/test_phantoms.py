"""The synthetic data set: the label decides about the nodule and about nothing else."""

from __future__ import annotations

import csv
import subprocess
import sys

import numpy as np
import pydicom
import pytest
from scipy import ndimage

from nnmed.backend import random
from nnmed.data.phantoms import CLASSES, make_phantom, write_phantoms
from nnmed.data.phantoms.collection import deal, patient_of
from nnmed.data.phantoms.dicom import window_of, write_dicom
from nnmed.data.phantoms.physics import BLUR_RADIUS, LARGEST, poisson
from nnmed.data.phantoms.render import SIZE, SPACING


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("phantoms")
    write_phantoms(path, count=24)
    return path


@pytest.fixture(scope="module")
def table(folder):
    with (folder / "labels.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def reach(mask, pixels):
    """Widen a mask by so many pixels in all eight directions."""
    return ndimage.binary_dilation(mask, np.ones((3, 3)), iterations=pixels)


@pytest.mark.parametrize("index", range(6))
def test_only_the_nodule_depends_on_the_label(index):
    normal, nodule = (make_phantom(index, label=label) for label in (0, 1))
    added = nodule.projection - normal.projection
    # The mask holds pixels at least half covered, so the nodule may touch one pixel more.
    assert np.all(added[~reach(nodule.mask, 1)] == 0)
    assert np.all(added[nodule.mask == 1] > 0)
    assert added.max() == pytest.approx(nodule.nodule.contrast, rel=0.1)
    # Noise included, down to the last bit.
    changed = normal.pixels != nodule.pixels
    assert not np.any(changed & ~reach(nodule.mask, 1 + BLUR_RADIUS))
    assert changed[nodule.mask == 1].mean() > 0.9
    for name in ("patient", "visit", "split", "nodule", "exposure", "inverted", "spacing"):
        assert getattr(normal, name) == getattr(nodule, name), name


def test_files_of_a_pair_differ_only_in_pixels(tmp_path):
    for index in range(8):
        headers = []
        for label in (0, 1):
            path = tmp_path / f"{index}-{label}.dcm"
            write_dicom(path, make_phantom(index, label=label))
            headers.append(pydicom.dcmread(path))
        assert headers[0].PixelData != headers[1].PixelData
        del headers[0].PixelData, headers[1].PixelData
        assert headers[0] == headers[1]
        assert headers[0].file_meta == headers[1].file_meta
    assert len({path.stat().st_size for path in tmp_path.iterdir()}) == 1


def test_a_phantom_is_a_function_of_index_and_seed_alone():
    first = make_phantom(5, seed=3)
    random.seed(99)
    make_phantom(4, seed=3)
    again = make_phantom(5, seed=3)
    np.testing.assert_array_equal(first.pixels, again.pixels)
    assert first.nodule == again.nodule
    assert not np.array_equal(first.pixels, make_phantom(5, seed=4).pixels)


def test_files_do_not_depend_on_how_many_are_made(folder, tmp_path):
    write_phantoms(tmp_path, count=4)
    for path in sorted((tmp_path / "images").iterdir()):
        assert path.read_bytes() == (folder / "images" / path.name).read_bytes()
    lines = (tmp_path / "labels.csv").read_text().splitlines()
    assert lines == (folder / "labels.csv").read_text().splitlines()[:5]


def test_patients_stay_on_one_side_and_classes_balance():
    assert [patient_of(i) for i in range(6)] == [(0, 0), (1, 0), (1, 1), (2, 0), (3, 0), (3, 1)]
    for block in range(3):
        dealt = [deal(number, seed=0) for number in range(40 * block, 40 * block + 40)]
        for label in (0, 1):
            splits = [split for was, split in dealt if was == label]
            counts = [splits.count(name) for name in ("train", "val", "test")]
            assert counts == [13, 3, 4]
    # The order of the patients says nothing about the label.
    labels = np.array([deal(number, seed=0)[0] for number in range(1200)])
    assert abs(np.corrcoef(labels, np.arange(1200))[0, 1]) < 0.08
    assert abs(np.corrcoef(labels, np.arange(1200) % 2)[0, 1]) < 0.08


def test_files_are_honest_12_bit_dicom(folder, table):
    kinds = set()
    for row in table:
        ds = pydicom.dcmread(folder / row["file"])
        kinds.add(ds.PhotometricInterpretation)
        assert ds.Modality == "DX"
        assert (ds.BitsAllocated, ds.BitsStored, ds.HighBit) == (16, 12, 11)
        assert ds.PatientID == row["patient"]
        assert "SYNTHETIC PHANTOM" in ds.SeriesDescription
        assert "SYNTHETIC PHANTOM" in ds.ImageComments
        pixels = ds.pixel_array
        assert pixels.max() <= LARGEST
        assert len(np.unique(pixels)) > 500
    assert kinds == {"MONOCHROME1", "MONOCHROME2"}
    assert "SYNTHETIC" in (folder / "README.txt").read_text()
    assert len({path.stat().st_size for path in (folder / "images").iterdir()}) == 1


def test_monochrome1_shows_the_same_picture():
    phantom = make_phantom(0)

    def shown(values, inverted):
        centre, width = window_of(phantom.exposure, inverted)
        y = (values.astype(float) - (centre - 0.5)) / (width - 1) + 0.5
        return 1 - np.clip(y, 0, 1) if inverted else np.clip(y, 0, 1)

    there = shown(phantom.pixels, inverted=False)
    np.testing.assert_allclose(shown(LARGEST - phantom.pixels, inverted=True), there, atol=1e-12)
    assert 0.1 < there.mean() < 0.7
    assert np.mean(there == 1) < 0.02


def test_table_matches_masks(folder, table):
    from PIL import Image

    assert {row["label"] for row in table} == set(CLASSES)
    for row in table:
        with Image.open(folder / row["mask"]) as image:
            mask = np.asarray(image)
        assert mask.shape == (SIZE, SIZE)
        if row["label"] == "normal":
            assert not mask.any()
            assert not any(row[name] for name in ("x0", "y0", "x1", "y1", "diameter_mm"))
            continue
        x0, y0, x1, y1 = (int(row[name]) for name in ("x0", "y0", "x1", "y1"))
        assert mask[y0:y1, x0:x1].sum() == mask.sum() > 0
        assert mask[y0:y1, x0:x1].any(axis=0).all()
        assert mask[y0:y1, x0:x1].any(axis=1).all()
        wide = 2 * np.sqrt((mask > 0).sum() / np.pi) * SPACING
        assert wide == pytest.approx(float(row["diameter_mm"]), rel=0.2)


def test_the_data_set_opens(folder, table):
    datasets = pytest.importorskip("nnmed.data.datasets")
    dataset = datasets.open_dataset(folder)
    assert len(dataset) == len(table)
    assert list(dataset.classes) == list(CLASSES)
    assert [CLASSES[label] for label in dataset.labels] == [row["label"] for row in table]
    assert list(dataset.groups) == [row["patient"] for row in table]
    assert list(dataset.splits) == [row["split"] for row in table]
    sample = dataset[int(np.argmax(dataset.labels))]
    assert sample.image.shape == (1, SIZE, SIZE)
    x0, y0, x1, y1 = sample.boxes[0].astype(int)
    assert sample.mask[y0:y1, x0:x1].sum() == sample.mask.sum() > 0


@pytest.mark.parametrize("mean", [20.0, 150.0, 5000.0])
def test_poisson_has_the_moments_of_poisson(mean):
    deviates = np.random.default_rng(0).standard_normal(1_000_000)
    count = poisson(np.full(deviates.shape, mean), deviates)
    assert np.all(count == np.rint(count))
    assert count.mean() == pytest.approx(mean, abs=4 * np.sqrt(mean / count.size))
    assert count.var() == pytest.approx(mean, rel=0.01)
    skewness = np.mean((count - mean) ** 3) / mean**1.5
    assert skewness == pytest.approx(mean**-0.5, abs=0.02)


def test_noise_follows_the_dose():
    """Far from edges, pixel noise is what photon statistics and blur predict, not more."""
    quiet, noisy = [], []
    for index in range(30):
        phantom = make_phantom(index, label=0)
        patch = phantom.pixels[150:180, 90:102] / phantom.exposure.gain
        spread = np.std(patch[:, 1:] - patch[:, :-1])
        (noisy if phantom.exposure.photons < 14e3 else quiet).append(spread)
    assert np.mean(noisy) > 1.2 * np.mean(quiet)


def test_bad_arguments_are_usage_errors(tmp_path):
    from nnmed.errors import UsageError

    for arguments in ({"index": -1}, {"index": 0, "seed": -1}, {"index": 0, "label": 2}):
        with pytest.raises(UsageError):
            make_phantom(**arguments)
    with pytest.raises(UsageError):
        write_phantoms(tmp_path, count=0)


def test_progress_is_told(tmp_path):
    seen = []
    write_phantoms(tmp_path, count=3, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.slow
def test_baselines_stay_low():
    """Logistic regression on pixels and on a histogram does not solve the task."""
    phantoms = [make_phantom(index) for index in range(480)]
    labels = np.array([phantom.label for phantom in phantoms])
    train = np.array([phantom.split == "train" for phantom in phantoms])
    pixels, histograms = [], []
    for phantom in phantoms:
        centre, width = window_of(phantom.exposure, inverted=False)
        shown = np.clip((phantom.pixels - centre) / width + 0.5, 0, 1)
        pixels.append(ndimage.zoom(shown, 28 / SIZE, order=1).ravel())
        histograms.append(np.histogram(shown, 32, (0, 1))[0])
    for features in (np.array(pixels), np.array(histograms, float)):
        for penalty in (0.003, 0.1):
            scores = logistic_regression(features, labels, train, penalty)
            assert roc_auc(labels[~train], scores[~train]) <= 0.75


def logistic_regression(features, labels, train, penalty):
    """Scores of an L2-penalised logistic regression fitted by accelerated gradient steps."""
    x = (features - features[train].mean(0)) / (features[train].std(0) + 1e-9)
    x = np.hstack((x, np.ones((len(x), 1))))
    xt, t = x[train], labels[train]
    rate = 1 / (np.linalg.norm(xt, 2) ** 2 / (4 * len(t)) + penalty)
    w = look = np.zeros(x.shape[1])
    for step in range(400):
        p = 1 / (1 + np.exp(-np.clip(xt @ look, -30, 30)))
        new = look - rate * (xt.T @ (p - t) / len(t) + penalty * look)
        w, look = new, new + step / (step + 3) * (new - w)
    return x @ w


def roc_auc(labels, scores):
    positive, negative = scores[labels == 1], scores[labels == 0]
    return np.mean(positive[:, None] > negative[None, :])


WHILE_LOADING = """
import sys, tempfile, threading
from pathlib import Path

from nnmed.data.phantoms import make_phantom
from nnmed.data.phantoms.dicom import write_dicom

assert "pydicom" not in sys.modules
phantom, folder, errors = make_phantom(0, 0), Path(tempfile.mkdtemp()), []
ready = threading.Event()

def write(name):
    try:
        write_dicom(folder / name, phantom)
    except BaseException as error:
        errors.append(error)

class Slow:
    # Halts the first thread when it has loaded a part of pydicom, but not the whole.

    def find_spec(self, name, path, target=None):
        part = sys.modules.get("pydicom.dataset")
        loaded = part is not None and not getattr(part.__spec__, "_initializing", False)
        if name.startswith("pydicom.") and loaded and threading.current_thread() is first:
            sys.meta_path.remove(self)
            ready.set()
            second.join(0.5)

sys.meta_path.insert(0, Slow())
first = threading.Thread(target=write, args=("first.dcm",))
second = threading.Thread(target=lambda: ready.wait() and write("second.dcm"))
first.start()
second.start()
first.join()
second.join()
assert ready.is_set()
assert not errors, errors
"""


def test_two_threads_may_write_the_first_files():
    # A process of its own, in which nobody has loaded pydicom yet.
    subprocess.run([sys.executable, "-c", WHILE_LOADING], check=True)
