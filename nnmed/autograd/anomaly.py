"""Find the operation that made the first NaN or infinity."""

from __future__ import annotations

from nnmed.autograd import modes
from nnmed.autograd import op as op_module
from nnmed.backend.arrays import array_module
from nnmed.errors import AnomalyError


class detect_anomaly:
    """Context manager: the first NaN or infinity, forward or backward, raises an error.

    The error names the op, its formula, the shapes, and the line of the user's code that
    ran it. Every result is searched, in all threads, so that code runs slower inside.

    Raises
    ------
    AnomalyError
        Where the first value that is not finite appears.

    Examples
    --------
    >>> import nnmed
    >>> with nnmed.detect_anomaly():
    ...     nnmed.Tensor([0.0]).log()
    Traceback (most recent call last):
        ...
    nnmed.errors.AnomalyError: ...
    """

    def __enter__(self):
        op_module.observers.append(self)
        return self

    def __exit__(self, *exception):
        op_module.observers.remove(self)

    def forward(self, op, inputs, output) -> None:
        """Check the output of an op that has just run."""
        if modes.state.backward_of is not None:
            return  # part of a backward, which is checked, and named, as a whole
        problem = _problem(output._array)
        if problem:
            code, line = op_module.caller()
            before = [_problem(tensor._array) for tensor in inputs]
            origin = (
                "its inputs were not finite already" if any(before) else "all its inputs are finite"
            )
            shapes = ", ".join(str(shape) for shape in op.input_shapes)
            raise AnomalyError(
                f"{op.name} gave {problem} at {code.co_filename}:{line}; {origin}\n"
                f"  formula: {op.formula}\n"
                f"  shapes:  {shapes} -> {output.shape}"
            )

    def backward(self, op, dy, gradients) -> None:
        """Check the gradients that an op has just given."""
        for index, (gradient, need) in enumerate(zip(gradients, op.needs)):
            problem = need and gradient is not None and _problem(gradient._array)
            if problem:
                arrived = _problem(dy._array) or "finite"
                raise AnomalyError(
                    f"the gradient of {op.name} by input {index} has {problem}; the op ran at "
                    f"{op.location}, the gradient that came in is {arrived}\n"
                    f"  formula: {op.formula}\n"
                    f"  gradient: {op.latex()[1]}\n"
                    f"  shapes:  dy {dy.shape} -> {gradient.shape}"
                )


def _problem(array) -> str:
    """Describe the first value of `array` that is not finite, or return an empty string."""
    if array.dtype.kind != "f":
        return ""
    xp = array_module(array)
    bad = ~xp.isfinite(array)
    count = int(bad.sum())
    if not count:
        return ""
    index = tuple(int(i[0]) for i in xp.nonzero(bad)) if array.ndim else ()
    return f"{float(array[index])} at {index} ({count} of {array.size} values are not finite)"
