"""How matrix products and convolutions of float32 arrays multiply: a switch of each thread.

The operands are rounded to a format with fewer bits, the products are added up in float32, and
all arrays stay float32::

    format      bits of exponent, fraction    largest    next number after 1
    float32               8, 23                3e38          1 + 2^-23
    tfloat32              8, 10                3e38          1 + 2^-10
    bfloat16              8, 7                 3e38          1 + 2^-7
    float16               5, 10                65504         1 + 2^-10

That is what a GPU's tensor cores do, many times as fast as float32. What is not a product (sums,
normalization, losses, the optimizer's step) remains in float32, float64 arrays remain as they
are. In float16 a number below 6e-8 becomes 0, which is why losses are scaled
(:class:`nnmed.optim.GradScaler`); bfloat16 needs no such help but rounds eight times as coarsely.

Source: Micikevicius et al., "Mixed precision training", ICLR 2018.
"""

from __future__ import annotations

import contextlib
import threading

import numpy as np

from nnmed.errors import UsageError

FORMATS = "float16", "bfloat16"


class _State(threading.local):
    format = "float32"


state = _State()
_tf32 = False


def current() -> str:
    """Return how this thread multiplies: a format of the table above."""
    if state.format == "float32" and _tf32:
        return "tfloat32"
    return state.format


def allow_tf32(enabled: bool = True) -> None:
    """Let products on a GPU round their operands to tfloat32, in the whole process.

    To the nearest number, of two equally near ones to the larger. Off at first. Cards since compute
    capability 8.0 have it. On the CPU nothing changes.
    """
    global _tf32
    _tf32 = bool(enabled)


def check_format(dtype: str) -> None:
    """Raise UsageError unless `dtype` is one that :class:`autocast` takes."""
    if dtype not in FORMATS:
        raise UsageError(f"autocast: dtype must be 'float16' or 'bfloat16', got {dtype!r}")


class autocast(contextlib.ContextDecorator):
    """Context manager and decorator: multiply in float16 or bfloat16.

    The gradients of what ran inside are computed in the same way, wherever backward is called. On
    the CPU the operands are rounded in NumPy: it takes longer than float32 and serves to
    study what a GPU would do. Unlike PyTorch's, results inside are float32, so they can go into
    any function.

    On a GPU of compute capability below 8.0, bfloat16 is float32: the card has no such products.

    Parameters
    ----------
    dtype : {"float16", "bfloat16"}
    enabled : bool
        Without it, nothing is rounded inside, also within an outer `autocast`.

    Raises
    ------
    UsageError
        If `dtype` is another one.

    Examples
    --------
    >>> import nnmed
    >>> x = nnmed.Tensor([[1.001]])
    >>> with nnmed.autocast("bfloat16"):
    ...     y = x @ x
    >>> y.item()
    1.0
    """

    def __init__(self, dtype: str, enabled: bool = True):
        check_format(dtype)
        self.dtype, self.enabled = dtype, enabled
        self._before: list[str] = []

    def __enter__(self):
        self._before.append(state.format)
        state.format = self.dtype if self.enabled else "float32"
        return self

    def __exit__(self, *exception):
        state.format = self._before.pop()

    def _recreate_cm(self):
        # A decorated function may run in several threads at a time: one switch a call.
        return autocast(self.dtype, self.enabled)


@contextlib.contextmanager
def multiplying_in(format: str):
    """Context manager: what :class:`autocast` does, for a format that :data:`state` had before."""
    before, state.format = state.format, format
    try:
        yield
    finally:
        state.format = before


def rounded(array):
    """Return a float32 array of NumPy in this thread's format, again as float32.

    To the nearest number, of two equally near to the one whose last bit is 0. What is too large
    becomes infinite. Other arrays are returned as they are: a GPU rounds when it multiplies.
    """
    if state.format == "float32" or type(array) is not np.ndarray or array.dtype != np.float32:
        return array
    if state.format == "float16":
        with np.errstate(over="ignore"):
            return array.astype(np.float16).astype(np.float32)
    return _to_bfloat16(array)


def _to_bfloat16(array):
    """Return the array with the lower half of each number's bits rounded away."""
    bits = array.view(np.uint32)
    last = (bits >> 16) & 1
    nearest = (bits + (last + np.uint32(0x7FFF))) & np.uint32(0xFFFF0000)
    return np.where(np.isnan(array), array, nearest.view(np.float32))
