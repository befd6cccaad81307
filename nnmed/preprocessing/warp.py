"""Moving pixels and boxes by an affine map: plain functions on arrays.

Coordinates are continuous: pixel (i, j) covers ``i <= y < i + 1`` and ``j <= x < j + 1``,
so its centre is (i + 0.5, j + 0.5), and a half-open box is exact in them. A map is
``p' = matrix @ p + offset`` on points p = (x, y), x to the right and y down.
"""

from __future__ import annotations

import math

import numpy as np

from nnmed.backend.arrays import array_module
from nnmed.backend.threads import chunks

BLOCK = 5120
"""Pixels warped at a time, so that all scratch stays in the cache."""

MIN_VISIBLE = 0.1
"""A box of which a smaller part than this remains inside the image is dropped."""


def affine_map(size, degrees, scale, shift, aspect=1.0):
    """Return matrix (2, 2) and offset (2,) of a rotation and a scaling about the centre.

    Parameters
    ----------
    size : (height, width)
    degrees : float
        Counter-clockwise as displayed.
    scale : float
        Above 1 magnifies.
    shift : (float, float)
        Down and right, as fractions of height and width.
    aspect : float
        Height of a pixel over its width, in mm. A rotation turns the body, not the grid,
        so with oblong pixels the map shears in pixel coordinates.
    """
    cos = math.cos(math.radians(degrees)) * scale
    sin = math.sin(math.radians(degrees)) * scale
    matrix = np.array([[cos, sin * aspect], [-sin / aspect, cos]])
    height, width = size
    centre = np.array([width / 2, height / 2])
    moved = np.array([shift[1] * width, shift[0] * height])
    return matrix, centre + moved - matrix @ centre


def warp_affine(image, mask, matrix, offset, fill):
    """Return `image` (C, H, W) and `mask` (H, W) or None, moved by the map, at the same size.

    The image is interpolated bilinearly, the mask takes the nearest pixel. Outside the
    image lies the number `fill`, or its nearest edge pixel if that is "edge"; outside the
    mask is 0.
    """
    height, width = image.shape[1:]
    frames = [_framed(channel, fill) for channel in image]
    mask_frame = None if mask is None else _framed(mask, 0)
    moved = np.empty(image.shape, image.dtype)
    moved_mask = None if mask is None else np.empty(mask.shape, mask.dtype)
    rows, columns = _source_coordinates((height, width), matrix, offset)
    stride = width + 3
    for start, stop in chunks(height, max(1, BLOCK // width)):
        part = slice(start, stop)
        index, row = _split(rows[0][part, None] + rows[1], height)
        left, column = _split(columns[0][part, None] + columns[1], width)
        index *= stride
        index += left
        for frame, target in zip(frames, moved):
            top = _lerp(frame, index, column)
            bottom = _lerp(frame[stride:], index, column)
            bottom -= top
            bottom *= row
            np.add(top, bottom, out=target[part])
        if mask is not None:
            index += column > 0.5
            index += (row > 0.5) * np.intp(stride)
            moved_mask[part] = mask_frame.take(index)
    return moved, moved_mask


def warp_batch(images, maps, fill):
    """Return images (N, C, H, W), each moved by its map (matrix, offset), on their device.

    The same as :func:`warp_affine` up to rounding, for many images at once.
    """
    xp, (n, channels, *size) = array_module(images), images.shape
    places = xp.empty((3, n, channels, *size), np.float32)
    places[0] = xp.arange(n * channels).reshape(n, channels, 1, 1)
    terms = [_source_coordinates(size, *one) for one in maps]
    for axis, parts in enumerate(zip(*terms), 1):
        down, right = (xp.asarray(np.stack(part)) for part in zip(*parts))
        places[axis] = down[:, None, :, None] + right[:, None, None, :] - 1  # there is no frame
    moved = _ndimage_of(images).map_coordinates(
        images.reshape(-1, *size), places.reshape(3, -1, *size), order=1,
        **{"mode": "nearest"} if fill == "edge" else {"mode": "grid-constant", "cval": fill},
    )  # fmt: skip
    return moved.reshape(images.shape)


def _ndimage_of(array):
    """Return ``scipy.ndimage``, or ``cupyx.scipy.ndimage`` for an array of CuPy."""
    if array_module(array) is np:
        from scipy import ndimage
    else:
        from cupyx.scipy import ndimage
    return ndimage


def map_boxes(boxes, matrix, offset, size):
    """Return the bounds of the mapped boxes, clipped to an image of `size` (height, width).

    A mapped box is the smallest upright box around the four mapped corners. Boxes of
    which less than `MIN_VISIBLE` of the area remains after clipping are dropped.
    """
    x0, y0, x1, y1 = boxes.astype(np.float64).T
    corners = np.array([[x0, x1, x0, x1], [y0, y0, y1, y1]])  # (2, 4, K)
    moved = np.einsum("ij,jck->ick", matrix, corners) + offset[:, None, None]
    return clip_boxes(np.concatenate([moved.min(1), moved.max(1)]).T, size)


def clip_boxes(boxes, size):
    """Return float32 boxes clipped to the image, without those that left it."""
    height, width = size
    clipped = np.clip(boxes, 0, [width, height, width, height])
    keep = _area(clipped) > MIN_VISIBLE * _area(boxes)
    return clipped[keep].astype(np.float32)


def _area(boxes):
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def _source_coordinates(size, matrix, offset):
    """Return where output pixels come from: (H terms, W terms) of the row, then the column.

    The sum of the two terms is a position in the framed input; integers are centres of
    pixels, and 1 is the first pixel inside the frame.
    """
    inverse = np.linalg.inv(matrix)
    # Index i stands for the point i + 0.5, on both sides of the map.
    start = inverse @ (0.5 - offset) - 0.5 + 1
    down, right = (np.arange(side, dtype=np.float64) for side in size)

    def terms(k):
        along = inverse[k, 0] * right + start[k]
        return (inverse[k, 1] * down).astype(np.float32), along.astype(np.float32)

    return terms(1), terms(0)


def _framed(channel, fill):
    """Return `channel` within a frame (one pixel before, two behind), flat.

    The frame stands for all the outside, so that the gather needs no branches.
    """
    height, width = channel.shape
    framed = np.full((height + 3, width + 3), 0 if fill == "edge" else fill, channel.dtype)
    framed[1:-2, 1:-2] = channel
    if fill == "edge":
        framed[:, 0], framed[:, -2:] = framed[:, 1], framed[:, -3, None]
        framed[0], framed[-2:] = framed[1], framed[-3]
    return framed.ravel()


def _split(position, side):
    """Return the whole part as an integer and the fraction of positions inside the frame."""
    np.maximum(position, 0, out=position)
    np.minimum(position, side + 1, out=position)
    whole = np.floor(position)  # not astype first: float32 minus integers is done in float64
    position -= whole
    return whole.astype(np.intp), position


def _lerp(frame, index, fraction):
    left, right = frame.take(index), frame[1:].take(index)
    right -= left
    right *= fraction
    left += right
    return left
