"""Two parts of a backward pass at the same time."""

from __future__ import annotations

from nnmed.autograd import modes
from nnmed.autograd.op import observers
from nnmed.backend import precision
from nnmed.backend.threads import parallel_for


def side_by_side(*calls) -> tuple:
    """Return what the calls return; what is not recorded runs on threads of its own.

    Each kernel shares its work with the threads, but begins and ends a section for that, often
    several, and its threads take turns to hold Python's lock. Two kernels that run side by
    side meet but once.
    """
    if modes.is_grad_enabled() or observers:
        return tuple([call() for call in calls])
    results, format = [None] * len(calls), precision.state.format

    def task(index):
        with modes.no_grad(), precision.multiplying_in(format):
            results[index] = calls[index]()

    parallel_for(task, len(calls))
    return tuple(results)
