"""Memory of large arrays is kept, bounded, and never shared."""

from __future__ import annotations

import gc
import random
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import nnmed
from nnmed.backend import memory
from nnmed.backend.arrays import empty_like, zeros_channels_last, zeros_like

LARGE = memory.SMALLEST // 4  # float32 numbers


@pytest.fixture(autouse=True)
def nothing_kept():
    nnmed.empty_cache()
    yield
    nnmed.empty_cache()


def address(array):
    return array.__array_interface__["data"][0]


def test_the_next_array_of_the_size_takes_the_memory():
    first = memory.empty((2, LARGE), np.float32)
    place = address(first)
    del first
    assert memory._kept.bytes() == 8 * LARGE
    second = memory.empty((LARGE,), np.float64)
    assert address(second) == place
    assert memory._kept.bytes() == 0


def test_a_view_holds_the_memory():
    array = memory.empty((4, LARGE), np.float32)
    view = array.T[1:, ::2]
    del array
    assert memory._kept.bytes() == 0
    other = memory.empty((4, LARGE), np.float32)
    assert not np.shares_memory(view, other)
    del view
    assert memory._kept.bytes() == 16 * LARGE


def test_small_arrays_are_left_to_the_system():
    array = memory.empty((LARGE - 1,), np.float32)
    del array
    assert memory._kept.bytes() == 0


def test_zeros_are_zero_on_used_memory():
    used = memory.empty((1, 2, LARGE // 2, 2), np.float32)
    used.fill(7)
    like = used.transpose(0, 3, 1, 2)
    assert not zeros_like(like).any()
    del used, like
    assert not zeros_channels_last((1, 2, 2, LARGE // 2), np.float32).any()


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 3, 1, 2), (3, 1, 0, 2)])
def test_the_memory_order_is_numpys(order):
    x = np.empty((4, 8, LARGE // 64, 3), np.float32).transpose(order)
    for dtype in (None, np.float64):
        ours, expected = empty_like(x, dtype), np.empty_like(x, dtype)
        assert (ours.shape, ours.strides, ours.dtype) == (
            expected.shape, expected.strides, expected.dtype,
        )  # fmt: skip


def test_not_more_is_kept_than_the_limit(monkeypatch):
    monkeypatch.setattr(memory._kept, "limit", 10 * LARGE)
    arrays = [memory.empty((LARGE,), np.float32) for _ in range(5)]
    del arrays
    assert memory._kept.bytes() == 8 * LARGE


def test_as_much_is_given_back_as_is_taken_anew():
    arrays = [memory.empty((LARGE + i,), np.float32) for i in range(4)]
    while arrays:
        del arrays[0]
    kept = memory._kept.bytes()
    other = memory.empty((2 * LARGE,), np.float32)
    assert kept - memory._kept.bytes() >= other.nbytes


def test_the_size_longest_unused_goes_first():
    sizes = [LARGE, 2 * LARGE, 3 * LARGE]
    arrays = [memory.empty((size,), np.float32) for size in sizes]
    while arrays:
        del arrays[0]
    again = memory.empty((LARGE,), np.float32)  # now the second size is the oldest
    del again
    new = memory.empty((LARGE + 1,), np.float32)
    assert set(memory._kept._pieces) == {4 * LARGE, 12 * LARGE}
    del new


def test_memory_that_is_missing_is_taken_from_what_is_kept(monkeypatch):
    array = memory.empty((LARGE,), np.float32)
    del array
    empty, tried = np.empty, []

    def scarce(*arguments):
        tried.append(arguments)
        if len(tried) == 1:
            raise MemoryError
        return empty(*arguments)

    monkeypatch.setattr(memory.np, "empty", scarce)
    monkeypatch.setattr(memory._Kept, "_release", lambda *arguments: None)
    array = memory.empty((2 * LARGE,), np.float32)
    assert array.nbytes == 8 * LARGE
    assert memory._kept.bytes() == 0


def test_threads_never_get_the_same_memory():
    """Threads take and return pieces of few sizes, and look whether theirs stays theirs."""
    wrong, interval = [], sys.getswitchinterval()

    def work(number):
        rng = random.Random(number)
        held = []
        for turn in range(300):
            array = memory.empty((LARGE + rng.randrange(2),), np.float32)
            array[::4096] = number * 1000 + turn
            held.append((array, number * 1000 + turn))
            if len(held) > 2:
                array, mark = held.pop(0)
                if (array[::4096] != mark).any():
                    wrong.append(mark)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not wrong


def test_objects_and_text_are_left_to_numpy():
    used = memory.empty((LARGE,), np.float32)
    used.fill(7)
    del used
    assert not zeros_like(np.zeros(LARGE, object)).any()
    assert set(zeros_like(np.zeros(LARGE, "U2")).tolist()) == {""}
    assert memory.empty((LARGE,), object)[0] is None


def test_garbage_may_be_collected_anywhere(monkeypatch):
    """Each collection returns memory of a new size to the very structure that is at work."""

    class Node:
        pass

    monkeypatch.setattr("sys.unraisablehook", lambda error: errors.append(error))
    errors, threshold = [], gc.get_threshold()
    gc.set_threshold(1)
    try:
        for turn in range(2000):
            node = Node()
            node.array, node.self = memory.empty((LARGE + turn % 300,), np.float32), node
            del node
            memory._kept.bytes()
    finally:
        gc.set_threshold(*threshold)
        gc.collect()
    assert not errors


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
def test_a_signal_that_takes_memory_does_not_hang():
    turns = []

    def handler(*arguments):
        turns.append(memory.empty((LARGE,), np.float32).nbytes)

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 1e-4, 1e-4)
    try:
        deadline = time.monotonic() + 60
        while len(turns) < 500 and time.monotonic() < deadline:
            memory.empty((LARGE,), np.float32)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(turns) >= 500


def test_nothing_is_said_at_the_end_of_a_program():
    program = """
import builtins, sys, threading
import numpy
from nnmed.backend import memory
for place in (builtins, numpy, sys, threading):
    place.array = memory.empty((1 << 20,), numpy.float32)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_a_cycle_that_is_collected_gives_its_memory_back():
    class Node:
        pass

    node = Node()
    node.array, node.self = memory.empty((LARGE,), np.float32), node
    del node
    gc.collect()
    assert memory._kept.bytes() == 4 * LARGE


SECOND_STEP = """
import numpy as np, nnmed
from nnmed.backend import memory
nnmed.set_num_threads(1)  # a helper that comes late holds what it was asked to help with
x = nnmed.Tensor(np.ones((4, 32, 64, 64), np.float32), requires_grad=True)
def step():
    nnmed.functional.relu(x * 2).sum().backward()
    x.grad = None
    return {id(piece) for kept in memory._kept._pieces.values() for piece in kept}
step()
before = step()
assert before and step() == before
"""


def test_a_training_step_needs_no_new_memory_the_second_time():
    # In a process of its own: what other tests left behind may come and go at any time.
    subprocess.run([sys.executable, "-c", SECOND_STEP], check=True)
