"""Tensor: an array that remembers the operation that made it."""

from __future__ import annotations

import numpy as np

from nnmed.autograd import modes
from nnmed.backend import determinism
from nnmed.backend.arrays import array_module, device_of, is_array, to_device
from nnmed.errors import (
    DeviceError,
    DTypeError,
    GradientError,
    OutOfRangeError,
    ShapeError,
    UsageError,
)

FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


class Version:
    """Counts the changes made to a piece of memory; all views of it share one."""

    count = 0  # on the class: most tensors are never changed, and one is made for each op


class Tensor:
    """An array with a gradient.

    Parameters
    ----------
    data : array, Tensor, number or nested list
        Copied; use :func:`nnmed.from_numpy` to share memory. Python and NumPy numbers and
        lists become float32 or int64 (bool stays bool); arrays keep their dtype.
    requires_grad : bool
        Whether backward computes ``grad`` for this tensor. Only for float32 and float64.

    Attributes
    ----------
    grad : Tensor or None
        Sum of the gradients that backward has brought so far.

    Notes
    -----
    Every change made through nnmed (``t.data = a``, ``t[...] = a``, an optimizer's step,
    loading weights) is counted, so that backward can refuse to compute with changed
    numbers. A write into the array behind ``from_numpy``, or into a raw CuPy array, cannot
    be seen.
    """

    __slots__ = ("__weakref__", "_array", "_op", "_requires_grad", "_version", "grad")
    # ``ndarray * Tensor`` must become Tensor.__rmul__, not an array of Tensors.
    __array_ufunc__ = None

    def __init__(self, data, requires_grad: bool = False):
        self._array = _to_array(data)
        self._op = None
        self._version = Version()
        self._requires_grad = False
        self.grad = None
        if requires_grad:
            self.requires_grad = True

    @classmethod
    def _wrap(cls, array, version: Version | None = None) -> Tensor:
        """Return a tensor on `array` itself, without a copy or a check."""
        tensor = cls.__new__(cls)
        tensor._array = array
        tensor._op = None
        tensor._version = Version() if version is None else version
        tensor._requires_grad = False
        tensor.grad = None
        return tensor

    # -- the array and its properties ------------------------------------------------

    @property
    def data(self):
        """The array; on the CPU a read-only view. Assigning copies into the tensor's memory."""
        return _read_only(self._array)

    @data.setter
    def data(self, value):
        shape = value.shape if isinstance(value, Tensor) else np.shape(value)
        if shape not in ((), self.shape):
            raise ShapeError(f"data has shape {self.shape}, cannot assign {shape}")
        self._assign(..., value)

    def numpy(self) -> np.ndarray:
        """Return the array as a read-only NumPy view (a copy from the GPU)."""
        return _read_only(to_device(self._array, "cpu"))

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each dimension."""
        return self._array.shape

    @property
    def dtype(self) -> np.dtype:
        """Data type of the array."""
        return self._array.dtype

    @property
    def device(self) -> str:
        """Where the array lives: ``"cpu"`` or ``"gpu"``."""
        return device_of(self._array)

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return self._array.ndim

    @property
    def requires_grad(self) -> bool:
        """Whether backward reaches this tensor."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool):
        if self._op is not None and not value:
            raise GradientError(
                "requires_grad can be changed on leaf tensors only: this one was computed by "
                f"{self._op.name}; use .detach() to cut it off"
            )
        if value and self._array.dtype not in FLOATS:
            raise GradientError(
                f"only float32 and float64 tensors have gradients, this one is {self.dtype}"
            )
        self._requires_grad = bool(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set ``requires_grad`` and return the tensor."""
        self.requires_grad = requires_grad
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether the tensor was made by the user and not by a recorded operation."""
        return self._op is None

    def dim(self) -> int:
        """Return the number of dimensions."""
        return self._array.ndim

    def size(self, dim: int | None = None):
        """Return the shape, or the length of one dimension."""
        if dim is None:
            return self.shape
        if not isinstance(dim, (int, np.integer)):
            raise UsageError(f"size: dim must be an integer, got {dim!r}")
        if not -self.ndim <= dim < self.ndim:
            raise OutOfRangeError(f"size: dim {dim} is out of range for shape {self.shape}")
        return self.shape[dim]

    def numel(self) -> int:
        """Return the number of elements."""
        return self._array.size

    def item(self):
        """Return the only element as a Python number."""
        if self._array.size != 1:
            raise ShapeError(f"item() needs a tensor of one element, this one has {self.shape}")
        return self._array.item()

    def tolist(self):
        """Return the elements as nested lists of Python numbers."""
        return self._array.tolist()

    # -- the graph -------------------------------------------------------------------

    def detach(self) -> Tensor:
        """Return a tensor on the same memory that is cut off from the graph."""
        return Tensor._wrap(self._array, self._version)

    def backward(self, gradient=None, retain_graph=None, create_graph: bool = False) -> None:
        """Add the gradient of this tensor to the ``grad`` of every leaf it depends on.

        Parameters
        ----------
        gradient : Tensor, optional
            Gradient of some scalar by this tensor, of its shape; 1 for a scalar.
        retain_graph : bool, optional
            Keep the graph for another backward. Default: the value of `create_graph`.
        create_graph : bool
            Record the backward pass too, so that gradients can be differentiated.

        Raises
        ------
        GradientError
            If the tensor does not require a gradient, is not a scalar and no `gradient`
            is given, the graph is already released, or a kept array was changed since.
        """
        from nnmed.autograd.engine import backward  # the engine is built on Tensor

        backward(self, gradient, retain_graph, create_graph)

    # -- changes in place ------------------------------------------------------------

    def __setitem__(self, index, value):
        if modes.state.enabled and (
            self._requires_grad or (isinstance(value, Tensor) and value._requires_grad)
        ):
            raise GradientError(
                "t[...] = value cannot be differentiated: use where() or concatenate(), or "
                "write inside nnmed.no_grad() if no gradient is wanted"
            )
        if isinstance(index, tuple):
            self._assign(tuple(self._plain(part) for part in index), value)
        else:
            self._assign(self._plain(index), value)

    def _plain(self, index):
        """Return one part of an index, a tensor as an array on this tensor's device."""
        return to_device(index._array, self.device) if isinstance(index, Tensor) else index

    def _assign(self, index, value):
        """Write `value` (array, Tensor or number) into the memory and count the change."""
        allowed = [watcher.may_change(self._version) for watcher in modes.state.watchers]
        if not all(allowed):
            return  # a checkpoint is recomputing: this was written the first time
        if isinstance(value, Tensor):
            value = value._array
        array = self._writable()
        if is_array(value) and device_of(value) != self.device:
            raise DeviceError(
                f"t[...] = value: the tensor is on {self.device}, the value on "
                f"{device_of(value)}: move it with .to(device)"
            )
        if self.device == "gpu" and determinism.is_required() and determinism.may_repeat(index):
            raise DeviceError(
                "t[index] = value on a GPU: where the index repeats a place, any of the values may "
                "stay, and nnmed.deterministic(True) forbids that: index with slices or a mask"
            )
        try:
            if isinstance(value, (list, tuple)):
                value = to_device(np.asarray(value, self.dtype), self.device)
            array[index] = value
        except IndexError as error:
            raise OutOfRangeError(
                f"t[{index}] = value: the tensor has shape {self.shape}: {error}"
            ) from None
        except TypeError:
            raise UsageError(
                f"t[{index}] = value: {self.dtype} tensors take numbers, got {value!r}"
            ) from None
        except ValueError as error:
            raise ShapeError(
                f"t[{index}] = value: a value of shape {np.shape(value)} does not fit there, the "
                f"tensor has shape {self.shape}: {error}"
            ) from None
        self._version.count += 1

    def _writable(self):
        """Return the raw array for a change in place; the caller raises the version."""
        if not _is_writable(self._array):
            raise GradientError(
                "this tensor shares memory that is read-only (from_numpy, or a broadcast view): "
                "copy it first with Tensor(t)"
            )
        return self._array

    # -- Python protocols ------------------------------------------------------------

    def __len__(self) -> int:
        if not self.shape:
            raise ShapeError("a 0-d tensor has no length")
        return self.shape[0]

    def __iter__(self):
        return (self[index] for index in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self._array.dtype.kind not in "iu":
            raise DTypeError(f"only integer tensors can be used as an index, this is {self.dtype}")
        return int(self.item())

    def __array__(self, dtype=None, copy=None):
        array = self.numpy()
        if dtype is not None and array.dtype != dtype:
            return array.astype(dtype)
        return array.copy() if copy else array

    def __format__(self, spec: str) -> str:
        return format(self.item() if spec and self.numel() == 1 else str(self), spec)

    def __repr__(self) -> str:
        text = np.array2string(to_device(self._array, "cpu"), separator=", ", prefix="Tensor(")
        extras = [] if self.dtype == np.float32 else [f"dtype={self.dtype}"]
        if self.device != "cpu":
            extras.append(f"device={self.device!r}")
        if self._op is not None:
            extras.append(f"op={self._op.name}")
        elif self._requires_grad:
            extras.append("requires_grad=True")
        return f"Tensor({', '.join([text, *extras])})"

    # Tensors compare element by element (ops/ attaches ==), but are keys by identity.
    __hash__ = object.__hash__


def from_numpy(array: np.ndarray) -> Tensor:
    """Return a tensor that shares the memory of `array`.

    A change of one is a change of the other. nnmed counts the changes made through the
    tensor; it cannot see those made through `array`.
    """
    if not isinstance(array, np.ndarray):
        raise DTypeError(f"from_numpy takes a NumPy array, got {type(array).__name__}")
    array = np.asarray(array)  # a subclass, such as a matrix, has another idea of *
    _check_dtype(array)
    return Tensor._wrap(array)


def array_like(value):
    """Return the array of a tensor or of what is like an array, on whatever device it is."""
    if isinstance(value, Tensor):
        return value._array
    return value if is_array(value) else np.asarray(value)


def _to_array(data):
    """Return a fresh array with the dtype rules of :class:`Tensor`."""
    if isinstance(data, Tensor):
        return data._array.copy(order="K")
    if isinstance(data, (list, tuple)) and any(isinstance(item, Tensor) for item in data):
        data = [item.tolist() if isinstance(item, Tensor) else item for item in data]
    if hasattr(data, "dtype") and not isinstance(data, np.generic):
        array = array_module(data).array(data, order="K", subok=False)
    else:  # numbers and lists: float32 or int64, whatever NumPy would choose
        try:
            array = np.array(data)
        except ValueError as error:
            raise ShapeError(f"the nested lists have different lengths: {error}") from None
        if array.dtype.kind == "f":
            array = array.astype(np.float32)
        elif array.dtype.kind in "iu":
            if array.dtype == np.uint64 and (array > np.iinfo(np.int64).max).any():
                raise DTypeError(f"the integer {array.max()} does not fit int64")
            array = array.astype(np.int64)
    _check_dtype(array)
    return array


def _check_dtype(array):
    if array.dtype.kind not in "biu" and array.dtype not in FLOATS:
        remedy = ": convert it to float32 first" if array.dtype.kind in "fc" else ""
        raise DTypeError(
            f"tensors are float32, float64, integer or bool, got {array.dtype}{remedy}"
        )


def _is_writable(array) -> bool:
    if isinstance(array, np.ndarray):
        return array.flags.writeable
    # CuPy has no such flag: a broadcast view shows itself by its strides.
    return all(stride or length < 2 for length, stride in zip(array.shape, array.strides))


def _read_only(array):
    if not isinstance(array, np.ndarray):
        return array  # CuPy has no read-only arrays
    view = array.view()
    view.flags.writeable = False
    return view
