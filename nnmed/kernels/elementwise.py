"""Run element-wise work over flat memory, a cache-sized chunk at a time.

A chain of NumPy calls over a large array fetches it from memory once a call. Here every
call of the chain works on one chunk, with temporaries that each thread reuses, so all but
the first read and the last write stay in the cache. Arrays are read in *their* memory
order, whatever the layout: channels-last in, channels-last out, without a copy.

A chunk is a megabyte of float32, which the L3 cache holds. A smaller one would fit the L2
cache, but that is worth less than what each NumPy call costs, most of all on two threads,
which wait for each other's Python between calls (128 KiB was measured twice as slow there).
"""

from __future__ import annotations

import contextvars
import threading

import numpy as np

from nnmed.backend.arrays import empty_like, in_memory_order
from nnmed.backend.threads import parallel_for

CHUNK = 32768  # elements that fit the L2 cache, with what is computed from them
_LONG = 1 << 18

_local = threading.local()


def memory_order(x) -> tuple[int, ...] | None:
    """Return the axes of `x` from outermost to innermost, or None if `x` has gaps."""
    if x.flags.c_contiguous:
        return tuple(range(x.ndim))
    order = tuple(sorted(range(x.ndim), key=lambda axis: -x.strides[axis]))
    return order if x.transpose(order).flags.c_contiguous else None


def dense(x):
    """Return `x`, or a copy if it has gaps, and the memory order of what is returned."""
    order = memory_order(x)
    if order is None:
        x = x.copy(order="K")
        order = memory_order(x)
    return x, order


def in_order(x, order):
    """Return `x`, or a copy, without gaps in the memory order `order`."""
    ordered = x.transpose(order)
    return x if ordered.flags.c_contiguous else unflatten(ordered.copy(), x.shape, order)


def flatten(x, order):
    """Return the elements of `x` along `order` as a 1-d array: a view where possible.

    An array that repeats one element (the gradient of a sum) becomes that element, 0-d.
    """
    if x.size > 1 and not any(x.strides):
        return x[(0,) * x.ndim].reshape(())
    return x.transpose(order).reshape(-1)


def unflatten(values, shape, order):
    """Return the 1-d `values` as an array of logical `shape` with memory order `order`."""
    inverse = np.argsort(order) if order else ()
    return values.reshape([shape[axis] for axis in order]).transpose(tuple(inverse))


def take(values, start: int, stop: int):
    """Return one chunk of what :func:`flatten` gave."""
    return values if values.ndim == 0 else values[start:stop]


def temporaries(count: int, size: int, dtype) -> list[np.ndarray]:
    """Return `count` uninitialised arrays that belong to this thread until its next call."""
    key = np.dtype(dtype).char
    buffers = _local.__dict__.get(key)
    if buffers is None or len(buffers) < count or buffers.shape[1] < size:
        rows = max(count, 0 if buffers is None else len(buffers))
        columns = max(size, CHUNK, 0 if buffers is None else buffers.shape[1])
        buffers = _local.__dict__[key] = np.empty((rows, columns), dtype)
    return [buffers[row, :size] for row in range(count)]


def quietly(function, *arguments):
    """Call `function` with NumPy's warnings about overflow and NaN off.

    Both are part of the functions' ranges here. The setting lives in a context that each
    thread keeps: entering it takes a fifth of the time of ``np.errstate``.
    """
    return _quiet_context().run(function, *arguments)


def elementwise(function, *arrays):
    """Return ``function(*arrays)``, without warnings, in the memory order of the arrays."""
    if type(arrays[0]) is np.ndarray:
        return _quiet_context().run(function, *arrays)
    return in_memory_order(function, *arrays)


def _quiet_context():
    context = getattr(_local, "context", None)
    if context is None:
        context = _local.context = contextvars.Context()
        context.run(np.seterr, all="ignore")
    return context


def for_chunks(task, size: int) -> None:
    """Call ``task(index, start, stop)`` for each chunk of ``range(size)`` on the threads.

    Chunks are of even length, a multiple of 8, so that the packed bits of one are whole bytes.
    """
    count = -(-size // _LONG)
    length = -(-size // (8 * max(1, count))) * 8

    def run(index):
        start = index * length
        quietly(task, index, start, min(start + length, size))

    if count == 1:
        run(0)
    else:
        parallel_for(run, count)


def zeros(size: int, dtype) -> np.ndarray:
    """Return a read-only row of zeros: NumPy's maximum is three times faster than with 0."""
    return _zeros[np.dtype(dtype).char][:size]


def apply(function, x, *others, scratch: int = 0):
    """Return the array that `function` fills, chunk by chunk, from `x` and `others`.

    Parameters
    ----------
    function : callable
        ``function(y, x, *others, *temporaries)`` on 1-d chunks of equal length; it writes
        its result into `y`, which may serve as a temporary before.
    x : array
        Gives shape, memory order and dtype of the result.
    *others : array
        Arrays of the same shape in any layout. One that repeats a single element comes as
        a 0-d array.
    scratch : int
        How many temporaries are wanted.
    """
    x, order = dense(x)
    flat = [flatten(array, order) for array in (x, *others)]
    result = empty_like(x)
    flat_result = flatten(result, order)

    def task(_, start, stop):
        pieces = [take(values, start, stop) for values in flat]
        buffers = temporaries(scratch, stop - start, x.dtype) if scratch else ()
        function(flat_result[start:stop], *pieces, *buffers)

    for_chunks(task, x.size)
    return result


def keep_positive(dx, y, dy) -> None:
    """Write dy into `dx` where y > 0, elsewhere 0.

    Read as integers, positive floats are positive, 0 is 0 and -0 is negative; the bits of a float
    times 1 or 0 are the float or zero. Where `y` is NaN its sign decides.
    """
    np.clip(as_integers(y), 0, 1, out=as_integers(dx))
    np.multiply(as_integers(dx), as_integers(dy), out=as_integers(dx))


def as_integers(x):
    """Return the floats `x` as integers of the same length: a view."""
    return x.view(_INTEGERS[x.dtype.char])


_INTEGERS = {"f": np.dtype(np.int32), "d": np.dtype(np.int64)}
_zeros = {dtype.char: np.zeros(_LONG, dtype) for dtype in map(np.dtype, (np.float32, np.float64))}
for _row in _zeros.values():
    _row.flags.writeable = False
