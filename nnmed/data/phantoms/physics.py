"""From tissue to stored pixel: projection, transmission, photons, detector, 12-bit values.

The chain, for each pixel:

1. line integral p = sum over tissues of (attenuation x thickness);
2. primary photons N0 exp(-p) (Beer-Lambert), plus scatter, a wide blur of the primary;
3. photon count drawn from Poisson;
4. detector: blur of neighbouring pixels, electronic noise;
5. q = -ln(count / N0); as every console does before it shows a radiograph, the mean of the
   body is taken out, and the slow part compressed, so that lungs and abdomen fit one window;
6. stored value = offset + gain x q, rounded and clipped to 0..4095.

Scatter, mean and slow part are computed from the body without its nodule, so that the
nodule's effect ends where the nodule does. With it scatter and mean would change by less
than a hundredth, and the slow part would dim a large nodule by about a tenth.

Noise is drawn so that two images that share their keys differ only where their
projections do: the k-th normal deviate belongs to pixel k, whatever the pixel holds.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

BITS = 12
LARGEST = 2**BITS - 1
BODY = 0.5  # line integral from which on a ray has met the body
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
    compression : share of the slow part of the line integrals that is taken out.
    offset, gain : of the stored values.
    window : line integral at the display window's centre, and the window's width.
    """

    photons: float
    scatter: float
    blur: float
    electronic: float
    compression: float
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
        compression=rng.uniform(0.45, 0.6),
        offset=rng.uniform(1500, 1900),
        gain=rng.uniform(900, 1100),
        window=(rng.uniform(-0.25, 0.05), rng.uniform(2.1, 2.6)),
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


def expose(projection, clear, exposure: Exposure, spacing: float, rng) -> np.ndarray:
    """Return the uint16 image that the detector makes of a map of line integrals.

    Parameters
    ----------
    projection, clear : float32 arrays (H, W) of line integrals, with and without the nodule.
    spacing : mm per pixel.
    rng : generator of the noise; two images of one generator state share their deviates.
    """
    primary = np.exp(-clear)
    scatter = exposure.scatter * slow_part(primary, 45 / spacing)
    mean = exposure.photons * (np.exp(-projection) + scatter)
    deviates = rng.standard_normal((2, *projection.shape), dtype=np.float32)
    count = poisson(mean, deviates[0])
    signal = ndimage.gaussian_filter(count, exposure.blur, radius=BLUR_RADIUS)
    signal += exposure.electronic * deviates[1]
    integral = -np.log(np.maximum(signal, 1) / exposure.photons)
    kept = 1 - exposure.compression
    level = clear[clear > BODY].mean()
    integral -= exposure.compression * slow_part(clear, 22 / spacing) + kept * level
    stored = np.rint(exposure.offset + exposure.gain * integral)
    return np.clip(stored, 0, LARGEST).astype(np.uint16)


def slow_part(image, width: float) -> np.ndarray:
    """Return `image` blurred with a Gaussian of `width` pixels, by way of pixels 8 x as large."""
    coarse = 8
    rows, columns = (size // coarse for size in image.shape)
    blocks = image.reshape(rows, coarse, columns, coarse).mean((1, 3))
    blocks = ndimage.gaussian_filter(blocks, width / coarse, mode="nearest")
    return _stretch(_stretch(blocks, coarse).T, coarse).T


def _stretch(blocks, factor: int):
    """Interpolate linearly between rows, `factor` new ones for each."""
    place = (np.arange(len(blocks) * factor) + 0.5) / factor - 0.5
    place = np.clip(place, 0, len(blocks) - 1)
    low = np.minimum(place.astype(int), len(blocks) - 2)
    share = (place - low).astype(np.float32)[:, None]
    return blocks[low] * (1 - share) + blocks[low + 1] * share


def fractal_noise(shape, exponent: float, cutoff: float, rng: np.random.Generator):
    """Return two fields of noise with unit variance and a power law spectrum.

    Overlapping anatomy has a power spectrum of about 1/f^3 (measured in mammograms by
    Burgess et al., Med. Phys. 28, 419, 2001).

    Parameters
    ----------
    exponent : of the power spectrum, 3 for 1/f^3.
    cutoff : frequency in cycles a pixel below which the spectrum is flat.
    """
    amplitude = _amplitude(shape, exponent, cutoff)
    white = rng.standard_normal((2, *shape), dtype=np.float32)
    field = np.fft.ifft2(amplitude * (white[0] + 1j * white[1])) * amplitude.size
    return field.real, field.imag


@functools.lru_cache(maxsize=4)
def _amplitude(shape, exponent, cutoff):
    """Return the square root of the power spectrum, its squares adding up to 1."""
    fy = np.fft.fftfreq(shape[0])[:, None]
    fx = np.fft.fftfreq(shape[1])[None, :]
    amplitude = (np.hypot(fy, fx) + cutoff) ** (-exponent / 2)
    amplitude[0, 0] = 0
    return (amplitude / np.sqrt(np.sum(amplitude**2))).astype(np.float32)
