"""The stand-in's graphs: they hold what a card's would, and refuse what a card would refuse."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from tests.cuda import cupy_on_cpu as cp
from tests.cuda import pools
from tests.cuda.emulator import KernelError


@pytest.fixture
def capture():
    """Return a function that captures what another does, with memory of a pool, and its result."""
    pool, stream = pools.MemoryPool(), cp.cuda.Stream(non_blocking=True)

    def capture(function):
        with stream, cp.cuda.using_allocator(pool.malloc):
            stream.begin_capture()
            try:
                result = function()
            finally:
                graph = stream.end_capture()
        return result, lambda: (graph.launch(stream), stream.synchronize())

    return capture


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x + 1,
        lambda x: cp.exp(x) * 2,
        lambda x: x.sum(axis=0),
        lambda x: x.astype(np.float64),
        lambda x: x[::2].copy(),
        lambda x: x.T.reshape(-1),
        lambda x: cp.where(x > 0, x, 0.0),
        lambda x: cp.concatenate([x, x]),
        lambda x: cp.arange(5, dtype=np.float32) + x[0, 0],
        lambda x: cp.zeros(3, np.float32) + x[0, 0],
    ],
)
def test_a_graph_computes_anew_with_the_values_of_its_launch(function, capture):
    x = cp.array(np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32))
    result, launch = capture(lambda: function(x))
    assert np.isnan(result.get()).all()
    for _ in range(2):
        x += 1
        launch()
        np.testing.assert_array_equal(result.get(), function(x).get())


def test_what_is_written_in_place_waits_for_the_launch(capture):
    x, total = cp.ones(3), cp.zeros(3)

    def work():
        nonlocal total
        total += x
        total[0] = 5.0
        cp.copyto(x, total)

    _, launch = capture(work)
    np.testing.assert_array_equal(total.get(), 0)
    launch()
    np.testing.assert_array_equal(x.get(), [5, 1, 1])
    launch()
    np.testing.assert_array_equal(x.get(), [5, 2, 2])


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x.get(), "synchronous"),
        (lambda x: x[0, 0].item(), "synchronous"),
        (lambda x: bool((x > 0).all()), "synchronous"),
        (lambda x: x[x > 0], "synchronous"),
        (lambda x: x.argsort(), "synchronous"),
        (lambda x: x @ x, "cuBLAS"),
        (lambda x: cp.array(np.ones(3)), "host"),
        (lambda x: x.set(np.ones((3, 3))), "host"),
        (lambda x: cp.cuda.get_current_stream().synchronize(), "synchronous"),
    ],
)
def test_what_a_card_refuses_in_a_capture_is_refused(function, message, capture):
    x = cp.ones((3, 3))
    with pytest.raises(RuntimeError, match=message):
        capture(lambda: function(x))
    function(x)


def test_a_graph_keeps_no_memory_alive(capture):
    arrays = [cp.ones(3)]
    _, launch = capture(lambda: arrays[0].fill(2.0))
    launch()
    arrays.clear()
    with pytest.raises(KernelError, match="given back"):
        launch()


def test_a_pool_has_a_limit_and_keeps_what_it_had():
    pool = pools.MemoryPool()
    pool.set_limit(size=100)
    with cp.cuda.using_allocator(pool.malloc):
        first = cp.empty(20, np.float32)
        with pytest.raises(cp.cuda.memory.OutOfMemoryError, match="24 bytes"):
            cp.empty(6, np.float32)
    assert pool.total_bytes() == first.nbytes


def test_a_thread_has_a_stream_and_an_allocator_of_its_own():
    pool, stream = pools.MemoryPool(), cp.cuda.Stream(non_blocking=True)
    found = []

    def look():
        found.append((cp.cuda.get_current_stream(), cp.zeros(3)))

    with stream, cp.cuda.using_allocator(pool.malloc):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        assert cp.cuda.get_current_stream() is stream
    assert found[0][0] is cp.cuda.Stream.null
    assert pool.used_bytes() == 0
