"""The body of a synthetic patient: who it is, and how much of each tissue a ray crosses.

Coordinates are millimetres in the patient's frontal plane: x grows towards the right edge
of the image (the patient's left), y towards the feet, the origin lies in the middle of the
chest. Thickness is measured along the ray, front to back. All functions take coordinate
arrays of any shape and know nothing of pixels, so that a place for a nodule can be tried
before an image exists.

The shapes are of the simplest kind that gives a chest radiograph its look: super-ellipses
for body and lungs, ellipsoids for the heart, and for each pair of ribs one inclined hoop,
whose projection is an ellipse (its upper half the posterior, its lower half the anterior
ribs). Sizes are those of adults in textbooks of radiographic anatomy, rounded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

# Linear attenuation in 1/mm, near 60 keV: about 0.2/cm for soft tissue, a quarter of that
# for inflated lung, more for bone (NIST XCOM, rounded; bone as in a rib, not pure cortex).
SOFT, LUNG, MARROW, CORTEX = 0.019, 0.004, 0.029, 0.050


@dataclass(frozen=True)
class Anatomy:
    """The measures of one patient, all lengths in mm.

    Attributes
    ----------
    chest : half width of the lungs at their widest.
    depth : depth of the lungs, front to back.
    flesh : thickness of the chest wall at the side.
    apex, base : y of the top of the lungs and of the right diaphragm's dome.
    mediastinum : half width of the mediastinum.
    heart : centre x, centre y, long and short half axis, tilt in radians.
    arch : y of the aortic arch.
    ribs : pitch between ribs, drop from back to front, half width of a rib.
    bone : density of bone relative to the average.
    clavicle : slope of the clavicles and their height over the apex.
    breast : thickness of breast tissue, 0 in half of the patients.
    stomach : half axes of the stomach's gas bubble.
    nipple : thickness of the nipples' shadow, 0 in most patients.
    """

    chest: float
    depth: float
    flesh: float
    apex: float
    base: float
    mediastinum: float
    heart: tuple[float, float, float, float, float]
    arch: float
    ribs: tuple[float, float, float]
    bone: float
    clavicle: tuple[float, float]
    breast: float
    stomach: tuple[float, float]
    nipple: float


def draw_anatomy(rng: np.random.Generator) -> Anatomy:
    """Draw the measures of a patient."""
    u = rng.uniform
    apex = u(-142, -126)
    return Anatomy(
        chest=u(122, 140),
        depth=u(140, 175),
        flesh=u(18, 34),
        apex=apex,
        base=u(78, 102),
        mediastinum=u(20, 28),
        heart=(u(16, 26), u(48, 60), u(62, 78), u(44, 55), u(0.5, 0.8)),
        arch=u(-62, -50),
        ribs=(u(23, 27), u(36, 50), u(5.0, 6.5)),
        bone=u(0.75, 1.25),
        clavicle=(u(-0.34, -0.16), u(24, 38)),
        breast=u(10, 30) * (rng.random() < 0.5),
        stomach=(u(16, 34), u(10, 18)),
        nipple=u(6, 11) * (rng.random() < 0.25),
    )


def chord(r2):
    """Half chord of a unit disc at squared radius `r2`; 0 outside."""
    return np.sqrt(np.maximum(1 - r2, 0))


def step(distance, softness):
    """Rise smoothly from 0 to 1 where `distance` crosses 0, over about `softness`."""
    t = np.clip(distance / softness + 0.5, 0, 1)
    return t * t * (3 - 2 * t)


def wall(y, a: Anatomy):
    """Half width of the rib cage at height `y`, inside."""
    t = np.clip((40 - y) / (40 - a.apex), -1, 1)
    return a.chest * np.sqrt(np.maximum(1 - np.abs(t) ** 2.6, 0)) + 1e-3


def dome(x, a: Anatomy):
    """Height of the diaphragm at `x`: a dome on each side, the left one lower."""
    left = (x > 0).astype(x.dtype)
    centre = (left - 0.48) * a.chest
    return a.base + 12 * left + 46 * (np.abs(x - centre) / (0.62 * a.chest)) ** 2.2


def lung(x, y, a: Anatomy):
    """Thickness of lung, after heart, mediastinum and diaphragm took their share."""
    w = wall(y, a)
    across = np.abs(x) / w
    t = a.depth * (w / a.chest) * chord(across**2.5)
    t = t - mediastinum(x, y, a) - heart(x, y, a)
    air = step(dome(x, a) - y, 4)
    # Behind the dome the lung reaches further down, thinly.
    recess = 0.10 * step(dome(x, a) + 22 - y, 30) * step(across - 0.25, 0.3)
    return np.maximum(t, 0) * np.maximum(air, recess)


def mediastinum(x, y, a: Anatomy):
    """Thickness of the soft tissue between the lungs: vessels, spine, aortic arch."""
    half = a.mediastinum * (1 + 0.5 * step(y - 10, 150) + 0.25 * step(a.arch - 30 - y, 80))
    half = half + 4 * np.sin(y / 17 + 2 * (x < 0).astype(x.dtype))
    t = 0.9 * a.depth * chord((x / half) ** 2)
    arch = ((x - 0.8 * a.mediastinum) / 20) ** 2 + ((y - a.arch) / 19) ** 2
    descending = ((x - 0.9 * a.mediastinum) / 12) ** 2
    hila = ((np.abs(x) - 1.5 * a.mediastinum) / 13) ** 2 + ((y - a.arch - 44) / 22) ** 2
    aorta = np.maximum(60 * chord(arch), 24 * chord(descending) * step(y - a.arch, 20))
    return t + aorta + 14 * np.maximum(1 - hila, 0)


def heart(x, y, a: Anatomy):
    """Thickness of the heart: a tilted ellipsoid and the right atrium beside it."""
    cx, cy, long, short, tilt = a.heart
    c, s = math.cos(tilt), math.sin(tilt)
    p, q = (c * (x - cx) + s * (y - cy)) / long, (c * (y - cy) - s * (x - cx)) / short
    atrium = ((x + 18) / 30) ** 2 + ((y - cy + 4) / 44) ** 2
    return np.maximum(105 * chord(p * p + q * q), 80 * chord(atrium))


def body(x, y, a: Anatomy):
    """Thickness of the whole body, lungs included: trunk, shoulders and neck."""
    side = np.abs(x)
    half = a.chest + a.flesh + 70 * step(-80 - y, 90)
    trunk = (0.92 * a.depth + 2 * a.flesh) * chord((side / half) ** 2.4)
    shoulder = -190 + 0.34 * np.maximum(side - 45, 0)
    edge = np.maximum(step(y - shoulder, 36), 0.6 * step(64 - side, 26))
    lift = 1 - 0.25 * step(-60 - y, 110)
    return trunk * lift * edge + _breasts(x, y, a) + _nipples(x, y, a)


def _breasts(x, y, a):
    r2 = ((np.abs(x) - 0.58 * a.chest) / 62) ** 2 + ((y - 62) / 52) ** 2
    return a.breast * chord(r2) if a.breast else 0.0


def _nipples(x, y, a):
    r2 = ((np.abs(x) - 0.66 * a.chest) ** 2 + (y - 66) ** 2) / 5.5**2
    return a.nipple * chord(r2) if a.nipple else 0.0


def air_pockets(x, y, a: Anatomy):
    """Thickness of air outside the lungs: trachea, main bronchi, the stomach's bubble."""
    carina = a.arch + 22
    sway = 3 * np.sin(y / 40)
    trachea = 15 * chord(((x - sway) / 8.5) ** 2) * step(carina - y, 8)
    side = np.abs(x) - 7 - 0.8 * (y - carina)
    bronchi = 9 * chord((side / 8) ** 2) * step(y - carina + 6, 6) * step(carina + 34 - y, 10)
    sx, sy = a.stomach
    bubble = ((x - 0.5 * a.chest) / sx) ** 2 + ((y - a.base - 36) / sy) ** 2
    return np.maximum(trachea, bronchi) + 60 * chord(bubble)


def bone(x, y, a: Anatomy):
    """Line integral of the attenuation that bones add to the tissue they replace."""
    total = _spine(x, y) + _clavicles(x, y, a) + _scapulae(x, y, a)
    pitch, drop, half = a.ribs
    for number in range(10):
        # The first hoops are small and flat, the lower ones steeper.
        h = drop * min(1.0, 0.4 + 0.12 * number)
        centre = a.apex + 10 + pitch * number + h
        total += _hoop(x, y, centre, float(wall(centre, a)) + 3, h, half)
    return a.bone * total


def tube(distance, radius, depth):
    """Extra attenuation along a bone of elliptic section: a shell of cortex, then marrow.

    `distance` is that from the axis and `radius` the half width, both in the image plane;
    `depth` is the half thickness along the ray.
    """
    r2 = (distance / radius) ** 2
    inner = depth - 1.2
    marrow = 2 * inner * chord(r2 * (radius / (radius - 1.2)) ** 2)
    return (CORTEX - SOFT) * (2 * depth * chord(r2) - marrow) + (MARROW - SOFT) * marrow


def _hoop(x, y, centre, a, h, half):
    """One pair of ribs: an inclined hoop, seen as an ellipse of half axes `a` and `h`."""
    rows = np.nonzero(np.any(np.abs(y - centre) < h + half + 8, axis=-1))[0]
    out = np.zeros_like(x)
    if rows.size == 0:
        return out
    part = slice(rows[0], rows[-1] + 1)
    u, v = x[part] / a, (y[part] - centre) / h
    r = np.sqrt(u * u + v * v) + 1e-6
    # First-order distance to the ellipse: F / |grad F| with F = r - 1.
    distance = (r - 1) * r / np.sqrt((u / a) ** 2 + (v / h) ** 2 + 1e-12)
    front = v > 0
    radius = half + 0.15 * half * front.astype(x.dtype)
    # Cartilage hides the front end of a rib; the ray runs along the rib at its side.
    strength = np.where(front, 0.75 * step(np.abs(u) - 0.42, 0.12), 1.0)
    u2 = u * u
    out[part] = tube(distance, radius, 4.0) * strength * (1 + 0.6 * u2 * u2 * u2 * u2)
    return out


def _clavicles(x, y, a):
    slope, height = a.clavicle
    side = np.abs(x)
    axis = a.apex + height + slope * (side - 20) + 5 * np.sin((side - 20) / 28)
    return tube((y - axis) * 0.96, 6.0, 5.0) * step(side - 16, 6)


def _scapulae(x, y, a):
    side = np.abs(x) - (a.chest - 6)
    edge = side - 0.16 * (y + 60)
    return 0.10 * step(edge, 3) * step(20 - y, 30) * step(y + 135, 20)


def _spine(x, y):
    inside = step(19 - np.abs(x), 5)
    disc = 0.5 + 0.5 * np.cos(2 * np.pi * y / 25)
    return inside * (0.42 - 0.16 * disc**6)
