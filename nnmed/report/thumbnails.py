"""Images small and side by side, stretched to grey levels that the eye can use."""

from __future__ import annotations

import numpy as np

from nnmed.errors import ShapeError


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
    """Draw `image` into `axes`, without ticks and in its own proportions."""
    axes.imshow(displayable(image), cmap="gray", vmin=0, vmax=1, interpolation="antialiased")
    axes.set_xticks([])
    axes.set_yticks([])
