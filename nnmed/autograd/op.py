"""Op: one application of a differentiable operation, and a node of the graph.

A graph is made of Ops. Each holds, for every input, an *edge*: the Op that made the input,
or the leaf Tensor itself, or None where no gradient is wanted. Arrays are held only as far
as ``forward`` asked for them with :meth:`Op.keep`.
"""

from __future__ import annotations

import inspect
import itertools
import sys
from pathlib import Path
from time import perf_counter

import numpy as np

from nnmed.autograd import modes
from nnmed.autograd.notation import Notation
from nnmed.autograd.tensor import Tensor
from nnmed.backend import precision
from nnmed.errors import DeviceError, GradientError

_order = itertools.count()
_ROOT = Path(__file__).resolve().parents[1]
# The user's line is the first one outside these rooms: a model's forward counts as the user's.
_INNER = tuple(f"{_ROOT / room}" for room in ("autograd", "ops", "functional.py", "nn", "kernels"))
_is_inner: dict[str, bool] = {}

# Whoever watches ops run: objects with forward(op, inputs, output) and
# backward(op, gradient, gradients), such as the anomaly detector. `op.began` tells them when
# the forward, or backward, that they are told of began.
observers: list = []


class Op:
    r"""Base class of differentiable operations.

    An instance is made with the parameters that are not tensors and called, once, with the
    tensors; it then is the node of the graph::

        class Exp(Op):
            '''y = exp(x),   dx = dy y'''

            forward_latex = r"y = e^x"
            backward_latex = {"x": r"\frac{\partial L}{\partial x} = y \frac{...}{...}"}

            def forward(self, x):          # arrays -> array
                self.keep(output=True)
                return np.exp(x)

            def backward(self, dy):        # Tensor -> a Tensor (or None) for each input
                return dy * self.output

        y = Exp()(x)

    ``backward`` is made of other ops, so that it can be differentiated again. When the
    backward pass itself is not recorded, ``fused_backward`` is used, from arrays to arrays;
    it calls ``backward`` unless a subclass has a faster way to the same gradient.

    Attributes
    ----------
    needs : list of bool
        For each input, whether its gradient is wanted. All False while not recording.
    input_shapes : list of tuple of int
        Shape of each input.
    edges : list of (Op, Tensor or None)
        Where the gradient of each input goes.
    order : int
        Ops are numbered as they run: an op's number is greater than those of its inputs'.
    code, line
        The user's code object that ran the op, and the line in it.
    precision : str
        How the op multiplied, and how its gradient will: see :mod:`nnmed.backend.precision`.
    record : Record or None
        What :class:`nnmed.recording` noted when the op ran.
    """

    forward_latex: str = ""
    backward_latex: dict[str, str] = {}
    # Whether backward is written with operators (and .reshape) alone, which arrays have as
    # well: it then takes, and finds in `inputs` and `output`, arrays while not recorded. Those
    # of NumPy only: the operators of CuPy lose the order of memory, which ops keep.
    arithmetic = False
    is_view = False  # whether the output may share the memory of the first input

    edges: tuple = ()
    released = False
    began = 0.0  # when forward or backward began, by perf_counter(): noted for observers only
    record = None
    checkpoint = None  # where what this op kept can be had again: a call, and a number in it
    _tensors: tuple = ()
    _versions: tuple = ()
    _output = None
    _keeps_output = False
    _kept: dict = {}
    _instruction = 0  # where in `code`: looking up its line takes long, so `line` does it

    # -- what a subclass writes -------------------------------------------------------

    def forward(self, *arrays):
        """Compute the output array from the input arrays."""
        raise TypeError(f"{self.name} defines no forward")

    def backward(self, dy: Tensor):
        """Compute the gradient of each input from `dy`, the gradient of the output."""
        raise GradientError(f"{self.name} cannot be differentiated")

    def fused_backward(self, dy):
        """Compute the gradients from the array `dy` as arrays, not to be differentiated again."""
        gradients = self.backward(Tensor._wrap(dy))
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)
        return tuple([None if g is None else g._array for g in gradients])

    def flops(self, inputs, output) -> int:
        """Return the floating point operations of forward for these shapes."""
        return int(np.prod(output, dtype=np.int64))

    def latex(self) -> tuple[str, dict[str, str]]:
        """Return the formulas of this node, forward and backward.

        Those of the class, or what remains of them with this node's parameters.
        """
        return self.forward_latex, self.backward_latex

    def notation(self) -> Notation:
        """Return what the symbols in the formulas of this node stand for."""
        return Notation()

    # -- what a subclass uses ---------------------------------------------------------

    def keep(self, inputs=(), output: bool = False, **arrays) -> None:
        """Say, inside ``forward``, what backward needs; all else is let go.

        Parameters
        ----------
        inputs : tuple of int
            Positions of inputs; they come back in :attr:`inputs`, tied to the graph.
        output : bool
            Whether the output is needed; it comes back as :attr:`output`. It is not held
            as a Tensor, since a Tensor holds its Op: that would be a reference cycle.
        **arrays
            Further arrays, which come back in :attr:`kept`. Floats among them have no
            history, so only ``fused_backward`` sees them.
        """
        if self._tensors:
            self._versions = [
                (index, self._tensors[index], self._tensors[index]._version.count)
                for index in inputs
            ]
            self._keeps_output = output
            if arrays:
                self._kept = arrays

    @property
    def inputs(self) -> list:
        """The inputs, with None for those that were not kept."""
        inputs = [None] * len(self.needs)
        as_arrays = self.arithmetic and not modes.state.enabled
        for index, tensor, count in self._versions:
            if tensor._version.count != count:
                self._refuse(tensor._version, count, f"input {index}")
            array = tensor._array
            inputs[index] = array if as_arrays and type(array) is np.ndarray else tensor
        return inputs

    @property
    def output(self) -> Tensor:
        """The kept output, tied to this op again."""
        array, version, count = self._output
        if version.count != count:
            self._refuse(version, count, "the output")
        if self.arithmetic and type(array) is np.ndarray and not modes.state.enabled:
            return array
        tensor = Tensor._wrap(array, version)
        tensor._op, tensor._requires_grad = self, True
        return tensor

    @property
    def kept(self) -> dict:
        """The further arrays; without floats while backward is being recorded."""
        if modes.state.enabled:
            return {name: a for name, a in self._kept.items() if a.dtype.kind in "biu"}
        return self._kept

    def kept_arrays(self) -> list:
        """Every array that is kept, of whatever kind."""
        output = [] if self._output is None else [self._output[0]]
        return [tensor._array for _, tensor, _ in self._versions] + output + [*self._kept.values()]

    # -- running ----------------------------------------------------------------------

    def __call__(self, *inputs: Tensor) -> Tensor:
        arrays, needs = [], []
        for tensor in inputs:
            arrays.append(tensor._array)
            needs.append(tensor._requires_grad)
            if type(tensor._array) is not np.ndarray:
                _check_devices(self, inputs)
        recording = True in needs and modes.state.enabled
        self.input_shapes = [array.shape for array in arrays]
        self.needs = needs if recording else [False] * len(needs)
        if recording:
            if self.edges:
                raise GradientError(f"{self.name}: an op is one node of the graph, make one a call")
            self._tensors = inputs  # keep() takes from them while forward runs
        if observers:
            self.began = perf_counter()
        array = self.forward(*arrays)
        if isinstance(array, np.generic):  # NumPy's functions return scalars, not 0-d arrays
            array = np.asarray(array)
        output = Tensor._wrap(array)
        if self.is_view and np.may_share_memory(array, arrays[0]):
            output._version = inputs[0]._version
        if recording:
            self._record(inputs, output)
        if observers:
            for observer in tuple(observers):
                observer.forward(self, inputs, output)
        return output

    def _record(self, inputs, output: Tensor) -> None:
        """Become the node of the graph that made `output`."""
        self._tensors = ()
        self.edges = [(t._op or t) if t._requires_grad else None for t in inputs]
        self.order = next(_order)
        self.precision = precision.state.format
        frame = _user_frame()
        self.code, self._instruction = frame.f_code, frame.f_lasti
        output._op, output._requires_grad = self, True
        if self._keeps_output:
            self._output = output._array, output._version, output._version.count

    def release(self) -> None:
        """Let go of everything kept, and of the graph behind."""
        self.released = True
        self.edges, self._versions = (), ()
        self._output, self._kept, self.checkpoint = None, {}, None

    def take_kept(self) -> tuple:
        """Let go of what is kept, and return it, with arrays and versions instead of tensors."""
        inputs = [(index, tensor._array, tensor._version) for index, tensor, _ in self._versions]
        kept = inputs, self._output, self._kept, self.checkpoint
        self._versions, self._output, self._kept, self.checkpoint = (), None, {}, None
        return kept

    def _refuse(self, version, count, what):
        raise GradientError(
            f"{self.name} at {self.location} needs {what} for its gradient, but the tensor was "
            f"changed in place since ({version.count - count} times): change a copy instead, or "
            "run backward first"
        )

    # -- describing itself ------------------------------------------------------------

    @property
    def name(self) -> str:
        """The op's name, for messages."""
        return type(self).__name__

    @property
    def formula(self) -> str:
        """The first line of the docstring that states an equation, for messages."""
        lines = inspect.cleandoc(self.__doc__ or "").splitlines()
        return next((line.strip() for line in lines if "=" in line), self.forward_latex)

    @property
    def line(self) -> int:
        """The user's line that ran the op."""
        lines = self.code.co_lines()
        return next(line for start, end, line in lines if start <= self._instruction < end)

    @property
    def location(self) -> str:
        """The user's file and line that ran the op."""
        return f"{self.code.co_filename}:{self.line}"


def caller():
    """Return code object and line of the innermost frame outside the engine's rooms."""
    frame = _user_frame()
    return frame.f_code, frame.f_lineno


def _user_frame():
    frame = sys._getframe(2)
    while frame.f_back is not None:
        name = frame.f_code.co_filename
        inner = _is_inner.get(name)
        if inner is None:
            inner = _is_inner[name] = name.startswith(_INNER)
        if not inner:
            break
        frame = frame.f_back
    return frame


def _check_devices(op: Op, inputs) -> None:
    devices = [tensor.device for tensor in inputs]
    if len(set(devices)) > 1:
        raise DeviceError(
            f"{op.name}: inputs live on different devices ({', '.join(devices)}); "
            "move them to one with .to(device)"
        )
