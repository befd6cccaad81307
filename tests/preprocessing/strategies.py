"""Samples for property tests: any small size, 1 to 4 channels, with mask and boxes."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from nnmed.data.sample import Sample


@st.composite
def samples(draw, smallest=1, largest=24):
    """A random sample with a mask and up to three boxes on whole pixels."""
    height, width = (draw(st.integers(smallest, largest)) for _ in range(2))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    image = rng.standard_normal((draw(st.integers(1, 4)), height, width), np.float32)
    corners = rng.integers(0, (width, height, width, height), (draw(st.integers(0, 3)), 4))
    boxes = np.concatenate(
        [
            np.minimum(corners[:, :2], corners[:, 2:]),
            np.maximum(corners[:, :2], corners[:, 2:]) + 1,
        ],
        axis=1,
    )
    return Sample(
        image,
        label=1,
        mask=rng.integers(0, 2, (height, width), np.uint8),
        boxes=boxes.astype(np.float32),
        patient="p",
        spacing=draw(st.sampled_from([None, (0.5, 0.5), (1.0, 0.7)])),
        path="a.png",
        history=(("read", {}),),
    )


seeds = st.integers(0, 2**32).map(np.random.default_rng)


def lesion(size=64, box=(20, 28, 36, 40), channels=1):
    """A bright rectangle; mask and box say where it is. The image equals the mask."""
    x0, y0, x1, y1 = box
    mask = np.zeros((size, size), np.uint8)
    mask[y0:y1, x0:x1] = 1
    image = np.repeat(mask[None], channels, 0).astype(np.float32)
    return Sample(image, mask=mask, boxes=np.array([box], np.float32), spacing=(0.2, 0.2))


def bounds(mask):
    """The tight half-open box around what is set in `mask`."""
    rows, columns = np.nonzero(mask)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


def same(one, other):
    """Tell whether two samples are equal to the byte."""
    arrays = all(
        (a is None and b is None) or (a.dtype == b.dtype and a.tobytes() == b.tobytes())
        for a, b in ((one.image, other.image), (one.mask, other.mask), (one.boxes, other.boxes))
    )
    return arrays and one.history == other.history and one.spacing == other.spacing
