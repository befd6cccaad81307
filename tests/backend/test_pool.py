"""Sections that threads share: errors, interrupts, forks and the end of the program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from nnmed.backend import pool, threads


@pytest.fixture(autouse=True)
def three_threads():
    count = threads.get_num_threads()
    threads.set_num_threads(3)
    yield
    threads.set_num_threads(count)


def blas_threads():
    return {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}


def on_all_threads(work):
    """Call `work` once on each of three threads, at the same time."""
    together = threading.Barrier(3, timeout=10)

    def task(index):
        together.wait()
        work()

    threads.parallel_for(task, 3)


def test_blas_is_restored_after_a_pool_that_came_too_late():
    before = blas_threads()
    for _ in range(50):
        threads.set_num_threads(3)
        threads.parallel_for(lambda i: None, 4)
        assert blas_threads() == before


def test_an_error_of_a_helper_alone_is_raised():
    main = threading.current_thread()

    def work():
        if threading.current_thread() is not main:
            raise KeyError("helper")

    with pytest.raises(KeyError, match="helper"):
        on_all_threads(work)


def test_floating_point_settings_of_the_caller_hold_for_helpers():
    def divide():
        np.ones(3) / np.zeros(3)

    with np.errstate(divide="ignore"):  # warnings are errors in these tests
        on_all_threads(divide)
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        on_all_threads(divide)


def test_nothing_runs_on_when_help_could_not_be_asked_for(monkeypatch):
    ask, done = pool.Pool.help_with, []

    def fail(self, section, count):
        ask(self, section, 1)
        time.sleep(0.05)
        raise RuntimeError("no more threads")

    def task(index):
        time.sleep(0.01)
        done.append(index)

    monkeypatch.setattr(pool.Pool, "help_with", fail)
    with pytest.raises(RuntimeError, match="no more threads"):
        threads.parallel_for(task, 100)
    ended = len(done)
    time.sleep(0.05)
    assert len(done) == ended


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer's signal")
def test_an_interrupt_waits_for_the_helpers():
    main, ended = threading.current_thread(), []

    def interrupt(number, frame):
        raise KeyboardInterrupt

    def work():
        if threading.current_thread() is not main:
            time.sleep(0.3)
            ended.append(True)

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(KeyboardInterrupt):
            on_all_threads(work)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(ended) == 2
    on_all_threads(lambda: None)


def test_a_thread_may_work_on_when_the_main_thread_has_ended():
    program = """if True:
        import threading, time
        from nnmed.backend import threads
        threads.set_num_threads(2)
        def work():
            threading.main_thread().join()
            done = []
            threads.parallel_for(done.append, 50)
            print(len(done))
        threading.Thread(target=work).start()
    """
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert result.stdout.strip() == "50", result.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Python warns of fork with threads
def test_a_child_forked_inside_a_task_keeps_the_limit_and_all_processors():
    processors = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    codes = []

    def task(index):
        if index or threading.current_thread() is not main:
            return
        child = os.fork()
        if child == 0:
            fine = blas_threads() == {1}
            if processors is not None:
                fine = fine and os.sched_getaffinity(0) == processors
            os._exit(0 if fine else 1)
        codes.append(os.waitpid(child, 0)[1])

    main = threading.current_thread()
    while not codes:  # until the caller itself gets the first task
        threads.parallel_for(task, 2)
    assert codes == [0]
