"""From tissue to stored pixel: projection, transmission, photons, detector, 12-bit values.

The chain, for each pixel:

1. line integral p = sum over tissues of (attenuation x thickness);
2. primary photons N0 exp(-p) (Beer-Lambert), plus scatter, a wide blur of the primary;
3. photon count drawn from Poisson;
4. detector: blur of neighbouring pixels, electronic noise;
5. stored value = offset + gain x -ln(count / N0), rounded and clipped to 0..4095.

Noise is drawn so that two images that share their keys differ only where their
projections do: the k-th normal deviate belongs to pixel k, whatever the pixel holds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

BITS = 12
LARGEST = 2**BITS - 1
BLUR_RADIUS = 2  # pixels that the detector's blur reaches


@dataclass(frozen=True)
class Exposure:
    """How an image was taken.

    Attributes
    ----------
    photons : photons per pixel that reach the detector where nothing lies in the way.
    scatter : scattered photons relative to primary ones, after the grid.
    blur : standard deviation of the detector's blur, in pixels.
    electronic : standard deviation of electronic noise, in photons.
    offset, gain : of the stored values.
    window : line integral at the display window's centre, and the window's width.
    """

    photons: float
    scatter: float
    blur: float
    electronic: float
    offset: float
    gain: float
    window: tuple[float, float]


def draw_exposure(rng: np.random.Generator) -> Exposure:
    """Draw the settings of an exposure."""
    return Exposure(
        photons=float(np.exp(rng.uniform(np.log(9e3), np.log(3e4)))),
        scatter=rng.uniform(0.15, 0.35),
        blur=rng.uniform(0.45, 0.65),
        electronic=rng.uniform(4, 10),
        offset=rng.uniform(150, 450),
        gain=rng.uniform(560, 680),
        window=(rng.uniform(2.25, 2.65), rng.uniform(3.4, 4.0)),
    )


def poisson(mean: np.ndarray, deviate: np.ndarray) -> np.ndarray:
    """Return Poisson counts of the given `mean`, one from each normal `deviate`.

    The Poisson quantile by its Cornish-Fisher expansion to second order (Abramowitz and
    Stegun 26.2.49), mean + s z + (z^2 - 1)/6 - (z^3 - z)/(72 s) with s = sqrt(mean), rounded
    to whole counts. Mean, variance and skewness are right to 1% from a mean of 20 on. Unlike
    a rejection sampler it uses exactly one deviate a pixel.
    """
    s = np.sqrt(mean)
    z2 = deviate * deviate
    count = mean + deviate * (s + (1 - z2) / (72 * s)) + (z2 - 1) / 6
    return np.maximum(np.rint(count), 0)


def expose(projection, scatter, exposure: Exposure, rng: np.random.Generator) -> np.ndarray:
    """Return the uint16 image that the detector makes of a map of line integrals.

    Parameters
    ----------
    projection : float32 array (H, W) of line integrals.
    scatter : float32 array (H, W), scattered photons per pixel, from :func:`scattered`.
    """
    mean = exposure.photons * np.exp(-projection) + scatter
    deviates = rng.standard_normal((2, *projection.shape), dtype=np.float32)
    count = poisson(mean, deviates[0])
    signal = ndimage.gaussian_filter(count, exposure.blur, radius=BLUR_RADIUS)
    signal += exposure.electronic * deviates[1]
    integral = -np.log(np.maximum(signal, 1) / exposure.photons)
    stored = np.rint(exposure.offset + exposure.gain * integral)
    return np.clip(stored, 0, LARGEST).astype(np.uint16)


def scattered(projection, exposure: Exposure, spacing: float) -> np.ndarray:
    """Return the scattered photons per pixel: a share of the primary, spread over 45 mm.

    Scatter varies slowly, so it is computed on pixels eight times as large.
    """
    coarse = 8
    height, width = projection.shape
    primary = exposure.photons * np.exp(-projection)
    blocks = primary.reshape(height // coarse, coarse, width // coarse, coarse).mean((1, 3))
    spread = ndimage.gaussian_filter(blocks, 45 / (spacing * coarse))
    return exposure.scatter * ndimage.zoom(spread, coarse, order=1, grid_mode=True, mode="nearest")


def fractal_noise(shape, exponent: float, cutoff: float, rng: np.random.Generator):
    """Return two fields of noise with unit variance and a power law spectrum.

    Anatomical noise in radiographs has a power spectrum of about 1/f^3 (Burgess et al.,
    Med. Phys. 28, 419, 2001).

    Parameters
    ----------
    exponent : of the power spectrum, 3 for 1/f^3.
    cutoff : frequency in cycles a pixel below which the spectrum is flat.
    """
    fy = np.fft.fftfreq(shape[0])[:, None]
    fx = np.fft.fftfreq(shape[1])[None, :]
    amplitude = (np.hypot(fy, fx) + cutoff) ** (-exponent / 2)
    amplitude[0, 0] = 0
    amplitude = (amplitude / np.sqrt(np.sum(amplitude**2))).astype(np.float32)
    white = rng.standard_normal((2, *shape), dtype=np.float32)
    field = np.fft.ifft2(amplitude * (white[0] + 1j * white[1])) * amplitude.size
    return field.real.astype(np.float32), field.imag.astype(np.float32)
