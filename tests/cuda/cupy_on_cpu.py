"""A stand-in for CuPy whose card is emulator.py: what gpu.py files do can be tested anywhere.

It is as strict as CuPy: arrays do not mix with NumPy's, do not turn into them unasked,
reductions give 0-d arrays, and results lie in C order whatever the operands' order. It knows
those of CuPy's functions, and of their options, that nnmed uses.
"""

from __future__ import annotations

import types

import numpy as np

from tests.cuda import pools, streams
from tests.cuda.emulator import UNTOUCHED, KernelError, compiled

float32, float64, int32, int64, uint8 = np.float32, np.float64, np.int32, np.int64, np.uint8
__version__ = "14.2.0"
bool_, intp, inf, nan, newaxis = np.bool_, np.intp, np.inf, np.nan, None


class ndarray:
    """An array in the card's memory."""

    __slots__ = ("__weakref__", "_array", "_memory")
    __hash__ = None

    def __init__(self, array: np.ndarray, memory):
        self._array, self._memory = array, memory

    # -- what NumPy's functions do with it ---------------------------------------------

    def __array__(self, *_, **__):
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to "
            "construct a NumPy array explicitly."
        )

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        return _call(ufunc, inputs, options) if method == "__call__" else NotImplemented

    def __array_function__(self, function, _, arguments, options):
        if function.__name__ not in FUNCTIONS:
            raise TypeError(f"the stand-in for CuPy has no {function.__name__}")
        return _call(function, arguments, options)

    # -- attributes ----------------------------------------------------------------------

    @property
    def data(self):
        """Where the memory is."""
        return types.SimpleNamespace(ptr=self._array.ctypes.data)

    @property
    def T(self):
        """All axes in reverse order."""
        return ndarray(self._array.T, self._memory)

    @property
    def device(self):
        """The card."""
        return cuda.Device()

    def get(self, order="C", **_):
        """Return a NumPy array of the values, in C order whatever the strides, as CuPy does."""
        return np.array(self._values(), order=order)

    def _values(self):
        """Return the values for the host, which waits for them."""
        streams.get_current_stream().synchronize()
        return self._array

    def set(self, array, stream=None):
        """Queue a copy from the host."""
        if array.shape != self.shape or array.dtype != self.dtype:
            raise ValueError("set() needs an array of the same shape and dtype")
        stream = stream or streams.get_current_stream()
        _refuse_host_memory(stream)
        ours = self._array
        stream.add(lambda: np.copyto(ours, array), self._memory)

    def view(self, dtype=None):
        """Return the memory with another type."""
        return ndarray(self._array.view(dtype or self.dtype), self._memory)

    def reshape(self, *shape, order="C"):
        """Return a view where the strides allow it, else a copy."""
        result = self._array.reshape(*shape, order=order)
        if np.may_share_memory(result, self._array):
            return ndarray(result, self._memory)
        return self._copied(lambda array: array.reshape(*shape, order=order))

    def _copied(self, function):
        """Return what a function of NumPy makes of the values, in memory of its own."""
        array = self._array
        return _computed(lambda: function(array), self)

    def transpose(self, *axes):
        """Return a view with the axes in another order."""
        return ndarray(self._array.transpose(*axes), self._memory)

    def swapaxes(self, a, b):
        """Return a view with two axes exchanged."""
        return ndarray(self._array.swapaxes(a, b), self._memory)

    def squeeze(self, axis=None):
        """Return a view without axes of length 1."""
        return ndarray(self._array.squeeze(axis), self._memory)

    def astype(self, dtype, order="K", copy=True):
        """Return a copy with another type."""
        if not copy and self.dtype == dtype:
            return self
        return self._copied(lambda array: array.astype(dtype, order=order))

    def copy(self, order="C"):
        """Return a copy."""
        return self._copied(lambda array: array.copy(order=order))

    def item(self):
        """Return the only value as a Python number."""
        return self._values().item()

    def tolist(self):
        """Return the values as nested lists."""
        return self._values().tolist()

    def __deepcopy__(self, _):
        return self.copy()

    def fill(self, value):
        """Write a number everywhere."""
        array = self._array
        streams.run(lambda: array.fill(value), self._memory)

    def __len__(self):
        return len(self._array)

    def __bool__(self):
        return bool(self._values())

    def __float__(self):
        return float(self._values())

    def __int__(self):
        return int(self._values())

    def __iter__(self):
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index):
        at = _index(index)
        result = self._array[at]
        if isinstance(result, np.ndarray) and np.may_share_memory(result, self._array):
            return ndarray(result, self._memory)
        _refuse_masks(index)
        array, others = self._array, [i for i in _flat(index) if isinstance(i, ndarray)]
        return _computed(lambda: np.asarray(array[at]), self, *others)

    def __setitem__(self, index, value):
        if isinstance(value, np.ndarray) and value.ndim:
            raise TypeError("a NumPy array cannot be written into the card's memory")
        array, at, new = self._array, _index(index), _numpy(value)
        others = [other._memory for other in _flat((index, value)) if isinstance(other, ndarray)]

        def write():
            array[at] = new

        streams.run(write, self._memory, *others)


def _attribute(name):
    return property(lambda self: getattr(self._array, name))


for _name in ("shape", "dtype", "ndim", "size", "nbytes", "strides", "itemsize", "flags"):
    setattr(ndarray, _name, _attribute(_name))


def _operator(name):
    def method(self, *others):
        return _call(getattr(np.ndarray, name), (self, *others), {})

    return method


_OPERATORS = (
    "add sub mul truediv floordiv mod pow and or xor lshift rshift radd rsub rmul rtruediv "
    "rfloordiv rmod rpow rand ror rxor iadd isub imul itruediv ifloordiv iand ior ixor lt le gt "
    "ge eq ne neg pos abs invert matmul rmatmul"
)
for _name in _OPERATORS.split():
    setattr(ndarray, f"__{_name}__", _operator(f"__{_name}__"))


def _method(name, known):
    def method(self, *arguments, **options):
        if not known.issuperset(options):
            raise TypeError(f"CuPy's {name}() has no {', '.join(options.keys() - known)}")
        return _call(getattr(np.ndarray, name), (self, *arguments), options)

    return method


_OPTIONS = {  # CuPy lacks some of NumPy's, such as initial=
    "sum mean prod": "axis dtype out keepdims",
    "max min all any": "axis out keepdims",
    "argmax argmin": "axis dtype out keepdims",
    "std var": "axis dtype out ddof keepdims",
    "argsort": "axis kind",
    "cumsum": "axis dtype out",
    "clip": "min max out",
    "take": "indices axis out",
    "repeat": "repeats axis",
    "ravel": "order",
    "round": "decimals out",
    "nonzero dot": "",
}
for _names, _known in _OPTIONS.items():
    for _name in _names.split():
        setattr(ndarray, _name, _method(_name, frozenset(_known.split())))


def _numpy(value):
    """Return the NumPy array behind an argument; refuse NumPy's own arrays, as CuPy does."""
    if isinstance(value, ndarray):
        return value._array
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, (list, tuple)):
        return type(value)(_numpy(v) for v in value)
    return value


def _index(index):
    if isinstance(index, tuple):
        return tuple(_index(i) for i in index)
    if isinstance(index, np.ndarray):
        _refuse_host_memory(streams.get_current_stream())
        return index  # CuPy takes them
    return _numpy(index)


def _call(function, arguments, options):
    """Call a function of NumPy with what lies behind `arguments`, and put the result back."""
    name = function.__name__
    if {"initial", "where"} & options.keys() and name != "copyto":
        raise TypeError(f"CuPy's {name}() has no initial= and no where=")
    _check_integers(name, arguments)
    _check_capture(name)
    plain = {name: _numpy(value) for name, value in options.items()}
    values = _numpy(tuple(arguments))
    used = [a for a in _flat((arguments, tuple(options.values()))) if isinstance(a, ndarray)]

    def compute():
        with np.errstate(all="ignore"):  # a card never warns
            return function(*values, **plain)

    if "out" in plain or name in _IN_PLACE or (name[:3] == "__i" and name != "__invert__"):
        streams.run(compute, *[array._memory for array in used])
        out = options.get("out", arguments[0])
        return out[0] if isinstance(out, tuple) else out
    return _result(compute, used, "K" if name.endswith("_like") else "C")


def _check_integers(name, arguments):
    """Refuse ``labels != -100`` of uint8, where only NumPy compares the numbers as they are."""
    kinds = [a.dtype for a in arguments if isinstance(a, ndarray) and a.dtype.kind in "iu"]
    for number in (a for a in arguments if type(a) is int):
        if any(not np.iinfo(kind).min <= number <= np.iinfo(kind).max for kind in kinds):
            raise OverflowError(f"{name}: {number} is no {kinds[0]}")


def _computed(compute, *sources):
    """Return what `compute` makes of the values of arrays, in memory of its own."""
    return _result(compute, sources, "K")


def _result(compute, sources, order):
    """Return what `compute` gives, on the card: now, or whenever the captured graph is run."""
    stream = streams.get_current_stream()
    if not stream.is_capturing():
        stream.synchronize()
    result = _wrapped(compute(), sources, order)
    if stream.is_capturing():
        _leave_to_the_graph(stream, compute, result, sources)
    return result


def _leave_to_the_graph(stream, compute, result, sources):
    """Forget the values of a result, of which only the shape is known before the graph is run."""
    old = [source._memory for source in sources]
    made = [array for array in _flat(result) if isinstance(array, ndarray)]
    made = [array for array in made if array._memory not in old]
    if not made:
        return
    targets = [a._array if a in made else None for a in _flat(result)]

    def run():
        for target, value in zip(targets, _flat(compute())):
            if target is not None:
                np.copyto(target, value)

    for array in made:
        array._memory.bytes.fill(UNTOUCHED)
    stream.add(run, *old, *[array._memory for array in made])


def _wrapped(result, sources, order):
    if result is NotImplemented:
        return result
    if isinstance(result, (tuple, list)):
        return type(result)(_wrapped(r, sources, order) for r in result)
    if isinstance(result, np.generic):
        return _on_card(np.asarray(result))
    if not isinstance(result, np.ndarray):
        return result
    for source in sources:
        if np.may_share_memory(result, source._array):
            return ndarray(result, source._memory)
    return _on_card(np.asarray(result, order=order))


def _flat(value):
    """Return the values in tuples and lists, one after another."""
    if not isinstance(value, (tuple, list)):
        return [value]
    return [one for part in value for one in _flat(part)]


# What CuPy refuses while a stream is captured, and what waits for the card.
_CUBLAS = frozenset(["matmul", "__matmul__", "__rmatmul__", "dot", "tensordot", "einsum"])
_WAITING = frozenset(["nonzero", "unique", "bincount", "sort", "argsort"])
_IN_PLACE = frozenset(["copyto", "putmask", "put_along_axis"])


def _check_capture(name):
    """Raise CuPy's errors for a function that cannot be captured, where one is under way."""
    if not streams.get_current_stream().is_capturing():
        return
    if name in _CUBLAS:
        raise NotImplementedError(
            "calling cuBLAS API during stream capture is currently unsupported"
        )
    if name in _WAITING:
        streams.get_current_stream().synchronize()


def _refuse_host_memory(stream):
    """Refuse a copy from the host that a graph would repeat when that memory has other values."""
    if stream.is_capturing():
        raise RuntimeError("a graph would read memory of the host that may be gone by then")


def _refuse_masks(index):
    """Refuse to choose elements by flags while a stream is captured: their number is not known."""
    if any(isinstance(i, ndarray) and i.dtype == bool for i in _flat(index)):
        _check_capture("nonzero")


def _on_card(array):
    """Return the array's values on the card, in the same memory order."""
    array = np.asarray(array)
    order = sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis]))
    result = empty([array.shape[axis] for axis in order], array.dtype)
    result = result.transpose([order.index(axis) for axis in range(array.ndim)])
    result._array[...] = array
    return result


_NAMES = """
all amax amin any argmax argmin argsort array_equal array_split atleast_1d bincount broadcast_arrays
broadcast_to clip concatenate copyto count_nonzero cumsum diagonal diff dot einsum empty_like
expand_dims flip full_like hstack isfinite isnan linalg logical_and matmul max may_share_memory
mean meshgrid min moveaxis nan_to_num ndim nonzero ones_like pad prod put_along_axis putmask
ravel repeat reshape result_type rint roll searchsorted shape size sort split squeeze stack sum
swapaxes take take_along_axis tensordot tile transpose tril triu unique vstack where zeros_like
"""
FUNCTIONS = frozenset(_NAMES.split())


# -- functions of the module -----------------------------------------------------------------


def empty(shape, dtype=np.float64, order="C"):
    """Return an array full of NaN, or of -1."""
    shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    dtype = np.dtype(dtype)
    memory = pools.allocate(int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)
    array = memory.array(shape if order == "C" else shape[::-1], dtype)
    return ndarray(array if order == "C" else array.T, memory)


def zeros(shape, dtype=np.float64, order="C"):
    """Return an array of zeros."""
    result = empty(shape, dtype, order)
    result.fill(0)
    return result


def ones(shape, dtype=np.float64):
    """Return an array of ones."""
    result = empty(shape, dtype)
    result.fill(1)
    return result


def full(shape, value, dtype=None):
    """Return an array of one number."""
    result = empty(shape, dtype or np.asarray(value).dtype)
    result.fill(value)
    return result


def arange(*arguments, dtype=None):
    """Return a range of numbers."""
    return _computed(lambda: np.arange(*arguments, dtype=dtype))


def linspace(*arguments, dtype=None):
    """Return evenly spaced numbers."""
    return _computed(lambda: np.linspace(*arguments, dtype=dtype))


def eye(*arguments, dtype=np.float64):
    """Return a matrix with ones on its diagonal."""
    return _computed(lambda: np.eye(*arguments, dtype=dtype))


def array(data, dtype=None, order="K", copy=True, subok=False):
    """Return a copy on the card; of a NumPy array in C order, unless it is in Fortran's."""
    if isinstance(data, ndarray):
        return data._copied(lambda array: np.array(array, dtype=dtype, order=order))
    _refuse_host_memory(streams.get_current_stream())
    data = np.array(data, dtype=dtype)
    fortran = data.flags.f_contiguous and not data.flags.c_contiguous and order in "KA"
    return _on_card(np.array(data, order="F" if fortran else "C"))


def asarray(data, dtype=None, order="K"):
    """Return an array on the card, itself if it is there."""
    if isinstance(data, ndarray) and dtype in (None, data.dtype):
        return data
    return array(data, dtype, order)


def ascontiguousarray(data, dtype=None):
    """Return the array in C order, itself if it is."""
    if data.flags.c_contiguous and dtype in (None, data.dtype):
        return data
    return data._copied(lambda array: np.ascontiguousarray(array, dtype))


def asnumpy(data):
    """Return a NumPy array."""
    return data.get() if isinstance(data, ndarray) else np.asarray(data)


def __getattr__(name):  # functions that NumPy has by the same name
    function = getattr(np, name, None)
    if isinstance(function, np.ufunc):
        return _Ufunc(function)
    if callable(function) and name in FUNCTIONS:
        return lambda *arguments, **options: _call(function, arguments, options)
    raise AttributeError(f"the stand-in for CuPy has no {name}")


class _Ufunc:
    _step = 1

    def __init__(self, ufunc):
        self._ufunc = ufunc

    def __call__(self, *arguments, **options):
        return _call(self._ufunc, arguments, options)

    def at(self, array, index, values):
        """Apply the function to `array` at `index`, several times where it repeats.

        A card does so in any order: here forwards and backwards by turns.
        """
        used = [a for a in _flat((array, index, values)) if isinstance(a, ndarray)]
        array, index, values = array._array, _index(index), _numpy(values)
        _Ufunc._step = step = -_Ufunc._step

        def work():
            places = np.arange(array.size).reshape(array.shape)[index]
            added = np.broadcast_to(values, places.shape).ravel()[::step]
            self._ufunc.at(array, np.unravel_index(places.ravel()[::step], array.shape), added)

        streams.run(work, *[a._memory for a in used])


class RawModule:
    """Kernels of a CUDA source, compiled for the CPU."""

    def __init__(self, *, code: str, options: tuple[str, ...] = (), **_):
        self._code, self._options = code, tuple(options)

    def compile(self):
        """Compile now."""
        compiled(self._code, self._options)

    def get_function(self, name: str):
        """Return a kernel: call it with grid, block and arguments."""
        kernel = compiled(self._code, self._options)[name]

        def launch(grid, block, arguments, **_):
            plain = []
            for argument in arguments:
                is_scalar = isinstance(argument, np.generic)
                if isinstance(argument, (np.ndarray, bool, int, float)) and not is_scalar:
                    raise KernelError(
                        f"{name}: pass arrays of the card and NumPy scalars, not {argument!r}"
                    )
                plain.append(_numpy(argument))

            memories = [a._memory for a in arguments if isinstance(a, ndarray)]
            streams.run(lambda: kernel.launch(grid, block, plain), *memories)

        return launch


class _Device:
    id = 0
    compute_capability = "90"
    mem_info = 8 << 30, 16 << 30  # free, and in all

    def __init__(self, *_):
        pass

    def __eq__(self, other):
        return isinstance(other, _Device)

    __hash__ = None

    def synchronize(self):
        """Wait."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


class CUDARuntimeError(RuntimeError):
    """The runtime refuses."""


cuda = types.SimpleNamespace(
    is_available=lambda: True,
    Device=_Device,
    Event=streams.Event,
    Stream=streams.Stream,
    get_current_stream=streams.get_current_stream,
    MemoryPool=pools.MemoryPool,
    using_allocator=pools.using_allocator,
    memory=types.SimpleNamespace(OutOfMemoryError=pools.OutOfMemoryError),
    get_cuda_path=lambda: "/usr/local/cuda",
    runtime=types.SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError,
        driverGetVersion=lambda: 13000,
        getDeviceCount=lambda: 1,
        getDeviceProperties=lambda _: {"name": b"stand-in"},
        runtimeGetVersion=lambda: 12090,
    ),
)


def get_default_memory_pool():
    """Return the pool of the card's memory."""
    return pools.default
