"""Memory of large arrays is kept, bounded, and never shared."""

from __future__ import annotations

import gc
import threading

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
    assert memory.kept_bytes() == 8 * LARGE
    second = memory.empty((LARGE,), np.float64)
    assert address(second) == place
    assert memory.kept_bytes() == 0


def test_a_view_holds_the_memory():
    array = memory.empty((4, LARGE), np.float32)
    view = array.T[1:, ::2]
    del array
    assert memory.kept_bytes() == 0
    other = memory.empty((4, LARGE), np.float32)
    assert not np.shares_memory(view, other)
    del view
    assert memory.kept_bytes() == 16 * LARGE


def test_small_arrays_are_left_to_the_system():
    array = memory.empty((LARGE - 1,), np.float32)
    del array
    assert memory.kept_bytes() == 0


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
    monkeypatch.setattr(memory, "LIMIT", 10 * LARGE)
    arrays = [memory.empty((LARGE,), np.float32) for _ in range(5)]
    del arrays
    assert memory.kept_bytes() == 8 * LARGE


def test_what_is_taken_anew_is_given_back_first():
    """So memory does not grow beyond the fullest moment of a program."""
    arrays = [memory.empty((LARGE + i,), np.float32) for i in range(4)]
    while arrays:
        del arrays[0]
    kept = memory.kept_bytes()
    other = memory.empty((2 * LARGE,), np.float32)
    assert kept - memory.kept_bytes() >= other.nbytes


def test_threads_never_get_the_same_memory():
    wrong = []

    def work(number):
        for _ in range(200):
            array = memory.empty((LARGE,), np.float32)
            array[::1024] = number
            if (array[::1024] != number).any():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_cycle_that_is_collected_gives_its_memory_back():
    class Node:
        pass

    node = Node()
    node.array, node.self = memory.empty((LARGE,), np.float32), node
    del node
    gc.collect()
    assert memory.kept_bytes() == 4 * LARGE


def test_a_training_step_needs_no_new_memory_the_second_time():
    x = nnmed.Tensor(np.ones((4, 32, 64, 64), np.float32), requires_grad=True)

    def step():
        nnmed.functional.relu(x * 2).sum().backward()
        x.grad = None

    step()
    step()
    before = {id(piece) for piece in memory._kept._pieces}
    step()
    assert {id(piece) for piece in memory._kept._pieces} == before
    assert before
