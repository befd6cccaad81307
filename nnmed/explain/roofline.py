"""The roofline of a training step: what each op does beside what the machine can do.

Williams, Waterman and Patterson, "Roofline: an insightful visual performance model for multicore
architectures", Communications of the ACM 52 (2009).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import NamedTuple

import numpy as np

from nnmed.autograd import Tensor, grad
from nnmed.autograd.op import observers
from nnmed.backend.arrays import array_module, to_device
from nnmed.backend.threads import get_num_threads, parallel_for
from nnmed.errors import UsageError
from nnmed.explain.names import place_of
from nnmed.explain.walk import kept_by, leaves_of, ops_behind

_SIZE, _COPIED = 2048, 1 << 25  # rows of the matrices; elements copied


class Ceilings(NamedTuple):
    """Floating point operations a second of a matrix product, bytes a second of a copy."""

    flops: float
    bytes: float


@dataclass(frozen=True)
class Point:
    """A pass of an op.

    Attributes
    ----------
    op, place : str
        Its name, and the user's line.
    direction : {"forward", "backward"}
    flops : int
        Floating point operations. Those of backward are estimated as those of forward for each
        gradient that is wanted, which is exact for convolutions and matrix products.
    nbytes : int
        Bytes that have to be moved at least. Forward reads inputs and writes the output and what
        else it saves; backward reads what was saved and a gradient, and writes gradients.
    seconds : float
    """

    op: str
    place: str
    direction: str
    flops: int
    nbytes: int
    seconds: float

    @property
    def intensity(self) -> float:
        """Operations a byte."""
        return self.flops / self.nbytes

    @property
    def achieved(self) -> float:
        """Operations a second."""
        return self.flops / self.seconds

    def share(self, ceilings: Ceilings) -> float:
        """Return what part of the nearer ceiling was reached."""
        return self.achieved / min(ceilings.flops, self.intensity * ceilings.bytes)


@dataclass(frozen=True)
class Roofline:
    """The passes of a step under the ceilings of the device on which it ran.

    Attributes
    ----------
    points : tuple of Point
        In the order in which they ran.
    ceilings : Ceilings
    device : {"cpu", "gpu"}
    """

    points: tuple[Point, ...]
    ceilings: Ceilings
    device: str

    def plot(self, path, *beside: Roofline):
        """Draw it, and `beside` it others, such as that of another device; return the path.

        Raises
        ------
        DataError
            If the file cannot be written.
        """
        from nnmed.explain.figures import rooflines  # figures bring matplotlib

        return rooflines((self, *beside), path)

    def __str__(self) -> str:
        gflops, gbytes = self.ceilings.flops / 1e9, self.ceilings.bytes / 1e9
        lines = [
            f"{self.device}: at most {gflops:.4g} GFLOP/s and {gbytes:.4g} GB/s",
            f"{'ms':>9} {'FLOP/byte':>10} {'GFLOP/s':>9} {'of roof':>8}  pass",
        ]
        lines += [
            f"{point.seconds * 1e3:9.3f} {point.intensity:10.2f} {point.achieved / 1e9:9.2f} "
            f"{point.share(self.ceilings):8.1%}  {point.op} {point.direction}, {point.place}"
            for point in sorted(self.points, key=lambda point: -point.seconds)
        ]
        return "\n".join(lines)


def roofline(step: Callable[[], Tensor], ceilings: Ceilings | None = None) -> Roofline:
    """Time every op of a training step, forward and backward.

    Parameters
    ----------
    step : callable
        Computes the loss, a scalar. It is called twice, the first time to warm up. Gradients
        are computed, and every ``grad`` is left as it is.
    ceilings : Ceilings, optional
        Those of the device; measured in this run by default.

    Notes
    -----
    Ops that compute nothing, such as reshape, have no place in a roofline and are left out. Small
    arrays stay in the caches, so an op can pass the ceiling of copying. On a GPU what runs between
    ops, such as the sum where gradients of several paths meet, counts for the op after it.

    Raises
    ------
    UsageError
        If `step` returns no Tensor.
    GradientError
        If its loss has no gradient.
    """
    for _ in range(2):
        with _Watch() as watch:
            loss = step()
            if not isinstance(loss, Tensor):
                raise UsageError(f"roofline: step must return the loss, got {type(loss).__name__}")
            grad(loss, leaves_of(ops_behind(loss)))
    if ceilings is None:
        ceilings = measure_ceilings(loss.device)
    return Roofline(tuple(watch.points), ceilings, loss.device)


def measure_ceilings(device: str = "cpu") -> Ceilings:
    """Measure a float32 matrix product and a copy: the fastest of several, with all threads.

    Parameters
    ----------
    device : {"cpu", "gpu"}
    """
    a, source = (to_device(np.ones(n, np.float32), device) for n in ((_SIZE, _SIZE), _COPIED))
    xp, count = array_module(a), get_num_threads() if device == "cpu" else 1
    rows, products, sources, targets = (
        xp.array_split(array, count) for array in (a, xp.empty_like(a), source, source.copy())
    )
    multiplied = _fastest(lambda i: xp.matmul(rows[i], a, out=products[i]), count, a)
    copied = _fastest(lambda i: xp.copyto(targets[i], sources[i]), count, a)
    return Ceilings(2 * _SIZE**3 / multiplied, 2 * source.nbytes / copied)


def _fastest(task, count, array) -> float:
    times = []
    for _ in range(5):
        _finish(array)
        start = perf_counter()
        parallel_for(task, count)
        _finish(array)
        times.append(perf_counter() - start)
    return min(times)


def _finish(array) -> None:
    """Wait until the device of `array` has done what it was given."""
    xp = array_module(array)
    if xp is not np:
        xp.cuda.get_current_stream().synchronize()


class _Watch:
    """Observes the ops of this thread, and waits for the GPU after each."""

    def __init__(self):
        self.points: list[Point] = []

    def __enter__(self):
        self._thread = threading.get_ident()
        observers.append(self)
        return self

    def __exit__(self, *exception):
        observers.remove(self)

    def forward(self, op, inputs, output) -> None:
        """Note a recorded op that has just run; those inside of backward are part of it."""
        if output._op is op:
            moved = sum(tensor._array.nbytes for tensor in (*inputs, output))
            moved += sum(array.nbytes for array in op._kept.values())
            self.note(op, "forward", op.flops(op.input_shapes, output.shape), moved, output)

    def backward(self, op, dy, gradients) -> None:
        """Note an op's turn in backward."""
        given = [gradient for gradient in gradients if gradient is not None]
        moved = sum(tensor._array.nbytes for tensor in (dy, *given))
        moved += sum(kept.array.nbytes for kept in kept_by(op))
        # As much for each factor of a product; next to nothing for a bias beside them.
        most = max(len(shape) for shape in op.input_shapes)
        factors = [gradient for gradient in given if gradient.ndim > 1 or gradient.ndim == most]
        flops = op.flops(op.input_shapes, dy.shape) * len(factors)
        self.note(op, "backward", flops, moved, dy)

    def note(self, op, direction, flops, moved, tensor) -> None:
        _finish(tensor._array)
        seconds = perf_counter() - op.began
        if flops and self._thread == threading.get_ident():
            self.points.append(Point(op.name, place_of(op), direction, flops, moved, seconds))
