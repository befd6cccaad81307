"""Resampling and padding with NumPy on channels-last memory; formulas in reference.py."""

from __future__ import annotations

from nnmed.kernels.resample.cpu_interpolate import interpolate
from nnmed.kernels.resample.cpu_pad import pad, pad_input_grad

__all__ = ["interpolate", "pad", "pad_input_grad"]
