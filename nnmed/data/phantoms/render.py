"""Put a patient in front of the detector: pixel grid, pose, map of line integrals."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from . import anatomy, physics
from .anatomy import LUNG, SOFT, Anatomy
from .nodules import Nodule

SIZE = 192  # pixels a side
FIELD = 312.0  # mm a side
SPACING = FIELD / SIZE
# Radii in mm of the layers on which tubes are drawn; a tube lies between two of them.
LAYERS = np.array((0.6, 1.3, 2.6, 5.0))


@dataclass(frozen=True)
class Pose:
    """How the patient stands: shift in mm, rotation in radians, magnification."""

    dx: float
    dy: float
    angle: float
    scale: float

    def to_patient(self, u, v):
        """Turn detector coordinates (mm from its centre) into the patient's."""
        c, s = math.cos(self.angle) / self.scale, math.sin(self.angle) / self.scale
        u, v = u - self.dx, v - self.dy
        return c * u + s * v, c * v - s * u

    def to_detector(self, x, y):
        """Turn the patient's coordinates into those of the detector."""
        c, s = math.cos(self.angle) * self.scale, math.sin(self.angle) * self.scale
        return c * x - s * y + self.dx, s * x + c * y + self.dy

    def grid(self):
        """Return the patient's x and y at the pixels' centres, float32."""
        axis = ((np.arange(SIZE) + 0.5) * SPACING - FIELD / 2).astype(np.float32)
        return self.to_patient(axis[None, :], axis[:, None])


def draw_pose(rng: np.random.Generator) -> Pose:
    """Draw a pose: people never stand quite straight."""
    return Pose(
        dx=rng.normal(0, 7),
        dy=rng.normal(4, 7),
        angle=rng.normal(0, 0.03),
        scale=rng.uniform(0.94, 1.06),
    )


def project(a: Anatomy, tree, spots, pose: Pose, rng: np.random.Generator) -> np.ndarray:
    """Return the line integrals of a patient without nodule, float32 (SIZE, SIZE)."""
    x, y = pose.grid()
    air = anatomy.lung(x, y, a)
    flesh = np.maximum(anatomy.body(x, y, a) - air - anatomy.air_pockets(x, y, a), 0)
    inside = anatomy.step(flesh, 40)
    lungs = np.clip(air / 60, 0, 1)
    fine, coarse = physics.fractal_noise(x.shape, 3.0, 0.015, rng)
    total = SOFT * flesh + LUNG * air
    total += (SOFT - LUNG) * lungs * (tubes(tree, pose) + blobs(spots, x, y, pose))
    total += anatomy.bone(x, y, a) * inside
    total += 0.045 * lungs * fine + 0.05 * inside * (1 - lungs) * coarse
    return np.maximum(total, 0).astype(np.float32)


def tubes(points, pose: Pose) -> np.ndarray:
    """Return the thickness of tubes in mm.

    The points are dropped on a few layers as line masses (section x length / pixel area) and
    each layer is blurred to the width of its radius: a disc's chord has a standard deviation
    of half the radius.
    """
    x, y, radius, length = points.T
    mass = np.pi * radius**2 * length / SPACING**2
    place = np.interp(np.log(radius), np.log(LAYERS), np.arange(len(LAYERS)))
    layer = np.minimum(place.astype(int), len(LAYERS) - 2)
    share = place - layer
    total = np.zeros((SIZE, SIZE), np.float32)
    where = _corners(x, y, pose)
    for number, r in enumerate(LAYERS):
        weight = mass * ((layer == number) * (1 - share) + (layer + 1 == number) * share)
        total += ndimage.gaussian_filter(_splat(where, weight), 0.5 * r / SPACING, truncate=3)
    return total


def blobs(spots, x, y, pose: Pose) -> np.ndarray:
    """Return the thickness of small round spots in mm; `x` and `y` are the pose's grid."""
    total = np.zeros((SIZE, SIZE), np.float32)
    for cx, cy, radius, thickness in spots:
        u, v = pose.to_detector(cx, cy)
        part = window(u, v, 3 * radius + 2 * SPACING)
        r2 = (x[part] - cx) ** 2 + (y[part] - cy) ** 2
        total[part] += thickness * np.exp(-0.5 * r2 / (0.7 * radius) ** 2)
    return total


def nodule_map(nodule: Nodule, pose: Pose):
    """Return the line integrals that the nodule adds (float32) and its mask (uint8).

    Each pixel is the mean of 4 x 4 rays; the mask holds the pixels of which at least half
    lies in the nodule's outline.
    """
    added = np.zeros((SIZE, SIZE), np.float32)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    u, v = pose.to_detector(nodule.x, nodule.y)
    part = window(u, v, 0.75 * nodule.diameter * pose.scale + 2 * SPACING)
    rays = (np.arange(4) + 0.5) / 4
    axes = []
    for piece in part:
        pixels = (np.arange(piece.start, piece.stop)[:, None] + rays).ravel()
        axes.append(pixels * SPACING - FIELD / 2)
    rows, columns = (len(axis) // 4 for axis in axes)
    x, y = pose.to_patient(axes[1][None, :], axes[0][:, None])
    integral, crossed = (
        np.asarray(m, float).reshape(rows, 4, columns, 4).mean((1, 3)) for m in nodule.added(x, y)
    )
    added[part] = integral
    mask[part] = crossed >= 0.5
    return added, mask


def window(u: float, v: float, reach: float) -> tuple[slice, slice]:
    """Return the rows and columns within `reach` mm of a point of the detector."""
    slices = []
    for centre in (v, u):
        low = int(np.floor((centre - reach + FIELD / 2) / SPACING))
        high = int(np.ceil((centre + reach + FIELD / 2) / SPACING))
        slices.append(slice(min(max(low, 0), SIZE), min(max(high, 0), SIZE)))
    return tuple(slices)


def _corners(x, y, pose):
    """Return indices and weights of the four pixels around each point (bilinear)."""
    u, v = (m / SPACING + SIZE / 2 - 0.5 for m in pose.to_detector(x, y))
    column, row = np.floor(u).astype(int), np.floor(v).astype(int)
    inside = (column >= 0) & (column < SIZE - 1) & (row >= 0) & (row < SIZE - 1)
    fu, fv = u - column, v - row
    index = np.where(inside, row * SIZE + column, 0)
    offsets = (
        (0, (1 - fu) * (1 - fv)),
        (1, fu * (1 - fv)),
        (SIZE, (1 - fu) * fv),
        (SIZE + 1, fu * fv),
    )
    return [(index + offset, weight * inside) for offset, weight in offsets]


def _splat(where, mass):
    total = sum(np.bincount(i, mass * w, minlength=SIZE * SIZE)[: SIZE * SIZE] for i, w in where)
    return total.reshape(SIZE, SIZE).astype(np.float32)
