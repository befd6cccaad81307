"""Grad-CAM overlays: which parts of the image spoke for the positive class."""

from __future__ import annotations

import numpy as np

from nnmed.errors import ShapeError
from nnmed.report.figure import heading, new_figure, note
from nnmed.report.fonts import shorten, write
from nnmed.report.thumbnails import show

_PAIRS = 3


def heat_map_page(
    images,
    maps,
    captions,
    *,
    masks=None,
    boxes=None,
    title: str = "Grad-CAM: what spoke for the positive class",
    dataset: str = "",
    synthetic: bool = False,
):
    """Draw each image beside itself under its heat map.

    Parameters
    ----------
    images : sequence of (H, W) or (C, H, W) arrays
    maps : sequence of (h, w) arrays
        Heat of 0 or more, of any resolution; scaled to its own maximum.
    captions : sequence of str, or of sequences of lines
    masks : sequence of (H, W) arrays or None, optional
        Drawn as an outline: where the finding really is.
    boxes : sequence of (K, 4) arrays or None, optional
        x0, y0, x1, y1 in pixels, half open; drawn like masks.

    Returns
    -------
    matplotlib.figure.Figure
    """
    count = len(images)
    if not len(maps) == len(captions) == count:
        raise ShapeError(f"{count} images, {len(maps)} maps and {len(captions)} captions")
    rows = max(1, -(-count // _PAIRS))
    figure = new_figure(12, 1.0 + 2.5 * rows)
    grid = figure.subplots(rows, 2 * _PAIRS, squeeze=False).ravel()
    for axes in grid:
        axes.axis("off")
    heading(figure, title, dataset, synthetic)
    if count == 0:
        note(grid[_PAIRS], "no case to show")
        return figure
    for i in range(count):
        left, right = grid[2 * i : 2 * i + 2]
        show(left, images[i])
        show(right, images[i])
        height, width = np.asarray(images[i]).shape[-2:]
        layer = _overlay(right, maps[i], height, width)
        for axes in (left, right):
            _outline(axes, masks and masks[i], boxes[i] if boxes is not None else None)
        lines = [captions[i]] if isinstance(captions[i], str) else captions[i]
        write(left.set_title, *(shorten(line, 26) for line in lines), fontsize=9, loc="left")
    bar = figure.colorbar(layer, ax=list(grid), shrink=0.6, aspect=30, pad=0.01)
    bar.set_label("heat, relative to the image's maximum")
    return figure


def _overlay(axes, heat, height: int, width: int):
    heat = np.nan_to_num(np.asarray(heat, np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    if heat.ndim != 2:
        raise ShapeError(f"a heat map must be (h, w), got shape {heat.shape}")
    heat = np.maximum(heat, 0)
    heat = heat / heat.max() if heat.max() > 0 else heat
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    # Cold parts stay transparent, so that the anatomy under them can be seen.
    return axes.imshow(
        heat, cmap="inferno", vmin=0, vmax=1, alpha=0.65 * heat, extent=extent,
        interpolation="bilinear",
    )  # fmt: skip


def _outline(axes, mask, boxes) -> None:
    from matplotlib.patches import Rectangle

    if mask is not None and np.any(mask):
        axes.contour(np.asarray(mask) > 0, levels=[0.5], colors="#56B4E9", linewidths=1.2)
    for x0, y0, x1, y1 in () if boxes is None else boxes:
        corner = (x0 - 0.5, y0 - 0.5)
        axes.add_patch(
            Rectangle(corner, x1 - x0, y1 - y0, fill=False, edgecolor="#56B4E9", linewidth=1.2)
        )
