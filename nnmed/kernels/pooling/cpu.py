"""Pooling with NumPy on channels-last memory; formulas in reference.py."""

from nnmed.kernels.pooling.cpu_adaptive import (
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_input_grad,
    adaptive_max_pool2d,
)
from nnmed.kernels.pooling.cpu_average import avg_pool2d, avg_pool2d_input_grad
from nnmed.kernels.pooling.cpu_max import max_pool2d, max_pool2d_indices, max_pool2d_input_grad
from nnmed.kernels.pooling.cpu_positions import gather_plane, place_plane, scatter_plane

__all__ = [
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_input_grad",
    "adaptive_max_pool2d",
    "avg_pool2d",
    "avg_pool2d_input_grad",
    "gather_plane",
    "max_pool2d",
    "max_pool2d_indices",
    "max_pool2d_input_grad",
    "place_plane",
    "scatter_plane",
]
