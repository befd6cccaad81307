"""Worker threads and the limit on BLAS."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from nnmed.backend import threads
from nnmed.backend.products import matmul
from nnmed.errors import UsageError


@pytest.fixture(autouse=True)
def restore_num_threads():
    count = threads.get_num_threads()
    yield
    threads.set_num_threads(count)


def blas_threads():
    return {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}


@pytest.mark.parametrize("count", [1, 2, 5])
def test_every_task_runs_once(count):
    threads.set_num_threads(count)
    done = np.zeros(37, int)
    threads.parallel_for(lambda i: done.__setitem__(i, done[i] + 1), 37)
    assert (done == 1).all()


def test_tasks_run_at_the_same_time():
    threads.set_num_threads(3)
    together = threading.Barrier(3, timeout=10)
    threads.parallel_for(lambda i: together.wait(), 3)


def test_a_call_in_a_task_shares_its_tasks_with_idle_workers():
    threads.set_num_threads(3)
    together, done = threading.Barrier(2, timeout=10), threading.Event()

    def outer(i):
        if i == 1:  # keeps one thread
            assert done.wait(10)
            return
        threads.parallel_for(lambda _: together.wait(), 2)
        done.set()

    threads.parallel_for(outer, 2)
    assert done.is_set()


@pytest.mark.parametrize("count", [2, 3])
def test_calls_in_tasks_of_calls_in_tasks_end(count):
    threads.set_num_threads(count)
    done = np.zeros((5, 4, 3), int)

    def innermost(i, j, k):
        done[i, j, k] += 1

    def outer(i):
        def inner(j):
            threads.parallel_for(lambda k: innermost(i, j, k), 3)

        threads.parallel_for(inner, 4)

    for _ in range(50):
        threads.parallel_for(outer, 5)
    assert (done == 50).all()
    threads.parallel_for(lambda i: None, 9)


@pytest.mark.parametrize("count", [1, 3])
def test_an_error_of_a_task_is_raised_and_the_pool_goes_on(count):
    threads.set_num_threads(count)

    def task(i):
        if i == 5:
            raise KeyError("task 5")

    with pytest.raises(KeyError, match="task 5"):
        threads.parallel_for(task, 20)
    threads.parallel_for(lambda i: None, 20)


def test_blas_is_limited_inside_and_restored_after():
    before = blas_threads()
    with threads.blas_single_thread():
        assert blas_threads() == {1}
        with threads.blas_single_thread():
            pass
        assert blas_threads() == {1}
    assert blas_threads() == before


def test_overlapping_sections_restore_the_first_value():
    before = blas_threads()
    entered, leave = threading.Event(), threading.Event()

    def other():
        with threads.blas_single_thread():
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with threads.blas_single_thread():
        thread.start()
        entered.wait(10)
    assert blas_threads() == {1}  # the other one is still inside
    leave.set()
    thread.join()  # the last one out is another thread than the first one in
    assert blas_threads() == before


def test_several_user_threads_share_the_workers():
    threads.set_num_threads(2)
    a = np.random.default_rng(0).standard_normal((400, 300)).astype(np.float32)
    expected, results = matmul(a, a.T), []

    def work():
        results.extend(matmul(a, a.T) for _ in range(5))

    users = [threading.Thread(target=work) for _ in range(4)]
    for user in users:
        user.start()
    for user in users:
        user.join()
    assert len(results) == 20
    assert all(np.array_equal(r, expected) for r in results)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Python warns of fork with threads
def test_work_goes_on_after_fork():
    threads.set_num_threads(2)
    threads.parallel_for(lambda i: None, 8)
    child = os.fork()
    if child == 0:
        done = np.zeros(8)
        threads.parallel_for(lambda i: done.__setitem__(i, 1), 8)
        os._exit(0 if done.all() else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((700, 300), (300, 500)),
        ((3, 4), (4, 5)),
        ((6, 200, 30), (6, 30, 100)),
        ((3, 50, 8, 9), (3, 50, 9, 8)),
        ((0, 3), (3, 2)),
    ],
)
def test_products_equal_numpy_and_do_not_depend_on_threads(a, b):
    rng = np.random.default_rng(0)
    a = rng.standard_normal(a).astype(np.float32)
    b = rng.standard_normal(b).astype(np.float32)
    results = []
    for count in (1, 2, 4):
        threads.set_num_threads(count)
        results.append(matmul(a, b))
    np.testing.assert_allclose(results[0], a @ b, rtol=1e-4, atol=1e-4)
    assert all(np.array_equal(r, results[0]) for r in results)


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "2"])
def test_bad_thread_counts_are_refused(value):
    with pytest.raises(UsageError, match="threads"):
        threads.set_num_threads(value)


def test_the_environment_sets_the_default(monkeypatch):
    monkeypatch.setattr(threads, "_num_threads", None)
    monkeypatch.setenv("NNMED_NUM_THREADS", "3")
    assert threads.get_num_threads() == 3
    monkeypatch.setattr(threads, "_num_threads", None)
    monkeypatch.setenv("NNMED_NUM_THREADS", "many")
    with pytest.raises(UsageError, match="NNMED_NUM_THREADS"):
        threads.get_num_threads()


@pytest.mark.parametrize("layout", ["channels last", "row major"])
def test_channel_sums_do_not_depend_on_threads(layout):
    from nnmed.backend.arrays import as_channels_last
    from nnmed.backend.products import channel_sums

    x = np.random.default_rng(0).standard_normal((3, 5, 90, 80)).astype(np.float32)
    expected = x.sum(axis=(0, 2, 3), dtype=np.float64)
    x = as_channels_last(x) if layout == "channels last" else x
    results = []
    for count in (1, 3):
        threads.set_num_threads(count)
        results.append(channel_sums(x))
    np.testing.assert_allclose(results[0], expected, rtol=1e-4, atol=1e-2)
    np.testing.assert_array_equal(*results)
