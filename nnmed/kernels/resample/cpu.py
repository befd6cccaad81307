"""Resampling, padding and windows with NumPy; formulas in reference.py."""

from __future__ import annotations

from nnmed.kernels.resample.cpu_fold import fold, unfold
from nnmed.kernels.resample.cpu_interpolate import interpolate
from nnmed.kernels.resample.cpu_pad import pad, pad_input_grad
from nnmed.kernels.resample.cpu_sample import sample, sample_input_grad, sample_weight_grad

__all__ = [
    "fold",
    "interpolate",
    "pad",
    "pad_input_grad",
    "sample",
    "sample_input_grad",
    "sample_weight_grad",
    "unfold",
]
