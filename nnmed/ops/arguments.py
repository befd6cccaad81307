"""Turn what users pass (numbers, lists, arrays, tensors) into what ops take."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence

import numpy as np

from nnmed.autograd import Tensor
from nnmed.backend.arrays import array_module, device_of
from nnmed.errors import DeviceError, DTypeError, ShapeError, UsageError

_FLOAT32 = np.dtype(np.float32)
_NUMBERS = (bool, int, float, np.generic)
_NUMBER_DTYPES = {bool: np.dtype(bool), int: np.dtype(np.int64), float: _FLOAT32}
_CATEGORY = {"b": 0, "u": 1, "i": 1, "f": 2}


def as_tensor(value) -> Tensor:
    """Return `value` as a tensor: itself, or a copy of an array or of numbers.

    An array is copied, since backward could not see if it were written to later.
    """
    return value if isinstance(value, Tensor) else Tensor(value)


def as_float(value) -> Tensor:
    """Return `value` as a float tensor: integers and bool become float32, as in PyTorch."""
    tensor = as_tensor(value)
    return tensor if tensor.dtype.kind == "f" else cast(tensor, _FLOAT32)


def wrap(result) -> Tensor:
    """Return a tensor on what a NumPy function gave: for 0-d arrays that is a scalar."""
    return Tensor._wrap(np.asarray(result) if isinstance(result, np.generic) else result)


def operands(a, b, beside: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return two tensors of one dtype, promoted by PyTorch's rules.

    A number never widens a tensor of its own category (bool < integer < float), nor does a
    0-d tensor widen one that has dimensions: float32 stays float32. A number goes to the
    device of the other operand, or, where that is a number too, to that of `beside`.
    """
    if isinstance(a, Tensor):  # the two usual cases, before the rules for all
        if isinstance(b, Tensor):
            if a._array.dtype == b._array.dtype:
                return a, b
        elif type(b) in (float, int) and a._array.dtype.kind == "f":
            return a, _with_dtype(b, a._array.dtype, a)
    dtype = _promote(_rank(a), _rank(b))
    like = next((t for t in (a, b, beside) if isinstance(t, Tensor)), None)
    return _with_dtype(a, dtype, like), _with_dtype(b, dtype, like)


def _rank(value):
    """Return what decides promotion: (category, is no number, has dimensions), dtype."""
    if isinstance(value, _NUMBERS):
        dtype = _NUMBER_DTYPES.get(type(value)) or Tensor(value).dtype
        return (_CATEGORY[dtype.kind], False, False), dtype
    if not isinstance(value, Tensor):
        value = as_tensor(value)
    return (_CATEGORY[value.dtype.kind], True, value.ndim > 0), value.dtype


def _promote(a, b) -> np.dtype:
    (rank_a, dtype_a), (rank_b, dtype_b) = a, b
    if rank_a == rank_b:
        return np.promote_types(dtype_a, dtype_b)
    return dtype_a if rank_a > rank_b else dtype_b


def _with_dtype(value, dtype, beside: Tensor | None) -> Tensor:
    """Return a number or tensor with `dtype`, a number on the device of `beside`, if given."""
    if not isinstance(value, _NUMBERS):
        return cast(as_tensor(value), dtype)
    try:  # straight to its dtype: 0.1 must not pass through float32
        number = np.array(value, dtype)
    except OverflowError:
        raise DTypeError(
            f"the number {value} does not fit {dtype}: convert the tensor first, as by .long()"
        ) from None
    if beside is None or type(beside._array) is np.ndarray:
        return Tensor._wrap(number)
    # Filled in there: a copy from the host could not be part of a CUDA graph.
    return Tensor._wrap(array_module(beside._array).full((), number.item(), dtype))


def cast(tensor: Tensor, dtype) -> Tensor:
    """Return `tensor` with `dtype`, itself if it has it; differentiable between floats."""
    from nnmed.ops.elementwise import Cast  # elementwise takes its operands from here

    try:
        dtype = np.dtype(dtype)
    except TypeError:
        raise DTypeError(f"{dtype!r} is no data type: give float32, int64, ...") from None
    if tensor._array.dtype == dtype:
        return tensor
    if dtype.kind not in "biu" and dtype not in (_FLOAT32, np.float64):
        raise DTypeError(f"tensors are float32, float64, integer or bool, not {dtype}")
    if dtype.kind != "f" or tensor._array.dtype.kind != "f":
        return Tensor._wrap(tensor._array.astype(dtype))
    return Cast(dtype)(tensor)


def is_checked(array) -> bool:
    """Tell whether the values of an argument are checked: on a GPU that would wait for the card."""
    return type(array) is np.ndarray


def check_same_dtype(name: str, **tensors: Tensor | None) -> None:
    """Raise an error unless the tensors that are there are floats of one dtype on one device."""
    arrays = {key: t._array for key, t in tensors.items() if t is not None}
    dtypes = {array.dtype for array in arrays.values()}
    if len(dtypes) > 1 or any(dtype.kind != "f" for dtype in dtypes):
        text = ", ".join(f"{key} {array.dtype}" for key, array in arrays.items())
        raise DTypeError(f"{name}: expected floats of one dtype, got {text}")
    if len(set(map(type, arrays.values()))) > 1:
        text = ", ".join(f"{key} on {device_of(array)}" for key, array in arrays.items())
        raise DeviceError(f"{name}: got {text}; move them to one device with .to(device)")


def pair(value, name: str) -> tuple[int, int]:
    """Return an integer or a sequence of two as a pair of ints."""
    return per_axis(value, 2, name)


def per_axis(value, dims: int, name: str) -> tuple[int, ...]:
    """Return an integer, or a sequence of one or `dims`, as `dims` ints, one for each axis."""
    single = isinstance(value, Tensor) or not isinstance(value, Iterable)
    values = (value,) if single else tuple(value)
    if len(values) == 1:
        values *= dims
    if len(values) != dims or not all(isinstance(v, (int, np.integer)) for v in values):
        several = {1: "one integer", 2: "a pair of integers"}.get(dims, f"{dims} integers")
        raise UsageError(f"{name} must be an integer or {several}, got {value!r}")
    return tuple(map(int, values))


def check_positive(function: str, **numbers) -> None:
    """Raise UsageError unless all numbers are integers of at least 1."""
    for name, values in numbers.items():
        if not all(isinstance(v, (int, np.integer)) and v >= 1 for v in values):
            raise UsageError(f"{function}: {name} must be integers of at least 1, got {values}")


def check_numbers(function: str, **numbers) -> None:
    """Raise UsageError unless all are plain numbers: no text, list, array or tensor."""
    for name, number in numbers.items():
        if not isinstance(number, (int, float, np.integer, np.floating)):
            raise UsageError(f"{function}: {name} must be a number, got {number!r}")


def dimension(dim: int, ndim: int) -> int:
    """Return `dim` counted from the front, for a tensor of `ndim` dimensions."""
    if isinstance(dim, bool) or not isinstance(dim, (int, np.integer)):
        raise UsageError(f"dim must be an integer, got {dim!r}")
    if not -max(ndim, 1) <= dim < max(ndim, 1):
        raise ShapeError(f"dim {dim} is out of range for a tensor of {ndim} dimensions")
    return dim % max(ndim, 1)


def dimensions(dim, ndim: int) -> tuple[int, ...]:
    """Return one, several or (None) all dimensions as a tuple counted from the front."""
    if dim is None:
        return tuple(range(ndim))
    dims = list(dim) if isinstance(dim, (tuple, list)) else [dim]
    result = tuple(dimension(d, ndim) for d in dims)
    if len(set(result)) != len(result):
        raise ShapeError(f"dim {dim} names a dimension twice")
    return result if ndim else ()


def plain_number(number):
    """Return a number without NumPy's type, which would widen float32."""
    return number.item() if isinstance(number, np.generic) else number


def broadcast_shapes(*shapes) -> tuple[int, ...]:
    """Return the shape to which all of `shapes` are broadcast."""
    distinct = set(shapes) - {()}
    if len(distinct) < 2:  # NumPy's function takes longer than a small addition
        return distinct.pop() if distinct else ()
    try:
        return np.broadcast_shapes(*distinct)
    except ValueError:
        text = ", ".join(str(tuple(shape)) for shape in shapes)
        raise ShapeError(
            f"shapes {text} cannot be broadcast to one: counted from the last dimension, "
            "lengths must be equal or 1"
        ) from None


def shape_argument(shape: Sequence) -> tuple[int, ...]:
    """Return ``f(2, 3)`` and ``f((2, 3))`` alike as ``(2, 3)``."""
    if len(shape) == 1 and isinstance(shape[0], (tuple, list)):
        shape = shape[0]
    try:
        return tuple([operator.index(length) for length in shape])
    except TypeError:
        raise UsageError(f"lengths and dimensions are integers, got {shape!r}") from None


def sequence(name: str, value) -> list:
    """Return `value` as a list, or raise UsageError, naming the argument."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise UsageError(f"{name} must be a sequence, got {value!r}")
    try:
        return list(value)
    except (TypeError, ShapeError):  # an array or a tensor without dimensions
        raise UsageError(f"{name} must be a sequence, got {value!r}") from None


def reject_inplace(name: str, inplace: bool) -> None:
    """Raise UsageError for ``inplace=True``, which would overwrite what backward needs."""
    if inplace:
        raise UsageError(f"{name}: inplace=True is not supported; use the returned tensor")
