"""The fewest NumPy calls that we know for a kernel's arithmetic, with nothing around them.

Results go into memory that is there already, windows of convolutions lie side by side, nothing
is checked, and ties and NaN count as they come: a kernel in NumPy has all of this to do and more.
Arrays are channels-last, and are walked over in pieces that stay in the cache.
"""

from __future__ import annotations

import math

import numpy as np

from benchmarks.cases import Case

PIECE = 1 << 18  # numbers


class BareCalls:
    """The calls for a case; `steps` are its forward and its backward."""

    name = "bare calls"

    def __init__(self, case: Case):
        self.steps = list(LIMITS[case.family, case.name][1](case))


def _arrays(count: int, size: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.standard_normal(size, np.float32) for _ in range(count)]


def _in_pieces(calls, size: int, piece: int = PIECE):
    """Return the function that makes `calls` on each slice of ``range(size)``."""
    slices = [slice(start, min(start + piece, size)) for start in range(0, size, piece)]

    def step():
        for each in slices:
            calls(each)

    return step


def _pictures(case):
    """Return x, dx, y and dy of a 2x2 pooling as lists of images (H, W, C)."""
    n, c, height, width = case.inputs["input"].shape
    large, small = (n, height, width, c), (n, height // 2, width // 2, c)
    x, dx = (a.reshape(large) for a in _arrays(2, math.prod(large)))
    return x, dx, *(a.reshape(small) for a in _arrays(2, math.prod(small)))


def _corners(x):
    return [x[u::2, v::2] for u in (0, 1) for v in (0, 1)]


def _down_then_across(function, x, half, y):
    """Combine pairs of rows, which are long, then pairs of pixels."""
    pairs = x.reshape(len(y), 2, -1)
    function(pairs[:, 0], pairs[:, 1], out=half.reshape(len(y), -1))
    function(half[:, ::2], half[:, 1::2], out=y)


def _max_2x2(case):
    x, dx, y, dy = _pictures(case)
    half, mask = np.empty_like(x[0, ::2]), np.empty(y[0].shape, bool)

    def forward():
        for image, result in zip(x, y):
            _down_then_across(np.maximum, image, half, result)

    def backward():
        for image, largest, gradient, result in zip(x, y, dy, dx):
            for corner, target in zip(_corners(image), _corners(result)):
                np.equal(corner, largest, out=mask)
                np.multiply(gradient, mask, out=target)

    return forward, backward


def _average_2x2(case):
    x, dx, y, dy = _pictures(case)
    half, share = np.empty_like(x[0, ::2]), np.empty_like(y[0])

    def forward():
        for image, result in zip(x, y):
            _down_then_across(np.add, image, half, result)
            np.multiply(result, 0.25, out=result)

    def backward():
        for gradient, result in zip(dy, dx):
            np.multiply(gradient, 0.25, out=share)
            pairs = half.reshape(*share.shape[:2], 2, -1)
            np.copyto(pairs, share[:, :, None])
            np.copyto(result.reshape(len(half), 2, -1), half.reshape(len(half), 1, -1))

    return forward, backward


def _max_3x3_stride_2(case):
    """The rows and columns that windows share count as if they lay in pairs."""
    x, dx, y, dy = _pictures(case)
    half, mask = np.empty_like(x[0, ::2]), np.empty(y[0].shape, bool)
    term = np.empty_like(y[0])

    def forward():
        for image, result in zip(x, y):
            _down_then_across(np.maximum, image, half, result)
            np.maximum(half, image[::2], out=half)
            np.maximum(result, half[:, ::2], out=result)

    def backward():
        for image, largest, gradient, result in zip(x, y, dy, dx):
            corners = list(zip(_corners(image), _corners(result)))
            for corner, target in corners + corners + corners[:1]:
                np.equal(corner, largest, out=mask)
                np.multiply(gradient, mask, out=term)
                np.add(target, term, out=target)

    return forward, backward


def _max_of_windows(case):
    """The largest of each column of cells with its row, as if a window were a column."""
    _, c, height, width = case.inputs["input"].shape
    cells = height // case.options["output_size"]
    x, y, dx = (a.reshape(-1, width * c) for a in _arrays(3, case.size))
    best, code = y[::cells], np.zeros((len(y) // cells, width * c), np.uint8)
    won, later = np.empty(code.shape, bool), np.empty_like(code)
    outputs = case.size // cells**2
    (dy,), place = _arrays(1, outputs), np.arange(outputs) * cells**2

    def forward():
        np.copyto(best, x[::cells])
        for row in range(1, cells):
            np.greater(x[row::cells], best, out=won)
            np.multiply(won.view(np.uint8), row, out=later, dtype=np.uint8)
            np.maximum(code, later, out=code)
            np.maximum(best, x[row::cells], out=best)

    def backward():
        dx.fill(0)
        np.add.at(dx.reshape(-1), place, dy)

    return forward, backward


def _batch_norm(case):
    """A number for each channel is a row of 8192: shorter ones NumPy copies first."""
    x, y, dy, dx = (a.reshape(-1, 8192) for a in _arrays(4, case.size))
    rows = PIECE // 8192
    factor, level = (a.reshape(1, -1) for a in _arrays(2, 8192))
    sums, ones = np.empty((2, 1024), np.float32), np.ones((1, PIECE // 1024), np.float32)

    def moments(a, b):
        a, b = a.reshape(-1, 1024), b.reshape(-1, 1024)
        np.einsum("rc,rc->c", a, b, out=sums[0])
        np.matmul(ones[:, : len(a)], a, out=sums[1:])

    def normalise(s):
        np.multiply(x[s], factor, out=y[s])
        np.add(y[s], level, out=y[s])

    def carry(s):
        np.multiply(x[s], factor, out=dx[s])
        np.add(dx[s], level, out=dx[s])
        np.add(dx[s], dy[s], out=dx[s])
        np.multiply(dx[s], factor, out=dx[s])

    def scale(s):
        np.multiply(dy[s], factor, out=dx[s])

    training = case.options["training"]
    forward = [lambda s: moments(x[s], x[s]), normalise] if training else [normalise]
    backward = [lambda s: moments(dy[s], x[s]), carry if training else scale]
    return [_all(*(_in_pieces(f, len(x), rows) for f in calls)) for calls in (forward, backward)]


def _leaky_relu(case):
    x, y, dy, dx = _arrays(4, case.size)
    bits, out = x.view(np.int32), dx.view(np.int32)
    low = np.float32(0.01).view(np.int32)
    step = np.float32(1).view(np.int32) - low

    def forward(s):
        np.multiply(x[s], 0.01, out=y[s])
        np.maximum(x[s], y[s], out=y[s])

    def backward(s):
        np.clip(bits[s], 0, 1, out=out[s])
        np.multiply(out[s], step, out=out[s])
        np.add(out[s], low, out=out[s])
        np.multiply(dx[s], dy[s], out=dx[s])

    return _in_pieces(forward, case.size), _in_pieces(backward, case.size)


def _silu(case):
    x, y, dy, dx, d = _arrays(5, case.size)

    def forward(s):
        np.negative(x[s], out=y[s])
        np.exp(y[s], out=y[s])
        np.add(y[s], 1, out=y[s])
        np.divide(x[s], y[s], out=y[s])

    def backward(s):
        np.negative(x[s], out=d[s])
        np.exp(d[s], out=d[s])
        np.add(d[s], 1, out=d[s])
        np.divide(x[s], d[s], out=dx[s])
        np.subtract(x[s], dx[s], out=dx[s])
        np.add(dx[s], 1, out=dx[s])
        np.divide(dx[s], d[s], out=dx[s])
        np.multiply(dx[s], dy[s], out=dx[s])

    return _in_pieces(forward, case.size), _in_pieces(backward, case.size)


def _depthwise(case):
    """Zeros lie around the pictures already; columns and channels are one row."""
    (n, c, height, width), kernel = case.inputs["input"].shape, case.inputs["weight"].shape[2:]
    (u, v), row = kernel, width * c
    x, dy = _arrays(2, n * (height + u - 1) * (width + v - 1) * c)
    y, dx = (a.reshape(n, height, row) for a in _arrays(2, n * height * row))
    rows = np.ones((*kernel, row), np.float32)

    def windows(padded):
        padded = padded.reshape(n, height + u - 1, (width + v - 1) * c)
        image, line, number = padded.strides
        strides = image, line, line, c * number, number
        return np.lib.stride_tricks.as_strided(padded, (n, height, *kernel, row), strides)

    def forward():
        np.einsum("niuvw,uvw->niw", windows(x), rows, out=y)

    def backward():
        np.einsum("niuvw,uvw->niw", windows(dy), rows, out=dx)
        seen = windows(x)
        for tap in np.ndindex(kernel):
            np.einsum("niw,niw->w", seen[:, :, tap[0], tap[1]], y)

    return forward, backward


def _all(*steps):
    def step():
        for each in steps:
            each()

    return step


# By family and name of the case: the ratio that is wanted to PyTorch's better layout, the calls.
LIMITS = {
    ("conv", "64 at 32, depthwise"): (0.5, _depthwise),
    ("pooling", "max 2x2, 16 at 128"): (0.8, _max_2x2),
    ("pooling", "max 2x2, 64 at 64"): (0.8, _max_2x2),
    ("pooling", "max 3x3, stride 2, 64 at 112"): (0.8, _max_3x3_stride_2),
    ("pooling", "average 2x2, 64 at 64"): (0.8, _average_2x2),
    ("pooling", "adaptive maximum to 4, 64 at 32"): (0.8, _max_of_windows),
    ("normalization", "16 at 128"): (0.8, _batch_norm),
    ("normalization", "32 at 48"): (0.8, _batch_norm),
    ("normalization", "64 at 64"): (0.8, _batch_norm),
    ("normalization", "256 at 16"): (0.8, _batch_norm),
    ("normalization", "64 at 64, inference"): (0.8, _batch_norm),
    ("activation", "leaky_relu, 32 at 64"): (0.8, _leaky_relu),
    ("activation", "silu, 32 at 64"): (0.5, _silu),
}
