"""``nnmed explain``: the derivation of a trained detector's loss for one image, as a page."""

from __future__ import annotations

import argparse
from pathlib import Path

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
        "--beside", type=Path, metavar="MODEL", help="a second run of the same network, to compare"
    )


def run(options: argparse.Namespace) -> None:
    """Write the page.

    Raises
    ------
    DataError, ModelError
        If a run or the image cannot be read.
    UsageError
        If there is no such class or frame, or the second run has another network.
    """
    exist = options.out.exists() and options.image.exists()
    if exist and options.out.samefile(options.image):
        raise UsageError(f"-o {options.out} is the image itself: name another file")
    own = open_run(options.model)
    beside = None if options.beside is None else open_run(options.beside)
    label = options.label or _taken_for(own, options)
    derivation = _derive(own, options, label)
    other = None if beside is None else _derive(beside, options, label)
    title = f"{options.image.name} ({label}), {options.model}"
    derivation.to_html(options.out, title=title, beside=other)
    loss = float(derivation.step(0).output_value)
    print(f"{options.out}: L = {loss:.4f} for class {label}, {len(derivation)} steps of backward")


def _taken_for(saved: SavedRun, options) -> str:
    with nnmed.no_grad():
        scores = saved.model(nnmed.Tensor(saved.read(options.image, options.frame)))
    return saved.classes[int(scores.numpy()[0].argmax())]


def _derive(saved: SavedRun, options, label: str) -> Derivation:
    if label not in saved.classes:
        raise UsageError(f"--label {label}: the classes are {', '.join(saved.classes)}")
    image = nnmed.Tensor(saved.read(options.image, options.frame), requires_grad=True)
    with nnmed.recording(saved.model):
        loss = F.cross_entropy(saved.model(image), nnmed.Tensor([saved.classes.index(label)]))
    derivation = explain(loss, saved.model)
    derivation.verify()
    return derivation
