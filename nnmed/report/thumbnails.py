"""Images small and side by side, stretched to grey levels that the eye can use."""

from __future__ import annotations

from functools import partial

import numpy as np

from nnmed.errors import ShapeError
from nnmed.report.figure import heading, new_figure
from nnmed.report.fonts import write


def displayable(image) -> np.ndarray:
    """Return an image as float32 in [0, 1], ``(H, W)`` grey or ``(H, W, 3)`` colour.

    The 1st and 99th percentile become black and white; what is not finite is black; an even
    image is mid-grey.

    Parameters
    ----------
    image : (H, W) or (C, H, W) array
        Three channels are colour; of any other number the first is shown.
    """
    image = np.asarray(image, np.float32)
    if image.ndim == 3:
        image = image.transpose(1, 2, 0) if image.shape[0] == 3 else image[0]
    if image.ndim not in (2, 3) or image.size == 0:
        raise ShapeError(f"an image must be (H, W) or (C, H, W), got shape {image.shape}")
    finite = np.isfinite(image)
    if not finite.any():
        return np.zeros(image.shape, np.float32)
    low, high = np.percentile(image[finite], [1, 99])
    if high <= low:
        low, high = image[finite].min(), image[finite].max()
    if high <= low:
        return np.where(finite, np.float32(0.5), np.float32(0))
    stretched = np.clip((image - low) / (high - low), 0, 1)
    return np.where(finite, stretched, 0).astype(np.float32)


def show(axes, image) -> None:
    """Draw `image` into square `axes`, in its own proportions and without ticks."""
    image = displayable(image)
    height, width = image.shape[:2]
    axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="antialiased")
    half = max(height, width) / 2
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    axes.set_xlim(middle_x - half, middle_x + half)
    axes.set_ylim(middle_y + half, middle_y - half)
    axes.spines[:].set_visible(False)
    axes.set(xticks=[], yticks=[], facecolor="none")


class Page:
    """A figure filled from the top with lines of text and rows of captioned pictures.

    Everything has its place in inches, whatever the pictures and captions are, so that
    nothing can overlap.
    """

    PICTURE = 1.85
    GAP = 0.12
    ROW = PICTURE + 0.66  # room for a caption of three lines
    LINE = 0.36
    HEADING = 0.75

    def __init__(self, columns: int, rows: int, lines: int, right: float = 0.0):
        self.width = columns * (self.PICTURE + self.GAP) + self.GAP + right
        self.height = self.HEADING + rows * self.ROW + lines * self.LINE
        self.figure = new_figure(self.width, self.height, layout=None)
        self._top = self.height - self.HEADING

    def heading(self, title: str, dataset: str, synthetic: bool) -> None:
        """Write the heading that all figures have, in the room kept for it."""
        heading(self.figure, title, dataset, synthetic, y=1 - 0.1 / self.height, va="top")

    def line(self, text: str, colour: str) -> None:
        """Write a line of text."""
        y = (self._top - self.LINE / 2) / self.height
        centre = {"ha": "center", "va": "center"}
        write(partial(self.figure.text, 0.5, y), text, fontsize=11, color=colour, **centre)
        self._top -= self.LINE

    def row(self, count: int) -> list:
        """Return the axes of a row of `count` pictures."""
        bottom = (self._top - self.PICTURE) / self.height
        size = (self.PICTURE / self.width, self.PICTURE / self.height)
        lefts = [(self.GAP + i * (self.PICTURE + self.GAP)) / self.width for i in range(count)]
        self._top -= self.ROW
        return [self.figure.add_axes((left, bottom, *size)) for left in lefts]


def caption(axes, *lines) -> None:
    """Write `lines` below the picture in `axes`."""
    write(axes.set_xlabel, *lines, fontsize=8)
