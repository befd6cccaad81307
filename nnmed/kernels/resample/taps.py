"""Where each output of a 1-d resampling reads, and with what weight.

Every resampling here is separable, and along one axis ``y[o] = sum_t weight[o, t] *
x[index[o, t]]``. The gradient is the transposed map, which has the same form.
"""

from __future__ import annotations

import numpy as np


def nearest_taps(size, output_size, scale, exact, dtype):
    """Return (index, weight) of nearest neighbours: ``floor(o * scale)``.

    With `exact` the centres of pixels are compared: ``floor((o + 0.5) * scale)``.
    Computed in float32 as PyTorch does, whatever the type of the picture.
    """
    position = np.arange(output_size, dtype=np.float32)
    if exact:
        position += np.float32(0.5)
    index = np.floor(position * np.float32(scale)).astype(np.intp)
    index = np.clip(index, 0, size - 1)
    return index[:, None], np.ones((output_size, 1), dtype)


def linear_taps(size, output_size, scale, align_corners, dtype):
    """Return (index, weight) of linear interpolation between two neighbours.

    The source position is ``o * scale`` with `align_corners`, else
    ``(o + 0.5) * scale - 0.5`` held above 0; computed in `dtype`, as PyTorch does.
    """
    position, scale = np.arange(output_size, dtype=dtype), dtype.type(scale)
    if align_corners:
        position = position * scale
    else:
        half = dtype.type(0.5)
        position = np.maximum((position + half) * scale - half, dtype.type(0))
    low = np.minimum(position.astype(np.intp), size - 1)
    high = np.minimum(low + 1, size - 1)
    share = np.clip(position - low.astype(dtype), 0, 1).astype(dtype)
    return np.stack([low, high], axis=1), np.stack([1 - share, share], axis=1)


def triangle_taps(size, output_size, scale, dtype):
    """Return (index, weight) of linear interpolation without aliasing.

    Output o weighs the pixels around ``(o + 0.5) * scale`` by a triangle that reaches
    ``max(scale, 1)`` to either side; the weights of an output add up to 1.
    """
    reach = max(scale, 1.0)
    centre = (np.arange(output_size) + 0.5) * scale
    first = np.maximum(np.floor(centre - reach + 0.5).astype(np.intp), 0)
    last = np.minimum(np.floor(centre + reach + 0.5).astype(np.intp), size) - 1
    index = first[:, None] + np.arange((last - first).max() + 1)
    weight = np.maximum(1 - np.abs(index + 0.5 - centre[:, None]) / reach, 0)
    weight[index > last[:, None]] = 0
    weight /= weight.sum(axis=1, keepdims=True)
    # Taps of weight 0 repeat one that is used, so that no NaN comes in from elsewhere.
    used = np.take_along_axis(index, weight.argmax(axis=1)[:, None], axis=1)
    return np.where(weight > 0, index, used), weight.astype(dtype)


def transposed_taps(index, weight, size):
    """Return the taps of the transposed map, from the outputs back to `size` inputs.

    Inputs read a different number of times get taps of weight 0 that repeat one of their
    own, so that a NaN elsewhere cannot reach them; an input never read has only weights
    of 0.
    """
    outputs = np.repeat(np.arange(len(index)), index.shape[1])
    inputs, weights = index.ravel(), weight.ravel()
    used = weights != 0
    outputs, inputs, weights = outputs[used], inputs[used], weights[used]
    order = np.argsort(inputs, kind="stable")
    outputs, inputs, weights = outputs[order], inputs[order], weights[order]
    counts = np.bincount(inputs, minlength=size)
    starts = np.cumsum(counts) - counts
    width = max(1, counts.max(initial=0))
    back = np.zeros((size, width), np.intp)
    if len(outputs):
        back[:] = outputs[np.minimum(starts, len(outputs) - 1)][:, None]
    back_weight = np.zeros((size, width), weight.dtype)
    slot = np.arange(len(inputs)) - starts[inputs]
    back[inputs, slot] = outputs
    back_weight[inputs, slot] = weights
    return back, back_weight
