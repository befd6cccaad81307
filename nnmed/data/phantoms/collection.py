"""Who is in the data set: patients, visits, labels and splits; single phantoms and folders."""

from __future__ import annotations

import csv
import io
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnmed.backend.files import write_whole
from nnmed.backend.threads import parallel_for
from nnmed.errors import UsageError

from . import physics, render
from .anatomy import draw_anatomy
from .dicom import NOTICE, write_dicom
from .nodules import Nodule, draw_nodule
from .vessels import draw_spots, draw_tree

CLASSES = ("normal", "nodule")
COUNT = 1260  # 806 train, 197 validation and 257 test images for seed 0
BLOCK = 40  # patients among whom labels and splits are dealt out
TRAIN, VAL = 13, 3  # of the 20 patients of each class in a block; the rest is test
BOX = ("x0", "y0", "x1", "y1")
COLUMNS = ("file", "label", "patient", "split", *BOX, "mask", "diameter_mm", "contrast")


@dataclass(frozen=True)
class Phantom:
    """One synthetic radiograph and all that is known about it.

    Attributes
    ----------
    index, seed : what it was made from.
    patient : identifier of the patient, who may have two visits.
    visit : 0 or 1.
    split : "train", "val" or "test", the same for all visits of a patient.
    label : 1 with a nodule, 0 without.
    nodule : the nodule; of a normal phantom the one that was left out.
    pixels : uint16 (H, W), 12-bit stored values as MONOCHROME2: dense tissue is large.
    projection : float32 (H, W), line integrals of attenuation, free of noise and blur.
    mask : uint8 (H, W), 1 inside the nodule.
    boxes : float32 (K, 4) of x0, y0, x1, y1 in pixels, half open; K is 0 or 1.
    exposure : how the image was taken.
    inverted : whether the file is to be written as MONOCHROME1.
    spacing : mm per pixel, (row, column).
    """

    index: int
    seed: int
    patient: str
    visit: int
    split: str
    label: int
    nodule: Nodule
    pixels: np.ndarray
    projection: np.ndarray
    mask: np.ndarray
    boxes: np.ndarray
    exposure: physics.Exposure
    inverted: bool
    spacing: tuple[float, float] = (render.SPACING, render.SPACING)


def make_phantom(index: int, seed: int = 0, label: int | None = None) -> Phantom:
    """Make phantom `index` of the endless data set that belongs to `seed`.

    A pure function: it depends neither on how many phantoms are made nor on
    :func:`nnmed.seed`. Everything is drawn before the label is looked at; the label only
    decides whether the nodule's line integrals are added. Two phantoms of one index that
    differ in `label` therefore have equal pixels except within
    :data:`~nnmed.data.phantoms.physics.BLUR_RADIUS` pixels of a ray that crosses the nodule.

    Parameters
    ----------
    index : 0, 1, 2, ...
    seed : of the data set, in [0, 2**63).
    label : 0 or 1 to force the label; by default the one dealt to the patient.

    Raises
    ------
    UsageError
        If `index` or `seed` is negative or `label` is not 0 or 1.
    """
    if index < 0 or not 0 <= seed < 2**63:
        raise UsageError(f"index and seed must not be negative, got index {index}, seed {seed}")
    if label not in (None, 0, 1):
        raise UsageError(f"label must be 0 (normal) or 1 (nodule), got {label!r}")
    number, visit = patient_of(index)
    dealt, split = deal(number, seed)
    label = dealt if label is None else label
    anatomy = draw_anatomy(_rng(seed, "anatomy", number))
    tree = draw_tree(_rng(seed, "vessels", number), anatomy)
    spots = draw_spots(_rng(seed, "spots", number), anatomy)
    nodule = draw_nodule(_rng(seed, "nodule", number), anatomy)
    pose = render.draw_pose(_rng(seed, "pose", index))
    exposure = physics.draw_exposure(_rng(seed, "exposure", index))

    clear = render.project(anatomy, tree, spots, pose, _rng(seed, "texture", index))
    added, mask = render.nodule_map(nodule, pose)
    projection = clear + added * label
    mask = mask * np.uint8(label)
    return Phantom(
        index=index,
        seed=seed,
        patient=f"PHANTOM-{number:06d}",
        visit=visit,
        split=split,
        label=int(label),
        nodule=nodule,
        pixels=physics.expose(
            projection, clear, exposure, render.SPACING, _rng(seed, "noise", index)
        ),
        projection=projection,
        mask=mask,
        boxes=_boxes(mask),
        exposure=exposure,
        inverted=bool(_rng(seed, "photometric", index).random() < 0.25),
    )


def patient_of(index: int) -> tuple[int, int]:
    """Return the number of the patient of image `index`, and the visit.

    Every second patient comes twice: images 0, 1, 2 are of patients 0, 1, 1, and so on.
    """
    triple, rest = divmod(index, 3)
    return 2 * triple + (rest > 0), int(rest == 2)


def deal(number: int, seed: int) -> tuple[int, str]:
    """Return label and split of a patient.

    In every block of 40 patients, in random order, 20 have a nodule; of the 20 of either
    class 13 are for training, 3 for validation and 4 for the test.
    """
    block, place = divmod(number, BLOCK)
    rank = int(_rng(seed, "deal", block).permutation(BLOCK)[place])
    label, rank = rank % 2, rank // 2
    return label, "train" if rank < TRAIN else "val" if rank < TRAIN + VAL else "test"


def write_phantoms(
    folder: str | os.PathLike,
    count: int = COUNT,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write the phantoms 0 to `count` - 1 as a data set that `open_dataset` reads.

    Makes ``images/*.dcm``, ``masks/*.png`` (0 and 255), ``README.txt`` and ``labels.csv``,
    the table last: a folder without it is not complete. Its columns are file, label
    (normal or nodule), patient, split, x0, y0, x1, y1 (the box), mask, diameter_mm and
    contrast (line integral at the nodule's centre).

    Parameters
    ----------
    folder : is made; files of the same names are replaced.
    count : number of images; about two thirds as many patients.
    seed : of the data set.
    progress : called with the number of images done and `count`, from any thread.

    Raises
    ------
    UsageError
        If `count` is not positive.
    """
    if count < 1:
        raise UsageError(f"the number of phantoms must be positive, got {count}")
    folder = Path(folder)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "labels.csv").unlink(missing_ok=True)
    rows: list[dict | None] = [None] * count
    lock, done = threading.Lock(), 0

    def write(index: int) -> None:
        nonlocal done
        rows[index] = _write_one(folder, make_phantom(index, seed))
        with lock:
            done += 1
            if progress is not None:
                progress(done, count)

    parallel_for(write, count)
    (folder / "README.txt").write_text(_README.format(count=count, seed=seed), encoding="utf-8")
    _write_table(folder / "labels.csv", rows)


def _write_one(folder: Path, phantom: Phantom) -> dict:
    """Write image and mask; return the row of the table."""
    from PIL import Image

    name = f"phantom-{phantom.index:06d}"
    write_dicom(folder / "images" / f"{name}.dcm", phantom)
    Image.fromarray(phantom.mask * np.uint8(255)).save(folder / "masks" / f"{name}.png")
    row = {
        "file": f"images/{name}.dcm",
        "label": CLASSES[phantom.label],
        "patient": phantom.patient,
        "split": phantom.split,
        "mask": f"masks/{name}.png",
    }
    if phantom.label:
        row.update(zip(BOX, phantom.boxes[0].astype(int).tolist()))
        row["diameter_mm"] = f"{phantom.nodule.diameter:.1f}"
        row["contrast"] = f"{phantom.nodule.contrast:.3f}"
    return row


def _write_table(path: Path, rows: list[dict]) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(path, text.getvalue().encode())


def _boxes(mask: np.ndarray) -> np.ndarray:
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if rows.size == 0:
        return np.zeros((0, 4), np.float32)
    box = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    return np.array([box], np.float32)


def _rng(seed: int, purpose: str, number: int) -> np.random.Generator:
    """Return the generator of one purpose: a draw more here changes nothing there."""
    entropy = (seed, number, int.from_bytes(purpose.encode(), "little"))
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy)))


_README = f"""{NOTICE}S

{{count}} simulated chest radiographs made by nnmed.data.phantoms with seed {{seed}}.
No patient was ever in front of a detector: the images are drawn from simple shapes and
physics, for trying software out. A score reached on them says nothing about real images.
"""
