"""Update steps on the GPU: equal to the reference loops, one launch for all, any layout."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nnmed.backend.arrays import to_device
from nnmed.backend.cuda import Source, cupy, holding
from nnmed.kernels.optimizer import gpu as kernels
from nnmed.kernels.optimizer import gpu_table, reference
from tests.kernels.test_optimizer import STEPS, make_arrays, step

SHAPES = [(3, 5), (), (0,), (1,), (64, 50), (7, 3, 2, 2)]
CLOSE = {np.float32: {"rtol": 2e-6, "atol": 2e-6}, np.float64: {"rtol": 1e-12, "atol": 1e-12}}


def on(device, arrays):
    return [None if array is None else to_device(array, device) for array in arrays]


def assert_close(ours, expected, dtype):
    for array, exact in zip(ours, expected):
        if exact is not None:
            assert array.dtype == dtype
            np.testing.assert_allclose(array, exact, **CLOSE[dtype])


def cut_small(monkeypatch):
    """Let arrays of some thousand elements take several blocks, and a part of one."""
    monkeypatch.setattr(gpu_table, "CHUNK", 1100)
    monkeypatch.setattr(gpu_table, "_tables", {})


@pytest.fixture
def launches(monkeypatch):
    """Names of the kernels launched."""
    names, launch = [], Source.launch

    def noting(self, kernel, *arguments):
        names.append(kernel)
        launch(self, kernel, *arguments)

    monkeypatch.setattr(Source, "launch", noting)
    return names


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", STEPS)
def test_equals_reference(name, dtype, gpu):
    ours = step(kernels, name, on(gpu, make_arrays(name, (3, 5), dtype)))
    expected = step(reference, name, make_arrays(name, (3, 5), np.float64))
    assert_close(on("cpu", ours), expected, dtype)


@pytest.mark.parametrize("name", STEPS)
def test_many_parameters_in_one_launch(name, gpu, launches, monkeypatch):
    cut_small(monkeypatch)
    function, _, arguments = STEPS[name]
    calls = [(*on(gpu, make_arrays(name, shape, np.float64)), *arguments) for shape in SHAPES]
    kernels.update_all(function, calls)
    for call, shape in zip(calls, SHAPES):
        expected = step(reference, name, make_arrays(name, shape, np.float64))
        assert_close(on("cpu", call[: len(expected)]), expected, np.float64)
    assert len(launches) == (2 if function == "lamb" else 1)


@pytest.mark.parametrize("name", ["nesterov", "amsgrad", "rmsprop all", "lamb"])
def test_memory_order_does_not_matter(name, gpu):
    expected = step(reference, name, make_arrays(name, (4, 6, 3, 2), np.float64))
    for moved in ((0,), (1,), range(5)):  # Fortran's order: parameter, gradient, all
        arrays = make_arrays(name, (4, 6, 3, 2), np.float64)
        for position in moved:
            if position < len(arrays) and arrays[position] is not None:
                arrays[position] = np.asfortranarray(arrays[position])
        ours = step(kernels, name, on(gpu, arrays))
        assert_close(on("cpu", ours), expected, np.float64)


def test_an_array_with_gaps_is_written_through(gpu):
    base = cupy().zeros((4, 6), np.float32)
    step(kernels, "sgd", [base[:, ::2], cupy().ones((4, 3), np.float32), None])
    np.testing.assert_allclose(base.get()[:, ::2], -0.1)
    assert not base.get()[:, 1::2].any()


@pytest.mark.parametrize("name", ["nesterov", "lamb"])
def test_gradients_of_two_dtypes(name, gpu):
    function, _, arguments = STEPS[name]
    types = [np.float32, np.float64, np.float32]
    calls = [(*on(gpu, make_arrays(name, (5, 3), dtype)), *arguments) for dtype in types]
    kernels.update_all(function, calls)
    expected = step(reference, name, make_arrays(name, (5, 3), np.float64))
    for call, dtype in zip(calls, types):
        assert_close(on("cpu", call[: len(expected)]), expected, dtype)


def test_nothing_is_copied_where_nothing_changed(gpu, monkeypatch):
    arrays, other = (on(gpu, make_arrays("sgd", (3, 4), np.float32)) for _ in range(2))
    arguments = STEPS["sgd"][2]
    kernels.update_all("sgd", [(*arrays, *arguments)])
    copies, array_type = [], type(arrays[0])
    plain = array_type.set
    monkeypatch.setattr(
        array_type, "set", lambda self, values: (copies.append(values), plain(self, values))
    )
    kernels.update_all("sgd", [(*arrays, *arguments)])
    assert not copies
    kernels.update_all("sgd", [(*arrays, 0.2, *arguments[1:])])
    assert [values.dtype for values in copies] == [np.float32], "the numbers alone"
    kernels.update_all("sgd", [(arrays[0], other[1], None, 0.2, *arguments[1:])])
    assert [values.dtype for values in copies[1:]] == [np.int64], "the pointers alone"


@pytest.mark.parametrize("name", ["nesterov", "adamw", "rmsprop all", "lamb", "lion"])
def test_gradients_are_divided_by_a_scale_that_the_host_need_not_know(name, gpu):
    function, _, arguments = STEPS[name]
    arrays = on(gpu, make_arrays(name, (9, 5), np.float64))
    arrays[1] *= 1024
    kernels.update_all(function, [(*arrays, *arguments)], cupy().asarray(np.array([1024.0, 0.0])))
    expected = step(reference, name, make_arrays(name, (9, 5), np.float64))
    del arrays[1], expected[1]
    assert_close(on("cpu", arrays), expected, np.float64)


@pytest.mark.parametrize("name", ["nesterov", "adamw", "lamb"])
def test_a_flag_on_the_device_skips_the_step(name, gpu):
    function, _, arguments = STEPS[name]
    arrays = on(gpu, make_arrays(name, (9, 5), np.float32))
    arrays[1].fill(np.inf)
    scaling = cupy().asarray(np.array([1024, 1], np.float32))
    kernels.update_all(function, [(*arrays, *arguments)], scaling)
    for ours, before in zip(on("cpu", arrays), make_arrays(name, (9, 5), np.float32)):
        if before is not None and not np.isinf(ours).all():
            np.testing.assert_array_equal(ours, before)


def test_a_captured_step_is_replayed_with_other_numbers(gpu):
    def calls(arrays, number):
        return [(*arrays, number, 0.1 / number, 0.9, 0.99, 1e-3, 0.05, True, False)]

    arrays = on(gpu, make_arrays("adam", (30, 5), np.float64))
    exact = make_arrays("adam", (30, 5), np.float64)
    with cupy().cuda.Stream(non_blocking=True) as stream:
        kernels.update_all("adam", calls(arrays, 1))
        stream.synchronize()
        stream.begin_capture()
        with holding() as held:
            kernels.update_all("adam", calls(arrays, 2))
        graph = stream.end_capture()
        assert held
        kernels.update_all("adam", calls([arrays[0], arrays[1].copy(), *arrays[2:]], 2))
        for number in (3, 4):
            kernels.write_numbers("adam", calls(arrays, number))
            graph.launch()
        stream.synchronize()
    for number in (1, 2, 3, 4):
        reference.update_all("adam", calls(exact, number))
    assert_close(on("cpu", arrays), exact, np.float64)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("p", [1.0, 2.0, 3.5, math.inf])
def test_norm_and_clipping(p, dtype, gpu, monkeypatch):
    cut_small(monkeypatch)
    rng = np.random.default_rng(0)
    arrays = [np.array(rng.standard_normal(shape), dtype) for shape in SHAPES]
    arrays.append(np.asfortranarray(arrays[-1]))
    arrays.append(arrays[4][::2, ::5])
    flat = np.concatenate([array.ravel() for array in arrays]).astype(np.float64)
    expected = np.linalg.norm(flat, p)
    moved = on(gpu, arrays)
    moved[-1] = to_device(arrays[4], gpu)[::2, ::5]
    norm = kernels.total_norm(moved, p)
    assert norm.shape == ()
    assert norm.dtype == np.float64
    np.testing.assert_allclose(norm.get(), expected, rtol=1e-12)
    for most in (expected / 3, 10 * expected):
        factor = min(1, most / (expected + 1e-6))
        for ours, before, array in zip(kernels.clipped(moved, norm, most), moved, arrays):
            assert ours is not before
            np.testing.assert_allclose(ours.get(), factor * array, **CLOSE[dtype])


def test_norm_of_two_dtypes_and_of_nothing(gpu):
    arrays = [np.full(3, 2, np.float32), np.full((2, 2), 3, np.float64)]
    assert kernels.total_norm(on(gpu, arrays), 2.0).item() == pytest.approx(math.sqrt(48))
    assert kernels.total_norm([], 2.0).item() == 0
    assert kernels.total_norm([cupy().empty(0, np.float32)], math.inf).item() == 0


@pytest.mark.parametrize("p", [2.0, 3.5, math.inf])
def test_a_norm_with_nan_in_it(p, gpu):
    array = np.ones(5000, np.float32)
    array[4321] = np.nan
    moved = on(gpu, [array])
    norm = kernels.total_norm(moved, p)
    assert math.isnan(norm.item())
    assert np.isnan(kernels.clipped(moved, norm, 1.0)[0].get()).all()


@pytest.mark.parametrize("shape", [(), (0,), (1,), (4097,), (5, 7, 3, 3)])
def test_sum_of_squares(shape, gpu):
    array = np.random.default_rng(0).standard_normal(shape) * 1e30
    array = np.asarray(array, np.float32)  # squares leave the range of float32
    total = kernels.sum_of_squares(to_device(array, gpu))
    np.testing.assert_allclose(total.get(), reference.sum_of_squares(array), rtol=1e-12)
