"""Time: interleaved rounds, a warm-up, medians and quartiles."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

# OpenMP's threads, which PyTorch uses, go on spinning for a while after their work: they
# would take a processor from whoever runs next.
PAUSE = 0.05
# A sample shorter than this is made of several calls.
SAMPLE = 1e-3
LEAST_ROUNDS = 3

Clock = Callable[[Callable], float]


class Spread(NamedTuple):
    """Median and quartiles, in seconds."""

    median: float
    lower: float
    upper: float

    @classmethod
    def of(cls, times) -> Spread:
        return cls(*(float(q) for q in np.percentile(times, (50, 25, 75))))


def cpu_clock(threads: int, wall: bool = False) -> Clock:
    """Return a clock for `threads` threads.

    One thread is timed in CPU time of the thread, so that other programs take nothing from
    it; several in wall-clock time, and also one if it is to be compared with several.
    """
    now = time.thread_time if threads == 1 and not wall else time.perf_counter

    def clock(step):
        start = now()
        step()
        return now() - start

    return clock


def gpu_clock() -> Clock:
    """Return a clock made of two events on the GPU, between which the step is queued."""
    import cupy

    def clock(step):
        start, stop = cupy.cuda.Event(), cupy.cuda.Event()
        start.record()
        step()
        stop.record()
        stop.synchronize()
        return cupy.cuda.get_elapsed_time(start, stop) / 1e3

    return clock


def interleaved(
    subjects: Sequence[Sequence[Callable]],
    rounds: int,
    clock: Clock,
    pause: float = 0.0,
    seconds: float = math.inf,
) -> np.ndarray:
    """Time the steps of each subject, one subject after the other, again and again.

    A sample of short steps is the mean of several calls of all of them in turn, so that each
    backward follows its forward.

    Whatever else the machine does hits all subjects alike, so that ratios within a round
    mean something where times do not.

    Parameters
    ----------
    subjects : sequence of sequence of callable
        As many steps each, such as forward and backward.
    rounds : int
    clock : callable (step) -> seconds
    pause : float
        Seconds before each subject.
    seconds : float
        Do fewer rounds, but :data:`LEAST_ROUNDS`, where they would take longer than this.

    Returns
    -------
    (rounds, subjects, steps) seconds
    """
    first = np.array([_warm(steps, clock) for steps in subjects])
    calls = np.maximum(1, SAMPLE // np.maximum(first.sum(axis=1), 1e-9)).astype(int)
    each = float((first.sum(axis=1) * calls).sum())
    rounds = min(rounds, max(LEAST_ROUNDS, int(min(seconds / max(each, 1e-9), rounds))))
    times = np.empty((rounds, *first.shape))
    for row in times:
        for index, steps in enumerate(subjects):
            time.sleep(pause)
            samples = [[clock(step) for step in steps] for _ in range(calls[index])]
            row[index] = np.mean(samples, axis=0)
    return times


def _warm(steps, clock) -> list[float]:
    """Run the steps until caches, buffers and thread pools are warm; return their durations."""
    for _ in range(2):
        seconds = [clock(step) for step in steps]
    return seconds
