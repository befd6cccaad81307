"""Ops that move elements and compute nothing: reshape, permute, broadcast, join, split."""

from __future__ import annotations

import math

import numpy as np

from nnmed.autograd import Notation, Op, Tensor
from nnmed.backend.arrays import array_module, empty_channels_last, is_channels_last, nhwc
from nnmed.errors import ShapeError
from nnmed.ops.arguments import (
    as_tensor,
    broadcast_shapes,
    dimension,
    dimensions,
    operands,
    sequence,
    shape_argument,
)

_DY = r"\frac{\partial L}{\partial y}"
_BY_X = r"\frac{\partial L}{\partial x} = "


class Reshape(Op):
    """y = x with another shape, elements in row-major order;   dx = dy with the shape of x"""

    forward_latex = r"y = \operatorname{reshape}(x)"
    backward_latex = {"x": _BY_X + r"\operatorname{reshape}\left(" + _DY + r"\right)"}
    arithmetic = True
    is_view = True

    def __init__(self, shape):
        self.shape = shape

    def notation(self):
        return Notation(views={"x": np.ravel, "y": np.ravel})

    def forward(self, x):
        return x.reshape(self.shape)

    def backward(self, dy):
        return dy.reshape(self.input_shapes[0])

    def flops(self, inputs, output):
        return 0


class Permute(Op):
    """y = x with dimensions in another order;   dx = dy with the order undone"""

    forward_latex = r"y_{i_\pi} = x_i, \quad i_\pi = (i_{\pi_1}, \dots, i_{\pi_n})"
    backward_latex = {
        "x": r"\frac{\partial L}{\partial x_i} = \frac{\partial L}{\partial y_{i_\pi}}"
    }
    is_view = True

    def __init__(self, dims):
        self.dims = dims

    def notation(self):
        return Notation({r"\pi": np.array(self.dims, int)}, ranges={"i": self.input_shapes[0]})

    def forward(self, x):
        return x.transpose(self.dims)

    def backward(self, dy):
        return Permute(self._undone())(dy)

    def fused_backward(self, dy):
        return dy.transpose(self._undone())

    def _undone(self):
        return tuple(sorted(range(len(self.dims)), key=self.dims.__getitem__))

    def flops(self, inputs, output):
        return 0


def _repeated_latex(op: Op, shape, repeated_shape):
    """Return the formulas of an op that repeats or sums, by what it does to the dimensions."""
    forward, backward = Op.latex(op)
    if math.prod(shape) == 1:  # no j
        change = {"_{ij}": "_i", "_{j}": ""}
    elif _are_last(_repeated_dims(shape, repeated_shape), len(repeated_shape)):
        change = {"_{ij}": "_{ji}"}
    else:
        change = {}
    for before, after in change.items():
        forward = forward.replace(before, after)
        backward = {name: latex.replace(before, after) for name, latex in backward.items()}
    return forward, backward


def _are_last(dims, count: int) -> bool:
    return sorted(dims) == [*range(count - len(dims), count)]


def _repeated(shape, repeated_shape, small: str, large: str) -> Notation:
    """Return how formulas are read in which element j of the small array is at all (i, j)."""
    dims = _repeated_dims(shape, repeated_shape)
    count = math.prod(shape)

    def apart(array):
        if count == 1:
            return array.ravel()
        if _are_last(dims, array.ndim):
            return array.reshape(count, -1)
        kept = [dim for dim in range(array.ndim) if dim not in dims]
        return array.transpose(*dims, *kept).reshape(-1, count)

    return Notation(views={small: np.squeeze if count == 1 else np.ravel, large: apart})


class BroadcastTo(Op):
    """y = x repeated along some dimensions;   dx = sum of dy over the repetitions"""

    forward_latex = r"y_{ij} = x_{j}"
    backward_latex = {
        "x": r"\frac{\partial L}{\partial x_{j}} = \sum_i \frac{\partial L}{\partial y_{ij}}"
    }
    is_view = True

    def __init__(self, shape):
        self.shape = shape

    def latex(self):
        return _repeated_latex(self, self.input_shapes[0], self.shape)

    def notation(self):
        return _repeated(self.input_shapes[0], self.shape, small="x", large="y")

    def forward(self, x):
        return np.broadcast_to(x, self.shape)

    def backward(self, dy):
        return sum_to(dy, self.input_shapes[0])

    def fused_backward(self, dy):
        return _sum_to(dy, self.input_shapes[0])

    def flops(self, inputs, output):
        return 0


class SumTo(Op):
    """y = sum of x over the dimensions that broadcasting made;   dx = dy repeated"""

    forward_latex = r"y_{j} = \sum_i x_{ij}"
    backward_latex = {
        "x": r"\frac{\partial L}{\partial x_{ij}} = \frac{\partial L}{\partial y_{j}}"
    }

    def __init__(self, shape):
        self.shape = shape

    def latex(self):
        return _repeated_latex(self, self.shape, self.input_shapes[0])

    def notation(self):
        return _repeated(self.shape, self.input_shapes[0], small="y", large="x")

    def forward(self, x):
        return _sum_to(x, self.shape)

    def backward(self, dy):
        return broadcast_to(dy, self.input_shapes[0])

    def flops(self, inputs, output):
        return int(np.prod(inputs[0], dtype=np.int64))


def _sum_to(x, shape):
    return x.sum(axis=_repeated_dims(shape, x.shape), keepdims=True).reshape(shape)


def _repeated_dims(shape, repeated_shape) -> tuple[int, ...]:
    """Return the dimensions along which an array of a shape was repeated."""
    extra = len(repeated_shape) - len(shape)
    ones = [i + extra for i, n in enumerate(shape) if n == 1 and repeated_shape[i + extra] != 1]
    return (*range(extra), *ones)


class Concatenate(Op):
    """y = the inputs one after the other along a dimension;   dx_k = its part of dy

    Input k begins at o_k, where the one before it ends.
    """

    forward_latex = r"y_{o_k+i} = x^{(k)}_i, \quad y = [\,x^{(1)},\, x^{(2)},\, \dots\,]"
    backward_latex = {
        "arrays": r"\frac{\partial L}{\partial x^{(k)}_i} = \frac{\partial L}{\partial y_{o_k+i}}"
    }

    def __init__(self, dim: int):
        self.dim = dim

    def notation(self):
        lengths = [shape[self.dim] for shape in self.input_shapes]

        def along(arrays):  # the formula speaks of the joined dimension alone
            if isinstance(arrays, list):
                return list(map(along, arrays))
            return np.moveaxis(arrays, self.dim, -1).reshape(-1, arrays.shape[self.dim])

        return Notation(
            {"o": np.cumsum([0, *lengths[:-1]])},
            views={"x": along, "y": along},
            ranges={"k": len(lengths), "i": lambda indices: lengths[indices["k"]]},
            rows=True,
        )

    def forward(self, *arrays):
        if not all(map(_is_picture, arrays)):
            return np.concatenate(arrays, self.dim)
        # NumPy would choose the same order, but new memory; CuPy another order.
        shape = list(arrays[0].shape)
        shape[self.dim] = sum(array.shape[self.dim] for array in arrays)
        y = empty_channels_last(shape, arrays[0].dtype, array_module(arrays[0]))
        axis = (0, y.ndim - 1, *range(1, y.ndim - 1))[self.dim]
        np.concatenate([nhwc(array) for array in arrays], axis, out=nhwc(y))
        return y

    def backward(self, dy):
        lengths = [shape[self.dim] for shape in self.input_shapes]
        parts = split(dy, lengths, self.dim)
        return tuple(part if need else None for part, need in zip(parts, self.needs))

    def flops(self, inputs, output):
        return 0


def _is_picture(array) -> bool:
    """Tell whether an array is (N, C, H, W) or larger, and channels-last alone."""
    return array.ndim > 3 and is_channels_last(array) and not array.flags.c_contiguous


def reshape(x, *shape) -> Tensor:
    """Return `x` with another shape; one length may be -1. A view where memory allows."""
    x = as_tensor(x)
    shape = shape_argument(shape)
    if x._array.shape == shape:
        return x
    known = math.prod([n for n in shape if n != -1])
    fits = shape.count(-1) == 0 and known == x.numel()
    fits = fits or (shape.count(-1) == 1 and known > 0 and x.numel() % known == 0)
    if not fits or any(n < -1 for n in shape):
        raise ShapeError(f"reshape: {x.shape} has {x.numel()} elements, they do not fit {shape}")
    return Reshape(shape)(x)


def flatten(x, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Return `x` with dimensions `start_dim` to `end_dim` made one."""
    x = as_tensor(x)
    start, end = dimension(start_dim, x.ndim), dimension(end_dim, x.ndim)
    if start > end:
        raise ShapeError(f"flatten: start_dim {start_dim} comes after end_dim {end_dim}")
    length = int(np.prod(x.shape[start : end + 1], dtype=np.int64))
    return reshape(x, (*x.shape[:start], length, *x.shape[end + 1 :]))


def squeeze(x, dim=None) -> Tensor:
    """Return `x` without its dimensions of length 1 (all of them, or those in `dim`)."""
    x = as_tensor(x)
    dims = dimensions(dim, x.ndim)
    return reshape(x, tuple(n for i, n in enumerate(x.shape) if n != 1 or i not in dims))


def unsqueeze(x, dim: int) -> Tensor:
    """Return `x` with a dimension of length 1 put in at position `dim`."""
    x = as_tensor(x)
    dim = dimension(dim, x.ndim + 1)
    return reshape(x, (*x.shape[:dim], 1, *x.shape[dim:]))


def permute(x, *dims) -> Tensor:
    """Return `x` with its dimensions in the order `dims`, as a view."""
    x = as_tensor(x)
    dims = shape_argument(dims)
    if len(dims) != x.ndim or len(dimensions(dims, x.ndim)) != x.ndim:
        raise ShapeError(f"permute: {dims} is no order of the dimensions of {x.shape}")
    return Permute(dimensions(dims, x.ndim))(x)


def transpose(x, dim0: int, dim1: int) -> Tensor:
    """Return `x` with two dimensions swapped, as a view."""
    x = as_tensor(x)
    dims = list(range(max(x.ndim, 1)))
    i, j = dimension(dim0, x.ndim), dimension(dim1, x.ndim)
    dims[i], dims[j] = dims[j], dims[i]
    dims = dims[: x.ndim]
    return Permute(tuple(dims))(x)


def broadcast_to(x, shape) -> Tensor:
    """Return `x` repeated to `shape` by NumPy's rules, as a read-only view."""
    x = as_tensor(x)
    shape = shape_argument((shape,))
    if x._array.shape == shape:
        return x
    if min(shape, default=0) < 0 or broadcast_shapes(x._array.shape, shape) != shape:
        raise ShapeError(f"broadcast_to: {x.shape} cannot be repeated to {shape}")
    return BroadcastTo(shape)(x)


def broadcast_operands(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Broadcast those of the two that need a gradient; NumPy does the rest."""
    shape_a, shape_b = a._array.shape, b._array.shape
    if shape_a == shape_b or not (shape_b or b._requires_grad):  # often b is a plain number
        return a, b
    try:  # faster than from the shapes
        shape = np.broadcast(a._array, b._array).shape
    except (TypeError, ValueError):  # arrays of CuPy, or an error to be explained
        shape = broadcast_shapes(shape_a, shape_b)
    if a._requires_grad and shape_a != shape:
        a = BroadcastTo(shape)(a)
    if b._requires_grad and shape_b != shape:
        b = BroadcastTo(shape)(b)
    return a, b


def expand(x, *sizes) -> Tensor:
    """Return `x` repeated to `sizes`, where -1 keeps a length."""
    x = as_tensor(x)
    sizes = shape_argument(sizes)
    extra = len(sizes) - x.ndim
    kept = [x.shape[i - extra] if n == -1 and i >= extra else n for i, n in enumerate(sizes)]
    return broadcast_to(x, kept)


def sum_to(x, shape) -> Tensor:
    """Return `x` summed to `shape`: the opposite of :func:`broadcast_to`."""
    x = as_tensor(x)
    shape = tuple(shape)
    return x if x._array.shape == shape else SumTo(shape)(x)


def concatenate(tensors, dim: int = 0) -> Tensor:
    """Return the tensors joined along `dim`; all other lengths must agree."""
    tensors = [as_tensor(t) for t in sequence("concatenate: tensors", tensors)]
    if not tensors:
        raise ShapeError("concatenate: no tensors given")
    first = tensors[0]
    axis = dimension(dim, first.ndim)
    for t in tensors:
        same = t.ndim == first.ndim > 0 and all(
            a == b for i, (a, b) in enumerate(zip(t.shape, first.shape)) if i != axis
        )
        if not same:
            shapes = ", ".join(str(t.shape) for t in tensors)
            raise ShapeError(f"concatenate: shapes differ outside dim {dim}: {shapes}")
    for index in range(1, len(tensors)):  # one dtype for all
        first, tensors[index] = operands(first, tensors[index])
    tensors = [operands(t, first)[0] for t in tensors]
    return Concatenate(axis)(*tensors)


def stack(tensors, dim: int = 0) -> Tensor:
    """Return the tensors, all of one shape, joined along a new dimension."""
    tensors = [as_tensor(t) for t in sequence("stack: tensors", tensors)]
    if len({t.shape for t in tensors}) != 1:
        raise ShapeError(f"stack: shapes differ or none given: {[t.shape for t in tensors]}")
    return concatenate([unsqueeze(t, dim) for t in tensors], dimension(dim, tensors[0].ndim + 1))


def split(x, split_size_or_sections, dim: int = 0) -> tuple[Tensor, ...]:
    """Return the pieces of `x` along `dim`.

    Parameters
    ----------
    split_size_or_sections : int or sequence of int
        Length of each piece (the last may be shorter), or the lengths of all.
    """
    x = as_tensor(x)
    dim = dimension(dim, x.ndim)
    if not x.ndim:
        raise ShapeError("split: a 0-d tensor has nothing to split")
    total, sizes = x.shape[dim], split_size_or_sections
    if isinstance(sizes, (int, np.integer)):
        if sizes < 1:
            raise ShapeError(f"split: the length of a piece must be positive, got {sizes}")
        sizes = [min(sizes, total - start) for start in range(0, max(total, 1), sizes)]
    sizes = shape_argument(sequence("split: split_size_or_sections", sizes))
    if sum(sizes) != total or min(sizes, default=0) < 0:
        raise ShapeError(f"split: lengths {list(sizes)} do not add up to {total} along dim {dim}")
    stops = np.cumsum(sizes)
    before = (slice(None),) * dim
    return tuple(x[(*before, slice(int(e) - n, int(e)))] for n, e in zip(sizes, stops))
