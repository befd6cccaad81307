"""Convolution with windows of one pixel: one product of matrices, by cuBLAS."""

from __future__ import annotations

from nnmed.backend import cuda
from nnmed.backend.arrays import array_module, nhwc


def applies(dtype, kernel, stride, padding, groups) -> bool:
    """Tell whether windows are single pixels, with nothing between or around them.

    Where cuBLAS cannot be called, gpu_direct.py serves.
    """
    ends = [end for axis in padding for end in axis]
    is_plain = groups == 1 and not any(ends) and {*kernel, *stride} == {1}
    return is_plain and cuda.uses_cublas(dtype)


def correlate(x, weight, bias, y, *_):
    """Set `y` to the convolution of `x` with `weight`."""
    result = _matrix(y)
    array_module(x).matmul(_matrix(x), weight.reshape(len(weight), -1).T, out=result)
    if bias is not None:
        result += bias


def input_grad(dy, weight, dx, *_):
    """Set `dx` to the gradient of the convolution by its input."""
    array_module(dy).matmul(_matrix(dy), weight.reshape(len(weight), -1), out=_matrix(dx))


def weight_grad(dy, x, dweight, *_):
    """Set `dweight` to the gradient of the convolution by its weight."""
    result = dweight.reshape(len(dweight), -1)
    array_module(x).matmul(_matrix(dy).T, _matrix(x), out=result)


def _matrix(x):
    """Return (N, C, ...) on channels-last memory as (pixels, C)."""
    return nhwc(x).reshape(-1, x.shape[1])
