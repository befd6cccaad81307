"""Moving pixels and boxes by an affine map: plain functions on arrays.

Coordinates are continuous: pixel (i, j) covers ``i <= y < i + 1`` and ``j <= x < j + 1``,
so its centre is (i + 0.5, j + 0.5), and a half-open box is exact in them. A map is
``p' = matrix @ p + offset`` on points p = (x, y), x to the right and y down.
"""

from __future__ import annotations

import math

import numpy as np

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


def source_grid(size, matrix, offset):
    """Return for each output pixel the row and column it comes from: two (H, W) float32.

    Integers are the centres of input pixels.
    """
    height, width = size
    inverse = np.linalg.inv(matrix)
    # Index i stands for the point i + 0.5, on both sides of the map.
    start = inverse @ (0.5 - offset) - 0.5
    columns = np.arange(width, dtype=np.float64)
    rows = np.arange(height, dtype=np.float64)[:, None]

    def grid(k):
        along = (inverse[k, 0] * columns + start[k]).astype(np.float32)
        return along + (inverse[k, 1] * rows).astype(np.float32)

    return grid(1), grid(0)


def warp_bilinear(image, rows, columns, fill):
    """Return `image` (C, H, W) sampled at the points `rows`, `columns`, each (H', W').

    Outside the image lies the number `fill`, or the nearest edge pixel if it is "edge".
    """
    channels, height, width = image.shape
    edge = fill == "edge"
    inside = (0, height - 1, 0, width - 1) if edge else (-1, height, -1, width)
    # A frame of one pixel (two at the far side) stands for the outside: no branches.
    row = np.clip(rows, inside[0], inside[1])
    column = np.clip(columns, inside[2], inside[3])
    row += 1
    column += 1
    index = row.astype(np.intp)
    left = column.astype(np.intp)
    row -= index
    column -= left
    stride = width + 3
    index *= stride
    index += left
    framed = np.full((height + 3, stride), 0.0 if edge else fill, image.dtype)
    flat = framed.ravel()
    result = np.empty((channels, *rows.shape), image.dtype)
    for source, target in zip(image, result):
        framed[1 : height + 1, 1 : width + 1] = source
        _lerp(flat, index, column, out=target)
        bottom = _lerp(flat[stride:], index, column)
        bottom -= target
        bottom *= row
        target += bottom
    return result


def warp_nearest(mask, rows, columns):
    """Return `mask` (H, W) sampled at the nearest pixels; outside it is 0."""
    height, width = mask.shape
    framed = np.zeros((height + 2, width + 2), mask.dtype)
    framed[1 : height + 1, 1 : width + 1] = mask
    index = np.rint(np.clip(rows, -1, height)).astype(np.intp)
    index += 1
    index *= width + 2
    index += np.rint(np.clip(columns, -1, width)).astype(np.intp)
    index += 1
    return framed.ravel().take(index)


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


def _lerp(flat, index, fraction, out=None):
    # mode="clip" because the checked mode copies through a buffer when `out` is given.
    left = flat.take(index, mode="clip", out=out)
    right = flat[1:].take(index, mode="clip")
    right -= left
    right *= fraction
    left += right
    return left
