"""When a GPU's memory ends: a training step goes on in halves, all else says what to do."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable

from nnmed.autograd import Tensor
from nnmed.backend import cuda
from nnmed.backend.random import Tape
from nnmed.data.loader import Batch
from nnmed.errors import DeviceError
from nnmed.training.log import log
from nnmed.training.step import HostState, TrainingStep


@contextlib.contextmanager
def explaining_out_of_memory(device: str, doing: str):
    """Context manager: raise DeviceError where the memory of the device "gpu" does not suffice.

    `doing` tells the user what for.
    """
    if device == "cpu":
        yield
        return
    try:
        yield
    except Exception as error:
        if not cuda.is_out_of_memory(error):
            raise
        raise _explained(doing, error) from error


class FittingStep:
    """A step that is done again, in halves, when the GPU's memory does not suffice.

    From then on every batch is computed so. It is called as a :class:`TrainingStep` is.

    Parameters
    ----------
    step : TrainingStep
    wrap : callable (TrainingStep) -> callable (Batch) -> Tensor
        Makes of it what is called, such as :class:`nnmed.training.cuda_graph.CapturedStep`; once
        more for halves.

    Raises
    ------
    DeviceError
        When called, if half a batch is too large as well, or a batch has one sample.
    """

    def __init__(self, step: TrainingStep, wrap: Callable):
        self._step, self._wrap = step, wrap
        self._run = wrap(step)

    def __call__(self, batch: Batch) -> Tensor:
        before, tape = HostState(self._step), Tape()
        try:
            with tape:
                return self._run(batch)
        except Exception as error:
            if not cuda.is_out_of_memory(error):
                raise
            self._check_halving(batch, error)
        # Only now, behind the handler, has the error let go of the arrays of the step.
        before.restore()
        self._halve()
        log(
            f"out of memory on the GPU with a batch of {len(batch.samples)}: each is computed in "
            "two halves from now on; only the statistics of batch norm change by that"
        )
        with tape:  # which begins with the random numbers of this attempt
            return self(batch)

    def _check_halving(self, batch: Batch, error) -> None:
        """Raise DeviceError where halves would be no help."""
        count = len(batch.samples)
        if count == 1 or self._step.in_halves:
            how = "computed in two halves" if self._step.in_halves else "which cannot be halved"
            raise _explained(f"with a batch of {count}, {how}", error) from error

    def _halve(self) -> None:
        """Give all memory back that the whole batch took."""
        self._step.in_halves = True
        self._step.zero_grad()
        self._run = self._wrap(self._step)
        gc.collect()
        cuda.cupy().get_default_memory_pool().free_all_blocks()


def _explained(doing: str, error) -> DeviceError:
    return DeviceError(
        f"out of memory on the GPU {doing} ({error}): lower --batch-size or --size, or take a "
        "smaller model"
    )
