"""CUDA kernels against the CPU's on arrays of several blocks, parts and warps."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from nnmed.backend.arrays import to_device
from nnmed.kernels.resample import taps
from nnmed.kernels.resample.windows import Windows

TOLERANCE = {np.float32: dict(rtol=2e-4, atol=2e-4), np.float64: dict(rtol=1e-9, atol=1e-9)}
DOUBLE = np.dtype(np.float64)


def normal(*shape):
    return lambda rng, dtype: rng.standard_normal(shape).astype(dtype)


def uniform(*shape):
    return lambda rng, dtype: rng.uniform(0.01, 0.99, shape).astype(dtype)


def integers(high, *shape, dtype=np.int64):
    return lambda rng, _: rng.integers(0, high, shape).astype(dtype)


def truth(*shape):
    return lambda rng, _: rng.random(shape) < 0.5


MAPS, ROWS = normal(2, 5, 37, 41), normal(3, 700)
WINDOWS = (3, 3), (2, 2), (1, 1)
LINEAR = taps.linear_taps(37, 50, 37 / 50, False, DOUBLE)
CUBIC = taps.cubic_taps(41, 20, 2.05, False, DOUBLE)
# Family, function, and its arguments: what is called makes an array.
CALLS = [
    ("activation", "relu", MAPS),
    ("activation", "silu_grad", MAPS, MAPS),
    ("activation", "prelu_grad", MAPS, MAPS, MAPS),
    ("activation", "softmax", ROWS, 1),
    ("activation", "softmax_grad", ROWS, ROWS, 1),
    ("activation", "log_softmax", ROWS, 1),
    ("activation", "log_softmax_grad", ROWS, ROWS, 1),
    ("activation", "softmax", MAPS, 2),
    ("activation", "dropout", MAPS, 0.3, (5, 7)),
    ("activation", "random_slopes", MAPS, 0.1, 0.3, (2, 3)),
    ("normalization", "batch_moments", normal(3, 70, 25, 27)),
    ("normalization", "batch_norm_grad", normal(3, 40, 25, 27), normal(3, 40, 25, 27),
     normal(40), uniform(40), normal(40), 1e-5, True),
    ("normalization", "group_moments", normal(3, 40, 25, 27), 4),
    ("normalization", "group_norm_grad", normal(3, 40, 25, 27), normal(3, 40, 25, 27),
     normal(3, 4), uniform(3, 4), normal(40), 1e-5),
    ("normalization", "layer_norm", normal(300, 70), normal(70), normal(70), 1e-5, True),
    ("normalization", "layer_norm", normal(3, 5000), None, None, 1e-5, True),
    ("normalization", "layer_norm_grad", normal(300, 70), normal(300, 70), normal(300),
     uniform(300), normal(70), True),
    ("normalization", "layer_norm_grad", normal(3, 5000), normal(3, 5000), normal(3),
     uniform(3), normal(5000), True),
    ("pooling", "max_pool2d", MAPS, *WINDOWS, (1, 1), (19, 21)),
    ("pooling", "max_pool2d", MAPS, (17, 18), (1, 1), (0, 0), (1, 1), (21, 24)),
    ("pooling", "avg_pool2d", MAPS, *WINDOWS, (19, 21), False, None),
    ("pooling", "avg_pool2d_input_grad", normal(2, 5, 19, 21), (37, 41), *WINDOWS, True, None),
    ("pooling", "adaptive_max_pool2d", MAPS, (7, 5)),
    ("pooling", "adaptive_avg_pool2d", MAPS, (1, 1)),
    ("pooling", "adaptive_avg_pool2d", MAPS, (7, 50)),
    ("pooling", "adaptive_avg_pool2d_input_grad", normal(2, 5, 7, 50), (37, 41)),
    ("pooling", "scatter_plane", normal(2, 5, 20, 20), integers(100, 2, 5, 20, 20), (10, 10)),
    ("pooling", "gather_plane", MAPS, integers(37 * 41, 2, 5, 20, 20)),
    ("resample", "interpolate", MAPS, [LINEAR, CUBIC]),
    ("resample", "pad", MAPS, [(0, 0), (0, 0), (3, -2), (4, 5)], "reflect", None),
    ("resample", "pad_input_grad", MAPS, [(0, 0), (0, 0), (3, 2), (4, 5)], "circular"),
    ("resample", "sample_input_grad", normal(2, 5, 400), integers(90, 4, 2, 400),
     normal(4, 2, 400), 90),
    ("resample", "unfold", MAPS, Windows((3, 2), (1, 2), (1, 1), (2, 1))),
    ("loss", "mse_loss", ROWS, ROWS, "mean", True),
    ("loss", "smooth_l1_loss", MAPS, MAPS, 0.7, "sum", True),
    ("loss", "binary_cross_entropy_with_logits", ROWS, uniform(3, 700), uniform(700), None,
     "mean", True),
    ("loss", "cross_entropy", MAPS, integers(5, 2, 37, 41), uniform(5), 3, 0.1, "mean", True),
    ("loss", "cross_entropy", normal(300, 70), integers(70, 300), None, 3, 0.0, "mean", True),
    ("loss", "soft_cross_entropy", normal(300, 70), uniform(300, 70), uniform(70), 0.1, "mean",
     True),
    ("loss", "nll_loss", normal(300, 70), integers(70, 300), uniform(70), 3, "mean", True),
    ("loss", "focal_loss", MAPS, integers(5, 2, 37, 41), None, -1, 2.0, "mean", True),
    ("loss", "overlap", uniform(2, 3, 60, 70), integers(3, 2, 60, 70, dtype=np.uint8),
     truth(2, 60, 70), True),
    ("loss", "lovasz_weights", normal(3, 500), truth(3, 500), truth(3, 500)),
]  # fmt: skip


def names():
    return [f"{number}-{call[0]}-{call[1]}" for number, call in enumerate(CALLS)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("call", CALLS, ids=names())
def test_equals_the_cpu(call, dtype, gpu):
    family, function, *arguments = call
    rng = np.random.default_rng(0)
    arguments = [a(rng, dtype) if callable(a) else a for a in arguments]
    results = []
    for device in ("cpu", gpu):
        module = importlib.import_module(f"nnmed.kernels.{family}.{device}")
        given = [to_device(a, device) if isinstance(a, np.ndarray) else a for a in arguments]
        made = getattr(module, function)(*given)
        results.append(made if isinstance(made, (tuple, list)) else (made,))
    for expected, got in zip(*results, strict=True):
        if expected is None or isinstance(expected, float):
            assert got is None or float(got) == pytest.approx(expected, rel=1e-6)
            continue
        assert got.dtype == expected.dtype
        np.testing.assert_allclose(to_device(got, "cpu"), expected, **TOLERANCE[dtype])
