"""Grad-CAM overlays: which parts of the image spoke for the positive class."""

from __future__ import annotations

import numpy as np

from nnmed.errors import ShapeError
from nnmed.report.figure import GREY
from nnmed.report.fonts import two_lines
from nnmed.report.thumbnails import Page, caption, show

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
        Three lines of 25 columns are shown; a longer line is broken once.
    masks : list of (H, W) arrays or None, optional
        Drawn as an outline: where the finding really is.
    boxes : list of (K, 4) arrays or None, optional
        x0, y0, x1, y1 in pixels, half open; drawn like masks.

    Returns
    -------
    matplotlib.figure.Figure
    """
    count = len(images)
    if not len(maps) == len(captions) == count:
        raise ShapeError(f"{count} images, {len(maps)} maps and {len(captions)} captions")
    pairs = max(1, min(count, _PAIRS))
    right = 0.9 if count else 0.0  # room for the scale
    page = Page(max(2 * pairs, 4), -(-count // pairs), lines=int(count == 0), right=right)
    page.heading(title, dataset, synthetic)
    if count == 0:
        page.line("no case to show", GREY)
    for start in range(0, count, pairs):
        some = range(start, min(start + pairs, count))
        axes = page.row(2 * len(some))
        for i, left, right in zip(some, axes[::2], axes[1::2]):
            show(left, images[i])
            show(right, images[i])
            layer = _overlay(right, maps[i], *np.asarray(images[i]).shape[-2:])
            for each in (left, right):
                _outline(each, masks and masks[i], boxes and boxes[i])
            lines = [captions[i]] if isinstance(captions[i], str) else captions[i]
            caption(left, *[part for line in lines for part in two_lines(line, 25)][:3])
    if count:
        _colour_bar(page, layer)
    return page.figure


def _colour_bar(page, layer) -> None:
    """Draw the scale beside the first row of pictures."""
    bottom = 1 - (page.HEADING + page.PICTURE) / page.height
    place = (1 - 0.8 / page.width, bottom, 0.14 / page.width, page.PICTURE / page.height)
    bar = page.figure.colorbar(layer, cax=page.figure.add_axes(place))
    bar.set_label("heat / its maximum", fontsize=9)
    bar.ax.tick_params(labelsize=9)


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
