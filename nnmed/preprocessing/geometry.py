"""Where the pixels lie: resizing, flips, and one combined affine augmentation.

Mask and boxes always follow the image. See :mod:`nnmed.preprocessing.warp` for the
coordinates and for the rule by which a box that leaves the image is dropped.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from nnmed.backend.arrays import array_module
from nnmed.errors import UsageError
from nnmed.preprocessing import warp
from nnmed.preprocessing.transform import (
    Transform,
    check_number,
    check_pair,
    for_each_image,
    require_rng,
)


@dataclasses.dataclass
class Resize(Transform):
    """Resize to `size`, keeping the aspect ratio; what is left over is padded on both sides.

    The image is interpolated bilinearly, with a triangle filter as wide as the reduction
    where it shrinks (no aliasing); the mask takes the nearest pixel; boxes and spacing follow.

    Parameters
    ----------
    size : (height, width), or one int for a square
    fill : float
        Value of the padding. The mask is padded with 0.

    Notes
    -----
    The history holds where the image lies in the result: ``top``, ``left``, ``height``,
    ``width``. A box of the result goes back as ``(x0 - left) * W / width``.
    """

    size: tuple[int, int]
    fill: float = 0.0

    def __post_init__(self):
        size = (self.size, self.size) if isinstance(self.size, int) else tuple(self.size)
        if len(size) != 2 or any(int(side) != side or side < 1 for side in size):
            raise UsageError(f"Resize: size must be (height, width) of at least 1, got {self.size}")
        self.size = tuple(int(side) for side in size)

    def draw(self, sample, rng):
        _, height, width = sample.image.shape
        factor = min(self.size[0] / height, self.size[1] / width)
        inner = [max(1, round(height * factor)), max(1, round(width * factor))]
        top, left = (self.size[0] - inner[0]) // 2, (self.size[1] - inner[1]) // 2
        return {"top": top, "left": left, "height": inner[0], "width": inner[1]}

    def apply(self, sample, top, left, height, width):
        old = sample.image.shape[1:]
        inside = (slice(top, top + height), slice(left, left + width))
        image = np.full((len(sample.image), *self.size), self.fill, np.float32)
        for source, target in zip(sample.image, image):
            target[inside] = _resize_bilinear(source, height, width)
        mask = sample.mask
        if mask is not None:
            mask = np.zeros(self.size, sample.mask.dtype)
            mask[inside] = _resize_nearest(sample.mask, height, width)
        boxes, spacing = sample.boxes, sample.spacing
        factor = (height / old[0], width / old[1])
        if boxes is not None:
            moved = boxes * ([factor[1], factor[0]] * 2) + [left, top] * 2
            boxes = moved.astype(np.float32)
        if spacing is not None:
            spacing = (spacing[0] / factor[0], spacing[1] / factor[1])
        return dataclasses.replace(sample, image=image, mask=mask, boxes=boxes, spacing=spacing)


@dataclasses.dataclass
class RandomFlip(Transform):
    """Mirror left-right with probability `horizontal`, up-down with probability `vertical`."""

    horizontal: float = 0.5
    vertical: float = 0.0

    def __post_init__(self):
        check_number(self, "horizontal", self.horizontal, 0, 1)
        check_number(self, "vertical", self.vertical, 0, 1)

    def draw(self, sample, rng):
        first, second = require_rng(rng, self).random(2)
        return {
            "horizontal": bool(first < self.horizontal),
            "vertical": bool(second < self.vertical),
        }

    def apply(self, sample, horizontal, vertical):
        if not (horizontal or vertical):
            return sample
        flip = (
            ...,
            slice(None, None, -1 if vertical else 1),
            slice(None, None, -1 if horizontal else 1),
        )
        image = np.ascontiguousarray(sample.image[flip])
        mask = None if sample.mask is None else np.ascontiguousarray(sample.mask[flip])
        boxes = sample.boxes
        if boxes is not None:
            boxes = boxes.copy()
            if horizontal:
                boxes[:, [0, 2]] = image.shape[2] - boxes[:, [2, 0]]
            if vertical:
                boxes[:, [1, 3]] = image.shape[1] - boxes[:, [3, 1]]
        return dataclasses.replace(sample, image=image, mask=mask, boxes=boxes)

    def apply_batch(self, images, samples, parameters):
        xp = array_module(images)
        for axis, name in ((3, "horizontal"), (2, "vertical")):
            mirrored = for_each_image(images, parameters, name) > 0
            images = xp.where(mirrored, xp.flip(images, axis), images)
        return images


@dataclasses.dataclass
class RandomAffine(Transform):
    """Rotate, shift and scale about the image's centre in one go: one interpolation.

    Parameters
    ----------
    degrees : float
        The angle is uniform in [-degrees, degrees].
    shift : float
        Down and right, each uniform in [-shift, shift], as a fraction of that side.
    scale : (float, float)
        Magnification, uniform in its logarithm between the two. The spacing follows.
    fill : float or "edge"
        What lies outside the image: a number, or its nearest edge pixel. Outside the
        mask is 0.

    Notes
    -----
    Pixels are interpolated bilinearly, the mask takes the nearest pixel. A box becomes
    the upright bound of the moved box, clipped to the image, and is dropped when less
    than a tenth of it remains. Where the spacing shows that pixels are oblong, the
    rotation is one of the body, not of the pixel grid.
    """

    degrees: float = 10.0
    shift: float = 0.1
    scale: tuple[float, float] = (0.9, 1.1)
    fill: float | str = 0.0

    def __post_init__(self):
        check_number(self, "degrees", self.degrees, 0, 180)
        check_number(self, "shift", self.shift, 0, 1)
        self.scale = check_pair(self, "scale", self.scale, 0.01, 100)
        if isinstance(self.fill, str) and self.fill != "edge":
            raise UsageError(f"RandomAffine: fill must be a number or 'edge', got {self.fill!r}")

    def draw(self, sample, rng):
        angle, size, down, right = require_rng(rng, self).random(4).tolist()
        low, high = (math.log(limit) for limit in self.scale)
        return {
            "degrees": self.degrees * (2 * angle - 1),
            "scale": math.exp(low + (high - low) * size),
            "shift": [self.shift * (2 * down - 1), self.shift * (2 * right - 1)],
        }

    def apply(self, sample, degrees, scale, shift):
        size, spacing = sample.image.shape[1:], sample.spacing
        matrix, offset = warp.affine_map(size, degrees, scale, shift, _aspect(sample))
        image, mask = warp.warp_affine(sample.image, sample.mask, matrix, offset, self.fill)
        boxes = sample.boxes
        if boxes is not None:
            boxes = warp.map_boxes(boxes, matrix, offset, size)
        if spacing is not None:
            spacing = (spacing[0] / scale, spacing[1] / scale)
        return dataclasses.replace(sample, image=image, mask=mask, boxes=boxes, spacing=spacing)

    def apply_batch(self, images, samples, parameters):
        maps = [
            warp.affine_map(images.shape[2:], **drawn, aspect=_aspect(sample))
            for sample, drawn in zip(samples, parameters)
        ]
        return warp.warp_batch(images, maps, self.fill)


def _aspect(sample):
    return 1.0 if sample.spacing is None else sample.spacing[0] / sample.spacing[1]


def _resize_bilinear(channel, height, width):
    if channel.shape == (height, width):
        return channel
    from PIL import Image

    # Pillow's float mode interpolates in double precision and widens its filter to shrink.
    picture = Image.fromarray(np.ascontiguousarray(channel))
    return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))


def _resize_nearest(mask, height, width):
    rows = (np.arange(height) * 2 + 1) * mask.shape[0] // (2 * height)
    columns = (np.arange(width) * 2 + 1) * mask.shape[1] // (2 * width)
    return mask[rows[:, None], columns]
