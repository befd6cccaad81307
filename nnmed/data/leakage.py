"""Finding what stands on two sides of a split: patients, files, images, near-duplicates.

A score is honest only if nothing of the test images was seen in training. Names are not
enough to know: public sets hold the same image under two names, and the frames of one
examination under many.

Near-duplicates are found in two steps. A *difference hash* (dHash; N. Krawetz, "Kind of
like that", hackerfactor.com, 2013) reduces an image to 16 rows of 17 grey values; each of
its 256 bits tells whether a value is smaller than its right neighbour. Images of the same
kind can agree in that (chest X-rays do), so their fine detail must correlate as well: the
image at 64 x 64 without its local mean (5 x 5) and divided by its local spread (9 x 9).
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from nnmed.backend.threads import chunks, get_num_threads
from nnmed.data.sample import Sample
from nnmed.data.splits import SIDES
from nnmed.errors import UsageError

THRESHOLD = 8
"""Bits of 256 in which hashes of near-duplicates may differ, unless the caller says otherwise.

Measured together with the detail: of 780 breast ultrasound images 55 pairs are within 8
bits, 114 within 16, 133 within 24 (sixteen of these beyond 15 bits were looked at: all
true). Of 400 brain slices and 84 mammograms no two of different patients are within 24.
Of 1260 chest phantoms, all different, 4 pairs are within 8 bits and 26 within 24 (by the
hash alone 948 and 102,046). So 8 hardly ever raises a false alarm, and a wider search
finds more frames of one examination.
"""

MIN_DETAIL = 0.75
"""Correlation of fine detail that near-duplicates reach at least."""

DETAIL_SIDE = 64

KINDS = {
    "group": "groups on two sides",
    "patient": "patients on two sides",
    "file": "identical files, or frames of one file",
    "pixels": "identical pixels",
    "near": "near-duplicates",
}

_BLOCK = 256  # images compared with all of another side at a time


@dataclasses.dataclass(frozen=True)
class Leak:
    """Something that stands on two sides.

    Attributes
    ----------
    kind : str
        One of :data:`KINDS`.
    sides : (str, str)
        In the order train, val, test.
    indices : (int, int)
        A sample of each side.
    paths : (str, str)
    distance : int or None
        Differing bits of 256, for near-duplicates.
    name : str or None
        The group or patient.
    """

    kind: str
    sides: tuple[str, str]
    indices: tuple[int, int]
    paths: tuple[str, str]
    distance: int | None = None
    name: str | None = None

    def __str__(self):
        what = f"{self.name}: " if self.name is not None else ""
        bits = f" ({self.distance} bits)" if self.distance is not None else ""
        return f"{what}{self.paths[0]} in {self.sides[0]}, {self.paths[1]} in {self.sides[1]}{bits}"


@dataclasses.dataclass(frozen=True)
class LeakageReport:
    """What :func:`check_leakage` found.

    Attributes
    ----------
    leaks : list of Leak
    sizes : dict
        Number of images on each side.
    threshold : int
        Largest distance of near-duplicates, in bits of 256.
    n_flat : int
        Images of one grey value; they are all alike and prove nothing.
    """

    leaks: list[Leak]
    sizes: dict[str, int]
    threshold: int
    n_flat: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """Number of leaks of each kind."""
        return {kind: sum(leak.kind == kind for leak in self.leaks) for kind in KINDS}

    def __bool__(self):
        """Tell whether there is any leak."""
        return bool(self.leaks)

    def summary(self, examples: int = 3) -> str:
        """Return a few lines for people: counts, and some `examples` of each kind."""
        sizes = ", ".join(f"{side} {size}" for side, size in self.sizes.items())
        lines = [f"leak check of {sum(self.sizes.values())} images ({sizes})"]
        for kind, count in self.counts.items():
            rule = f" (dHash within {self.threshold} of 256 bits)" if kind == "near" else ""
            lines.append(f"  {KINDS[kind]}{rule}: {count or 'none'}")
            found = [leak for leak in self.leaks if leak.kind == kind]
            lines += [f"    {leak}" for leak in found[:examples]]
        if self.n_flat:
            lines.append(f"  {self.n_flat} images of one grey value were not compared")
        return "\n".join(lines)

    def to_dict(self) -> dict:
        """Return everything, ready for JSON."""
        return {
            "sizes": self.sizes,
            "threshold": self.threshold,
            "n_flat": self.n_flat,
            "counts": self.counts,
            "leaks": [dataclasses.asdict(leak) for leak in self.leaks],
        }


def check_leakage(
    samples: Sequence[Sample],
    splits: Sequence[str | None],
    groups: Sequence[str] | None = None,
    threshold: int = THRESHOLD,
) -> LeakageReport:
    """Look for patients, files and images that stand on two sides of a split.

    Parameters
    ----------
    samples : sequence of Sample
        A Dataset or a list, as the readers give it (no transform applied). Each is read once,
        from several threads.
    splits : N names
        "train", "val", "test"; None leaves a sample out.
    groups : N names, optional
        By default ``samples.groups``, if there is such a thing. Patients
        (``sample.patient``) are checked besides.
    threshold : int
        Bits of 256 in which near-duplicates may differ.

    Returns
    -------
    LeakageReport
        A group or patient is listed once for each two sides. An image is listed once for
        each earlier side, with its closest counterpart there: as the same file, else the
        same pixels, else a near-duplicate.

    Raises
    ------
    UsageError
        If `splits` or `groups` have another length than `samples`, or a name is unknown.
    DataError
        If an image cannot be read.
    """
    groups = getattr(samples, "groups", None) if groups is None else groups
    _check_arguments(samples, splits, groups, threshold)
    rows = [row for row, side in enumerate(splits) if side is not None]
    with ThreadPoolExecutor(get_num_threads(), "nnmed-leakage") as pool:
        prints = list(pool.map(lambda row: _fingerprint(samples[row]), rows))
    # A data set's samples are named from its folder on; its `paths` can be opened.
    given = getattr(samples, "paths", None)
    paths = [p.path if given is None else given[row] for p, row in zip(prints, rows)]
    names = [p.path or f"sample {row}" for p, row in zip(prints, rows)]
    sides = np.array([SIDES.index(splits[row]) for row in rows], np.int64)
    seen = _Seen(rows, names, sides)
    leaks = []
    if groups is not None:
        leaks += seen.shared("group", [groups[row] for row in rows])
    leaks += seen.shared("patient", [p.patient for p in prints])
    leaks += seen.same("file", _file_digests(paths))
    leaks += seen.same("pixels", [p.pixels for p in prints])
    leaks += seen.near(prints, threshold)
    sizes = {side: int((sides == number).sum()) for number, side in enumerate(SIDES)}
    return LeakageReport(leaks, sizes, threshold, sum(p.flat for p in prints))


class _Seen:
    """The samples that are compared, and which images were found on an earlier side already."""

    def __init__(self, rows, names, sides):
        self._rows, self._names, self._sides = rows, names, sides
        self._found = set()  # (image, earlier side)

    def shared(self, kind, keys):
        """Return one leak for each name that stands on two sides, and each two sides."""
        first = {}  # name -> side -> first image there
        for image, key in enumerate(keys):
            if key is not None:
                first.setdefault(key, {}).setdefault(int(self._sides[image]), image)
        return [
            self._leak(kind, by_side[a], by_side[b], name=str(key))
            for key, by_side in first.items()
            for a, b in _two_sides()
            if a in by_side and b in by_side
        ]

    def same(self, kind, keys):
        """Return one leak for each image whose key an earlier side has, and that side."""
        first = {}
        for image, key in enumerate(keys):
            if key is not None:
                first.setdefault((key, int(self._sides[image])), image)
        leaks = []
        for image, key in enumerate(keys):
            for side in range(self._sides[image]):
                twin = first.get((key, side))
                if key is not None and twin is not None and (image, side) not in self._found:
                    self._found.add((image, side))
                    leaks.append(self._leak(kind, twin, image))
        return leaks

    def near(self, prints, threshold):
        """Return one leak for each image that has a near-duplicate on an earlier side."""
        images = np.array([image for image, p in enumerate(prints) if not p.flat], np.int64)
        if not images.size:
            return []
        hashes = np.stack([prints[image].hash for image in images])
        sides = self._sides[images]
        leaks = []
        for a, b in _two_sides():
            earlier, later = images[sides == a], images[sides == b]
            hashes_a, hashes_b = hashes[sides == a], hashes[sides == b]
            for start, stop in chunks(len(later), _BLOCK):
                distances = _distances(hashes_b[start:stop], hashes_a)
                for row in np.flatnonzero((distances <= threshold).any(1)):
                    image = int(later[start + row])
                    if (image, a) in self._found:
                        continue
                    near = np.flatnonzero(distances[row] <= threshold)
                    near = near[np.argsort(distances[row, near], kind="stable")]
                    twin = _first_alike(prints, image, earlier[near])
                    if twin is not None:
                        bits = int(distances[row, near[twin]])
                        leaks.append(self._leak("near", earlier[near[twin]], image, distance=bits))
        return leaks

    def _leak(self, kind, first, second, **details):
        both = (first, second)
        return Leak(
            kind,
            tuple(SIDES[self._sides[image]] for image in both),
            tuple(int(self._rows[image]) for image in both),
            tuple(self._names[image] for image in both),
            **details,
        )


def difference_hash(thumbnails: np.ndarray) -> np.ndarray:
    """Return the dHash of images reduced to (N, 16, 17): uint64 (N, 4), 256 bits each."""
    bits = thumbnails[:, :, 1:] > thumbnails[:, :, :-1]
    return np.packbits(bits.reshape(len(bits), 256), axis=1).view(np.uint64)


def _distances(first, second):
    """Return the Hamming distances (N, M) of hashes (N, 4) and (M, 4)."""
    total = np.zeros((len(first), len(second)), np.int16)
    for word in range(first.shape[1]):
        total += np.bitwise_count(first[:, word, None] ^ second[:, word])
    return total


def _first_alike(prints, image, candidates):
    """Return which of the candidates is the first whose detail correlates, or None."""
    detail = prints[image].detail
    for number, candidate in enumerate(candidates):
        # Products of normalised rows are correlation coefficients. einsum needs no BLAS.
        if np.einsum("i,i->", detail, prints[candidate].detail, dtype=np.float32) >= MIN_DETAIL:
            return number
    return None


@dataclasses.dataclass
class _Fingerprint:
    """What is kept of an image: 8 kB. A flat image has no digest, hash or detail."""

    path: str
    patient: str | None
    flat: bool = True
    pixels: bytes | None = None
    hash: np.ndarray | None = None
    detail: np.ndarray | None = None


def _fingerprint(sample):
    image = sample.image
    result = _Fingerprint(sample.path, sample.patient)
    if image.min() == image.max():
        return result
    grey = np.ascontiguousarray(image[0] if len(image) == 1 else image.mean(0))
    small = _reduced(grey, DETAIL_SIDE, DETAIL_SIDE)
    thumbnail = _reduced(small, 16, 17)
    # What is smaller than rounding is no structure: the image is flat to this eye.
    if np.ptp(thumbnail) <= 1e-5 * np.abs(thumbnail).max():
        return result
    digest = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image))
    result.flat, result.pixels = False, digest.digest()
    result.hash = difference_hash(thumbnail[None])[0]
    result.detail = _detail(small)
    return result


def _reduced(grey, height, width):
    from PIL import Image

    return np.asarray(Image.fromarray(grey).resize((width, height), Image.Resampling.BILINEAR))


def _detail(grey):
    """Return the fine structure of an image, with mean 0 and norm 1, as a float16 vector."""
    from scipy.ndimage import uniform_filter

    fine = grey - uniform_filter(grey, 5)
    power = np.maximum(uniform_filter(fine * fine, 9), 0)
    fine /= np.sqrt(power) + 0.1 * np.sqrt(power.mean()) + np.finfo(np.float32).tiny
    fine -= fine.mean()
    return (fine / max(np.linalg.norm(fine), 1e-9)).ravel().astype(np.float16)


def _file_digests(paths):
    """Return the digest of each file's bytes, or None: no file, or an archive of many images."""
    digests = {}
    files = [re.sub(r"#\d+$", "", path) for path in paths]
    for file in set(files):
        path = Path(file)
        if file and path.suffix.lower() != ".npz" and path.is_file():
            digests[file] = _digest(path)
    return [digests.get(file) for file in files]


def _digest(path):
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.digest()


def _two_sides():
    return [(a, b) for b in range(len(SIDES)) for a in range(b)]


def _check_arguments(samples, splits, groups, threshold):
    if len(splits) != len(samples):
        raise UsageError(f"there are {len(samples)} samples but {len(splits)} splits")
    if groups is not None and len(groups) != len(samples):
        raise UsageError(f"there are {len(samples)} samples but {len(groups)} groups")
    unknown = sorted({str(side) for side in splits if side is not None} - set(SIDES))
    if unknown:
        raise UsageError(f"unknown split {unknown[0]!r}: the names are {', '.join(SIDES)}")
    if not 0 <= threshold <= 256:
        raise UsageError(f"threshold is in bits of 256, got {threshold}")
