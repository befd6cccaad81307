"""What the lessons share: two options, a way to show a figure, and the check at the end."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from nnmed.report import save


def folder(text: str) -> Path:
    """Return the folder of that name, made if need be."""
    try:
        Path(text).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error.strerror}; name another folder") from None
    return Path(text)


parser = argparse.ArgumentParser(description="A lesson on backprop, to be read and run.")
parser.add_argument("--out", type=folder, default="backprop-figures", help="folder for the figures")
parser.add_argument("--quick", action="store_true", help="train and measure less")
# In a notebook the command line is Jupyter's.
options = parser.parse_args([] if "ipykernel" in sys.modules else None)


class Picture:
    """A figure that was written; a notebook shows it."""

    def __init__(self, path: Path):
        self.path = path

    def _repr_png_(self) -> bytes:
        return self.path.read_bytes()


def show(figure, name: str) -> Picture:
    """Write `figure` as ``name.png`` into the folder for the figures."""
    path = save(figure, options.out / f"{name}.png")
    print(f"figure: {path}")
    return Picture(path)


def check(claim: str, first, second, change: tuple[str, str], tolerance: float = 1e-12) -> None:
    """Compare two numbers or arrays, print both, and end the lesson if they differ.

    Parameters
    ----------
    claim : str
        What the two are, as an equation.
    first, second : number or array
    change : (str, str)
        A piece of the lesson, and what to put in its place to see the check fail.
    tolerance : float
        Largest difference that passes.
    """
    difference = np.abs(np.asarray(first) - np.asarray(second)).max()
    print(f"\ncheck: {claim}")
    for side in (first, second):
        text = np.array2string(np.ravel(side), precision=15, threshold=6, edgeitems=2)
        print("  " + text.replace("\n", "\n  "))
    print(f"  largest difference {difference:.2g}, allowed {tolerance:g}")
    if not difference <= tolerance:  # a NaN differs from all
        raise SystemExit("check failed: the two sides differ")
    print("  they agree\n\nbreak me: replace   {}\n          by        {}".format(*change))
