"""What is known of one step of backward, as plain data."""

from __future__ import annotations

import linecache
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from nnmed.autograd import Op, Tensor
from nnmed.backend.arrays import device_of, to_device


@dataclass(frozen=True)
class Statistics:
    """An array in five numbers.

    Attributes
    ----------
    norm : float
        Root of the sum of squares.
    min, max, mean : float
        NaN for an empty array.
    zeros : float
        Share of the elements that are exactly 0.
    """

    norm: float
    min: float
    max: float
    mean: float
    zeros: float

    @classmethod
    def of(cls, array: np.ndarray) -> Statistics:
        """Return the statistics of an array, summed in float64."""
        if not array.size:
            return cls(0.0, np.nan, np.nan, np.nan, np.nan)
        with np.errstate(all="ignore"):  # a gradient may be infinite
            return cls(
                float(np.sqrt(np.square(array, dtype=np.float64).sum())),
                float(array.min()),
                float(array.max()),
                float(array.mean(dtype=np.float64)),
                float(np.mean(array == 0)),
            )


class Gradient:
    """An array that flowed backward; a base of what has one.

    Attributes
    ----------
    gradient : array or None
        In NumPy; None where no gradient went.
    statistics : Statistics or None
        Of the gradient.
    """

    name: str
    shape: tuple[int, ...]
    _gradient = None  # as it flowed, on whatever device

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.shape}>"

    @cached_property
    def gradient(self) -> np.ndarray | None:
        """The gradient as a NumPy array, not copied on the CPU: do not write into it."""
        return _numpy(self._gradient)

    @cached_property
    def statistics(self) -> Statistics | None:
        """Norm, extrema, mean and share of zeros of the gradient."""
        return None if self.gradient is None else Statistics.of(self.gradient)


@dataclass(eq=False)
class Saved:
    """An array that an op held for its gradient.

    Attributes
    ----------
    what : str
        ``"input x"``, ``"output"`` or the name that the op gave it.
    shape, dtype, nbytes
        Of the array.
    since : int or None
        The step whose forward made it; None for a leaf or a constant.
    until : int
        The last step of backward for which this memory was held, by whatever op.
    seconds : float or None
        Time from the end of the op's forward to its backward; under ``nnmed.recording()``.
    """

    what: str
    shape: tuple[int, ...]
    dtype: np.dtype
    nbytes: int
    since: int | None
    until: int
    seconds: float | None = None


@dataclass(eq=False, repr=False)
class Leaf(Gradient):
    """A tensor with ``requires_grad`` at which backward ends.

    Attributes
    ----------
    name : str
        The parameter's name in the model, or that of the caller's variable, else ``leaf 0``.
    tensor : Tensor
    contributions : list of (int, int)
        The steps that brought gradients here, and for which of their inputs; they are added up.
    check : Check or None
        What ``Derivation.verify()`` found wrong with the sum.
    """

    name: str
    tensor: Tensor
    contributions: list[tuple[int, int]]
    _gradient: object
    check: object = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape, and that of its gradient."""
        return self.tensor.shape


@dataclass(eq=False, repr=False)
class Input(Gradient):
    """One input of a step's op, and the gradient that the step gave for it.

    Attributes
    ----------
    name : str
        As the op's forward calls it.
    shape : tuple of int
    dtype : dtype or None
        None for a constant that the op did not keep.
    formula : str
        LaTeX of its gradient; empty where it has none.
    source : int or None
        The step whose op made it, to which the gradient goes.
    leaf : Leaf or None
        The leaf that it is. Neither source nor leaf: a constant.
    symbols, numbers : str
        The right side of the formula as text, with the tensors' names for its symbols, and with
        their numbers; these are empty for large arrays.
    index : str
        What follows the name of the gradient on the left side: ``_{nci}``, or nothing.
    is_wanted : bool
        Whether its gradient is needed: the graph goes on from here, or it is a leaf.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype | None
    formula: str
    source: int | None
    leaf: Leaf | None
    symbols: str = ""
    numbers: str = ""
    index: str = ""
    is_wanted: bool = False
    _gradient: object = None


@dataclass(eq=False, repr=False)
class Step(Gradient):
    """One op's turn in backward: from the gradient of its output to those of its inputs.

    Attributes
    ----------
    index : int
        Place in the order of backward, from 0.
    op : Op
        A copy of the graph's node as it was then.
    name : str
        Of the output: the caller's variable, ``L`` for the loss, else ``y`` and the index.
    layer : str
        Name of the module, if it is known.
    inputs : list of Input
    shape, dtype
        Of the output, and so of the incoming ``gradient``.
    contributions : list of (int, int)
        The steps from which the incoming gradient came, and for which of their inputs; they
        were added up. Empty for the loss, whose gradient by itself is 1.
    saved : list of Saved
    flops : int
        Floating point operations of forward.
    nbytes : int
        Bytes that forward reads and writes at least: inputs and output.
    forward_seconds : float or None
        Under ``nnmed.recording()``.
    backward_seconds : float
    numbers : str
        The formulas with the numbers put in; empty for large arrays.
    false_formulas : list of str
        Of small arrays: which formulas do not give what the code gives.
    unread_formulas : list of str
        The same: which formulas cannot be computed, and why.
    check : Check or None
        The verdict of ``Derivation.verify()``.
    """

    index: int
    op: Op
    name: str
    layer: str
    inputs: list[Input]
    shape: tuple[int, ...]
    dtype: np.dtype
    contributions: list[tuple[int, int]]
    saved: list[Saved]
    flops: int
    nbytes: int
    forward_seconds: float | None
    backward_seconds: float
    numbers: str = ""
    false_formulas: list[str] = field(default_factory=list)
    unread_formulas: list[str] = field(default_factory=list)
    check: object = None
    _gradient: object = None
    _values: object = None

    def __repr__(self) -> str:
        return f"<Step {self.index}: {self.op_name} {self.shape}>"

    @property
    def op_name(self) -> str:
        """The op's name."""
        return self.op.name

    @property
    def device(self) -> str:
        """Where it ran: ``"cpu"`` or ``"gpu"``."""
        return device_of(self._gradient)

    @property
    def file(self) -> str:
        """The user's file that ran the op."""
        return self.op.code.co_filename

    @cached_property
    def line(self) -> int:
        """The line in it."""
        return self.op.line

    @property
    def source(self) -> str:
        """The text of that line; empty where there is no file."""
        return linecache.getline(self.file, self.line).strip()

    @property
    def forward_latex(self) -> str:
        """The op's formula."""
        return self.op.latex()[0]

    @property
    def formulas(self) -> list[str]:
        """The op's formula, then those of its gradients."""
        formulas = [self.forward_latex, *[item.formula for item in self.inputs]]
        return [formula for formula in formulas if formula]

    @property
    def output_value(self):
        """What forward gave, as a NumPy array; computed again if nobody kept it, None if unknown.

        Raises GradientError if a tensor of the graph was changed in place since.
        """
        return _numpy(self._values.output(self.index))

    @property
    def input_values(self) -> list:
        """The inputs of forward, in the same way."""
        return [_numpy(array) for array in self._values.inputs(self.index)]

    @property
    def notes(self) -> list[str]:
        """What is easily overlooked: wrong formulas, paths that were added up, broadcasting."""
        notes = [*self.false_formulas, *self.unread_formulas]
        if len(self.contributions) > 1:
            steps = ", ".join(str(step) for step, _ in self.contributions)
            notes.append(f"{len(self.contributions)} paths were added up, from steps {steps}")
        if self.op.name == "BroadcastTo":
            notes.append(_broadcasting(self.inputs[0].shape, self.shape))
        return notes


def _numpy(array):
    return None if array is None else to_device(array, "cpu")


def _broadcasting(small: tuple, large: tuple) -> str:
    """Say what was repeated, and over which dimensions the gradient is summed."""
    extra = len(large) - len(small)
    dims = [
        dim for dim, n in enumerate(large) if dim < extra or (small[dim - extra] == 1 and n != 1)
    ]
    plural = "dims" if len(dims) > 1 else "dim"
    where = f"summed over {plural} {', '.join(map(str, dims))}" if dims else "passed on"
    return f"broadcast {small} to {large}; the gradient is {where}"
