from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from PIL import Image

from nnmed.data.leakage import Leak, check_leakage, difference_hash
from nnmed.data.sample import Sample
from nnmed.errors import UsageError


def picture(seed, size=64, channels=1):
    """An image with coarse structure, so that resizing it keeps what it shows."""
    coarse = np.random.default_rng(seed).random((8, 8), np.float32)
    image = np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC))
    return np.repeat(image[None], channels, 0)


class BreastImages:
    """The breast ultrasound images, read without nnmed's own readers."""

    def __init__(self, folder):
        self.folder = folder
        with (folder / "labels.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        self.files = [row["file"] for row in rows]
        self.groups = [row["dup_group"] for row in rows]
        self.splits = [row["split"] for row in rows]

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        path = self.folder / self.files[index]
        with Image.open(path) as image:
            return Sample(np.asarray(image.convert("L"), np.float32)[None], path=str(path))


def test_nothing_found():
    samples = [Sample(picture(seed), patient=f"p{seed}") for seed in range(6)]
    report = check_leakage(samples, ["train", "train", "val", "val", "test", "test"])
    assert not report
    assert report.sizes == {"train": 2, "val": 2, "test": 2}
    assert "near-duplicates (dHash within 8 of 256 bits): none" in report.summary()


def test_group_and_patient_are_listed_once_for_each_two_sides():
    samples = [Sample(picture(seed), patient="Ann" if seed < 4 else None) for seed in range(6)]
    splits = ["train", "train", "test", "test", "val", "val"]
    report = check_leakage(samples, splits, groups=list("aabbac"))
    assert report.leaks[0] == Leak(
        "group", ("train", "val"), (0, 4), ("sample 0", "sample 4"), name="a"
    )
    assert report.leaks[1].kind == "patient"
    assert report.leaks[1].sides == ("train", "test")
    assert report.counts == {"group": 1, "patient": 1, "file": 0, "pixels": 0, "near": 0}
    assert "Ann: sample 0 in train, sample 2 in test" in report.summary()


def test_groups_of_a_data_set_are_used():
    class Set(list):
        groups = ("g", "g")

    samples = Set([Sample(picture(0)), Sample(picture(1))])
    assert check_leakage(samples, ["train", "test"]).counts["group"] == 1


def test_identical_files_pixels_and_near_duplicates(tmp_path):
    original = picture(0)
    for name, content in (("a.bin", b"one"), ("b.bin", b"one"), ("c.bin", b"other")):
        (tmp_path / name).write_bytes(content)
    paths = [str(tmp_path / name) for name in ("a.bin", "b.bin", "c.bin")]
    bright = Image.fromarray(original[0] * 200 + 30).resize((97, 97), Image.Resampling.BILINEAR)
    samples = [
        Sample(original, path=paths[0]),
        Sample(original.copy(), path=paths[1]),
        Sample(original.copy(), path=paths[2]),
        Sample(np.asarray(bright)[None]),
        Sample(picture(5)),
    ]
    report = check_leakage(samples, ["train", "val", "test", "test", "test"])
    found = [(leak.kind, leak.indices) for leak in report.leaks]
    assert ("file", (0, 1)) in found
    assert ("pixels", (0, 2)) in found
    assert ("pixels", (1, 2)) in found
    assert ("near", (0, 3)) in found
    assert ("near", (1, 3)) in found
    assert len(found) == 5  # an image that is the same file is not listed as the same pixels too
    assert json.loads(json.dumps(report.to_dict()))["counts"]["near"] == 2


def test_a_data_sets_own_paths_are_opened(tmp_path):
    class Set(list):
        paths = (str(tmp_path / "a.bin"), str(tmp_path / "b.bin"))

    for path in Set.paths:
        (tmp_path / path).write_bytes(b"same")
    samples = Set([Sample(picture(0), path="a.bin"), Sample(picture(1), path="b.bin")])
    (leak,) = check_leakage(samples, ["train", "test"]).leaks
    assert leak.kind == "file"
    assert leak.paths == ("a.bin", "b.bin")


def test_frames_of_one_file_count_and_archives_do_not(tmp_path):
    for name in ("cine.dcm", "set.npz"):
        (tmp_path / name).write_bytes(b"x")
    for name, count in (("cine.dcm", 1), ("set.npz", 0)):
        frames = [Sample(picture(i), path=f"{tmp_path / name}#{i}") for i in range(2)]
        assert check_leakage(frames, ["train", "test"]).counts["file"] == count


def test_only_two_sides_make_a_leak():
    samples = [Sample(picture(0), patient="p") for _ in range(4)]
    assert not check_leakage(samples, ["train", "train", None, None])
    assert not check_leakage([], [])


def test_the_closest_counterpart_is_named():
    base = picture(0)
    noisy = [base + s * picture(9) for s in (0.5, 0.05, 0.2)]
    samples = [Sample(image.astype(np.float32)) for image in (*noisy, base)]
    leaks = check_leakage(samples, ["train"] * 3 + ["test"], threshold=40).leaks
    assert [leak.indices for leak in leaks] == [(1, 3)]


def test_flat_images_are_not_alike():
    flat = [Sample(np.full((1, 32, 32), value, np.float32)) for value in (0, 0, 7, 7)]
    report = check_leakage(flat, ["train", "test", "train", "test"])
    assert not report
    assert report.n_flat == 4
    assert "4 images of one grey value" in report.summary()


def test_small_structures_on_an_empty_background_are_not_alike():
    samples = []
    for place in (4, 40):
        image = np.zeros((1, 64, 64), np.float32)
        image[:, place : place + 8, place : place + 8] = 1
        samples.append(Sample(image))
    columns = [*range(0, 64, 4), 63]
    hashes = difference_hash(np.stack([sample.image[0, ::4, columns].T for sample in samples]))
    assert np.bitwise_count(hashes[0] ^ hashes[1]).sum() <= 8
    assert not check_leakage(samples, ["train", "test"])


def test_difference_hash_is_the_plain_definition():
    thumbnails = np.random.default_rng(0).random((3, 16, 17))
    for thumbnail, words in zip(thumbnails, difference_hash(thumbnails)):
        plain = [thumbnail[i, j] < thumbnail[i, j + 1] for i in range(16) for j in range(16)]
        assert np.unpackbits(words.view(np.uint8)).tolist() == plain


def test_alike_in_the_large_but_not_in_detail():
    rng = np.random.default_rng(0)
    body = picture(0, 192)
    texture = [rng.normal(0, 0.02, (1, 64, 64)).repeat(3, 1).repeat(3, 2) for _ in range(2)]
    samples = [Sample((body + t).astype(np.float32)) for t in texture]
    thumbnails = [Image.fromarray(s.image[0]).resize((17, 16), Image.BILINEAR) for s in samples]
    hashes = difference_hash(np.stack([np.asarray(t) for t in thumbnails]))
    assert np.bitwise_count(hashes[0] ^ hashes[1]).sum() <= 16
    assert not check_leakage(samples, ["train", "test"], threshold=16)
    samples[1].image = samples[0].image * 0.7 + 0.1
    assert check_leakage(samples, ["train", "test"], threshold=16).counts["near"] == 1


def test_one_near_duplicate_is_found_among_thousands():
    rng = np.random.default_rng(0)
    samples = [Sample(image) for image in rng.random((3_000, 1, 16, 17), np.float32)]
    samples[2_999] = Sample(samples[17].image + np.float32(1e-6))
    report = check_leakage(samples, ["train"] * 2_000 + ["val"] * 500 + ["test"] * 500)
    assert [leak.indices for leak in report.leaks] == [(17, 2_999)]


def test_many_identical_images_make_one_leak_each():
    samples = [Sample(picture(0))] * 300
    assert check_leakage(samples, ["train", "test"] * 150).counts["pixels"] == 150


def test_breast_ultrasound(shared_data):
    images = BreastImages(shared_data / "busi_ultrasound")
    own = check_leakage(images, images.splits).counts
    # The set's own groups were made with another reduction to 17 x 16, so a few remain.
    assert own["group"] == own["file"] == own["pixels"] == 0
    assert own["near"] <= 12
    # The same images at random, those that stand alone left out for speed.
    sides = np.random.default_rng(0).permutation(images.splits)
    alone = [images.groups.count(group) == 1 for group in images.groups]
    mixed = check_leakage(images, [None if a else str(s) for a, s in zip(alone, sides)]).counts
    assert mixed["group"] >= 10
    assert mixed["near"] >= 10


@pytest.mark.parametrize(
    ("splits", "options", "message"),
    [
        (["train"], {}, "2 samples but 1 splits"),
        (["train", "dev"], {}, "unknown split 'dev'"),
        (["train", "test"], {"groups": ["a"]}, "2 samples but 1 groups"),
        (["train", "test"], {"threshold": 257}, "bits of 256"),
    ],
)
def test_bad_arguments(splits, options, message):
    with pytest.raises(UsageError, match=message):
        check_leakage([Sample(picture(0)), Sample(picture(1))], splits, **options)
