"""Threads of a section keep to different processors, and get theirs back."""

from __future__ import annotations

import os
import threading

import pytest

from nnmed.backend import affinity, threads

pytestmark = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="needs Linux and two processors",
)


@pytest.fixture(autouse=True)
def two_threads():
    count, processors = threads.get_num_threads(), os.sched_getaffinity(0)
    threads.set_num_threads(2)
    yield processors
    os.sched_setaffinity(0, processors)
    threads.set_num_threads(count)


def on_all_threads(work, count=2):
    """Call ``work(is_caller)`` once on each thread, at the same time."""
    together, main = threading.Barrier(count, timeout=10), threading.current_thread()

    def task(index):
        together.wait()
        work(threading.current_thread() is main)

    threads.parallel_for(task, count)


def masks(count=2):
    """Return the processors of the caller and of its helpers in a section."""
    found = []
    on_all_threads(lambda is_caller: found.append((is_caller, os.sched_getaffinity(0))), count)
    ((_, caller),) = [each for each in found if each[0]]
    return caller, [mask for is_caller, mask in found if not is_caller]


def test_caller_and_helper_are_apart_inside_and_the_caller_is_free_after(two_threads):
    for _ in range(3):
        caller, (helper,) = masks()
        assert len(caller) == 1
        assert helper == two_threads - caller
        assert os.sched_getaffinity(0) == two_threads


def test_an_error_gives_the_processors_back(two_threads):
    with pytest.raises(ZeroDivisionError):
        threads.parallel_for(lambda i: 1 / 0, 4)
    assert os.sched_getaffinity(0) == two_threads


def test_what_the_user_sets_inside_a_section_stays(two_threads):
    chosen = set()

    def work(is_caller):
        if is_caller:
            chosen.add(min(two_threads - os.sched_getaffinity(0)))
            os.sched_setaffinity(0, chosen)

    on_all_threads(work)
    assert os.sched_getaffinity(0) == chosen


def test_a_section_that_an_interrupt_left_open_is_made_good(two_threads):
    pool = threads._get_pool()
    affinity.Apart(pool).__enter__()
    assert len(os.sched_getaffinity(0)) == 1
    caller, _ = masks()
    assert len(caller) == 1
    assert os.sched_getaffinity(0) == two_threads


@pytest.mark.parametrize("answer", [-1, 100_000])
def test_an_unknown_processor_leaves_all_as_it_is(monkeypatch, two_threads, answer):
    monkeypatch.setattr(affinity, "_getcpu", lambda: answer)
    assert masks() == (two_threads, [two_threads])


def test_a_system_that_cannot_tell_leaves_all_as_it_is(monkeypatch, two_threads):
    monkeypatch.setattr(affinity, "_getcpu", None)
    assert masks()[0] == two_threads


def test_more_threads_than_processors_share_them_all(two_threads):
    masks()
    threads.set_num_threads(len(two_threads) + 1)
    caller, helpers = masks(len(two_threads) + 1)
    assert caller == two_threads
    assert all(helper == two_threads for helper in helpers)
