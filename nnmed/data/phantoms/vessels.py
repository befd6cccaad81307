"""Pulmonary vessels as branching, tapering tubes, and the small spots that look like nodules."""

from __future__ import annotations

import numpy as np

from .anatomy import Anatomy

SEGMENT_POINTS = 14


def draw_tree(rng: np.random.Generator, a: Anatomy) -> np.ndarray:
    """Draw the vessels of both lungs.

    From each hilum trunks leave in all directions of the lung; a branch bends and tapers as
    it goes, then splits in two, the radii of the children set by Murray's law
    (r^3 = r1^3 + r2^3; Proc. Natl. Acad. Sci. 12, 207, 1926).

    Returns
    -------
    float array (K, 4): x, y and radius of points along the tubes and the length of tube that
    each stands for, in mm.
    """
    side = np.repeat((-1.0, 1.0), 8)
    angle = np.tile(np.linspace(-1.3, 1.4, 8), 2) + rng.normal(0, 0.12, 16)
    x = side * (a.mediastinum + rng.uniform(4, 14, 16))
    y = a.arch + 48 + 16 * np.sin(angle) + rng.normal(0, 4, 16)
    radius = rng.uniform(3.0, 5.0, 16)
    points = []
    # One pass a generation of branches: all of them advance together.
    while radius.size:
        count = radius.size
        stride = radius * rng.uniform(0.45, 0.85, count)
        bends = rng.normal(0, 0.02, (count, 1)) + rng.normal(0, 0.05, (count, SEGMENT_POINTS))
        angles = angle[:, None] + np.cumsum(bends, axis=1)
        xs = x[:, None] + np.cumsum(side[:, None] * stride[:, None] * np.cos(angles), axis=1)
        ys = y[:, None] + np.cumsum(stride[:, None] * np.sin(angles), axis=1)
        radii = radius[:, None] * np.linspace(1, 0.85, SEGMENT_POINTS)
        lengths = np.broadcast_to(stride[:, None], xs.shape)
        points.append(np.stack((xs, ys, radii, lengths), axis=-1).reshape(-1, 4))

        share = rng.uniform(0.3, 0.7, count)
        spread = rng.uniform(0.5, 1.0, count)
        fork = np.concatenate((share, 1 - share))
        turn = np.concatenate(((1 - share) * spread, -share * spread))
        grown = np.tile(radii[:, -1], 2) * np.cbrt(fork)
        go = grown > 0.75
        x, y, side = (np.tile(v, 2)[go] for v in (xs[:, -1], ys[:, -1], side))
        angle, radius = (np.tile(angles[:, -1], 2) + turn)[go], grown[go]
    return np.concatenate(points)


def draw_spots(rng: np.random.Generator, a: Anatomy) -> np.ndarray:
    """Draw small dense spots: vessels seen end on, near the hila, and calcified specks.

    Returns
    -------
    float array (K, 4): x, y, radius and thickness of soft tissue, in mm.
    """
    vessels, specks = int(rng.poisson(6)), int(rng.poisson(1.5))
    side = rng.choice((-1.0, 1.0), vessels)
    near = np.stack(
        (
            side * (a.mediastinum + rng.gamma(2.0, 12, vessels)),
            rng.normal(a.arch + 50, 32, vessels),
            rng.uniform(1.6, 3.0, vessels),
            rng.uniform(10, 22, vessels),
        ),
        axis=-1,
    )
    far = np.stack(
        (
            rng.uniform(-0.85, 0.85, specks) * a.chest,
            rng.uniform(-100, 90, specks),
            rng.uniform(1.2, 2.0, specks),
            rng.uniform(25, 55, specks),
        ),
        axis=-1,
    )
    return np.concatenate((near, far))
