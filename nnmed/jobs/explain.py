"""``nnmed explain``: the derivation of a trained detector's loss for one image, as a page."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import nnmed
from nnmed import functional as F
from nnmed.errors import UsageError
from nnmed.explain import Derivation, explain
from nnmed.jobs.saved_run import SavedRun, open_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the job to `parser`."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="the folder of a detection run")
    parser.add_argument("image", type=Path, metavar="IMAGE", help="an image file")
    parser.add_argument(
        "-o", "--out", type=Path, default=Path("explain.html"), metavar="FILE",
        help="the page to write (default: explain.html)",
    )  # fmt: skip
    parser.add_argument(
        "--label", metavar="CLASS",
        help="the class that the image has; default: the one that the network takes it for",
    )  # fmt: skip
    parser.add_argument(
        "--frame", type=int, default=0, metavar="N", help="frame or page of the file, from 0"
    )
    parser.add_argument(
        "--pixel", type=_pixel, metavar="ROW,COLUMN",
        help="the pixel, from 0, whose way to the loss is worked out; default: the one with the "
        "largest gradient",
    )  # fmt: skip
    parser.add_argument(
        "--beside", type=Path, metavar="MODEL", help="a second run of the same network, to compare"
    )


def _pixel(text: str) -> tuple[int, int]:
    parts = text.split(",")
    if len(parts) != 2 or not all(part.strip().isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is no ROW,COLUMN, such as 52,18")
    return int(parts[0]), int(parts[1])


def run(options: argparse.Namespace) -> None:
    """Write the page.

    Raises
    ------
    DataError, ModelError
        If a run or the image cannot be read.
    UsageError
        If there is no such class, frame or pixel, or the second run has another network.
    """
    exist = options.out.exists() and options.image.exists()
    if exist and options.out.samefile(options.image):
        raise UsageError(f"-o {options.out} is the image itself: name another file")
    own = open_run(options.model)
    beside = None if options.beside is None else open_run(options.beside)
    shares = _shares(own, options)
    label = options.label or max(shares, key=shares.get)
    if label not in own.classes:
        raise UsageError(f"--label {label}: the classes are {', '.join(own.classes)}")
    derivation = _derive(own, options, label)
    other = None if beside is None else _derive(beside, options, label)
    pixel = _checked_pixel(derivation, options)
    classes = ", ".join(f"{number} {name}" for number, name in enumerate(own.classes))
    title = (
        f"{options.image.name}: loss for the class {label} (of {classes}), to which "
        f"{options.model} gives {shares[label]:.3f}"
    )
    follow = "image", (0, slice(None), *pixel)
    derivation.to_html(options.out, title=title, beside=other, follow=follow)
    loss = float(derivation.step(0).output_value)
    print(f"{options.out}: L = {loss:.4f} for class {label}, {len(derivation)} steps of backward")
    print(f"the way of pixel {pixel[0]},{pixel[1]} to the loss is worked out")


def _shares(saved: SavedRun, options) -> dict[str, float]:
    """Return the probability that the network gives each class."""
    with nnmed.no_grad():
        scores = saved.model(nnmed.Tensor(saved.read(options.image, options.frame)))
        probabilities = F.softmax(scores, 1).numpy()[0]
    return dict(zip(saved.classes, map(float, probabilities)))


def _checked_pixel(derivation: Derivation, options) -> tuple[int, int]:
    """Return the pixel that is asked for, else the one whose gradient is largest."""
    gradient = derivation.tensor("image").gradient[0].sum(axis=0)
    rows, columns = gradient.shape
    if options.pixel is None:
        return tuple(map(int, np.unravel_index(np.abs(gradient).argmax(), gradient.shape)))
    row, column = options.pixel
    if row >= rows or column >= columns:
        raise UsageError(
            f"--pixel {row},{column}: the network sees {rows} rows and {columns} columns"
        )
    return row, column


def _derive(saved: SavedRun, options, label: str) -> Derivation:
    if label not in saved.classes:
        raise UsageError(f"--beside: its classes are {', '.join(saved.classes)}")
    image = nnmed.Tensor(saved.read(options.image, options.frame), requires_grad=True)
    with nnmed.recording(saved.model):
        loss = F.cross_entropy(saved.model(image), nnmed.Tensor([saved.classes.index(label)]))
    derivation = explain(loss, saved.model)
    derivation.verify()
    return derivation
