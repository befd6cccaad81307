"""The nodule: drawn for every phantom, put into the image of the positive ones only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .anatomy import Anatomy, chord, lung

DIAMETERS = (12.0, 36.0)  # mm
CONTRASTS = (0.5, 2.0)


@dataclass(frozen=True)
class Nodule:
    """A roughly spherical opacity.

    Attributes
    ----------
    x, y : centre in the patient's plane, mm.
    diameter : mm.
    contrast : line integral that it adds at its centre (dimensionless). Solid soft tissue of
        1 cm adds 0.15: these nodules are calcified, the more so the smaller they are.
    lobes : amplitudes and phases of the outline's waves of order 2, 3, 4 and 5.
    """

    x: float
    y: float
    diameter: float
    contrast: float
    lobes: tuple[tuple[float, float], ...]

    def added(self, x, y):
        """Return the line integrals added along rays at `x`, `y`, and which rays cross it."""
        dx, dy = x - self.x, y - self.y
        phi = np.arctan2(dy, dx)
        outline = 1.0
        for order, (amplitude, phase) in enumerate(self.lobes, start=2):
            outline = outline + amplitude * np.cos(order * phi + phase)
        r2 = (dx * dx + dy * dy) / (0.5 * self.diameter * outline) ** 2
        return self.contrast * chord(r2), r2 < 1


def draw_nodule(rng: np.random.Generator, a: Anatomy) -> Nodule:
    """Draw a nodule that lies wholly in open lung, clear of heart and diaphragm.

    Every phantom draws one, whatever its label. The number of draws is the same for all.
    """
    low, high = DIAMETERS
    diameter = low * (high / low) ** rng.random()
    contrast = rng.uniform(*CONTRASTS)
    lobes = tuple(
        (float(rng.uniform(0, 0.11 / order**0.5)), float(rng.uniform(0, 2 * np.pi)))
        for order in range(2, 6)
    )
    places = rng.uniform((-a.chest, a.apex), (a.chest, a.base + 30), (256, 2))
    # Lung must be deep at the centre and around the edge.
    ring = np.linspace(0, 2 * np.pi, 9)[:-1]
    reach = 0.6 * diameter + 3
    xs = places[:, :1] + reach * np.append(np.cos(ring), 0)
    ys = places[:, 1:] + reach * np.append(np.sin(ring), 0)
    room = lung(xs, ys, a).min(axis=1)
    fits = np.nonzero(room > 0.3 * a.depth)[0]
    x, y = places[fits[0] if fits.size else np.argmax(room)]
    return Nodule(float(x), float(y), float(diameter), float(contrast), lobes)
