"""Update steps: cpu = reference, in place, any layout, any number of threads."""

from __future__ import annotations

import numpy as np
import pytest

from nnmed import kernels
from nnmed.backend import threads
from nnmed.kernels.optimizer import cpu, reference

# name: (function, number of state arrays, arguments; "-" marks a state array left out)
STEPS = {
    "sgd": ("sgd", "-", (0.1, 0.0, 0.0, 0.0, False, True)),
    "sgd decay": ("sgd", "-", (0.1, 0.0, 0.0, 0.05, False, True)),
    "momentum first": ("sgd", "s", (0.1, 0.9, 0.3, 0.05, False, True)),
    "momentum": ("sgd", "s", (0.1, 0.9, 0.0, 0.05, False, False)),
    "dampening": ("sgd", "s", (0.1, 0.9, 0.3, 0.0, False, False)),
    "nesterov first": ("sgd", "s", (0.1, 0.9, 0.0, 0.05, True, True)),
    "nesterov": ("sgd", "s", (0.1, 0.9, 0.0, 0.0, True, False)),
    "adam": ("adam", "ss-", (3, 0.1, 0.9, 0.99, 1e-8, 0.0, False)),
    "adam decay": ("adam", "ss-", (1, 0.1, 0.9, 0.99, 1e-3, 0.05, False)),
    "adamw": ("adam", "ss-", (7, 0.1, 0.9, 0.99, 1e-3, 0.05, True)),
    "amsgrad": ("adam", "sss", (7, 0.1, 0.9, 0.99, 1e-3, 0.05, False)),
    "rmsprop": ("rmsprop", "s--", (0.1, 0.9, 1e-3, 0.0, 0.0)),
    "rmsprop momentum": ("rmsprop", "s-s", (0.1, 0.9, 1e-3, 0.05, 0.7)),
    "rmsprop centered": ("rmsprop", "ss-", (0.1, 0.9, 1e-3, 0.05, 0.0)),
    "rmsprop all": ("rmsprop", "sss", (0.1, 0.9, 1e-3, 0.05, 0.7)),
}


def make_arrays(name, shape, dtype, order="C"):
    """Return parameter, gradient and state arrays; the first state array is positive."""
    rng = np.random.default_rng(0)
    function, states, _ = STEPS[name]

    def draw(scale=1.0):
        return np.array(scale * rng.standard_normal(shape), dtype, order=order)

    arrays = [draw(), draw()]
    for index, state in enumerate(states):
        value = draw(0.3)
        if (function, index) == ("rmsprop", 0):
            value[...] = 1 + value * value  # above the squared average: a positive variance
        elif function == "adam" and index > 0:
            value[...] = value * value
        arrays.append(value if state == "s" else None)
    return arrays


def step(module, name, arrays):
    function, _, arguments = STEPS[name]
    getattr(module, function)(*arrays, *arguments)
    return arrays


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", STEPS)
def test_cpu_equals_reference(name, dtype):
    fast = step(cpu, name, make_arrays(name, (3, 5), dtype))
    exact = step(reference, name, make_arrays(name, (3, 5), np.float64))
    tolerance = 2e-6 if dtype == np.float32 else 1e-13
    for ours, expected in zip(fast, exact):
        if expected is not None:
            assert ours.dtype == dtype
            np.testing.assert_allclose(ours, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", STEPS)
def test_gradient_is_not_changed(name):
    arrays = make_arrays(name, (40,), np.float32)
    gradient = arrays[1].copy()
    arrays[1].flags.writeable = False
    step(cpu, name, arrays)
    np.testing.assert_array_equal(arrays[1], gradient)


@pytest.mark.parametrize("name", ["nesterov", "amsgrad", "rmsprop all"])
def test_chunks_threads_and_layout_do_not_matter(name, monkeypatch):
    whole = step(cpu, name, make_arrays(name, (64, 50), np.float32))
    monkeypatch.setattr(cpu, "CHUNK", 100)
    before = threads.get_num_threads()
    try:
        for count in (1, 3):
            threads.set_num_threads(count)
            for order in "CF":
                pieces = step(cpu, name, make_arrays(name, (64, 50), np.float32, order))
                for ours, expected in zip(pieces, whole):
                    np.testing.assert_array_equal(ours, expected)
    finally:
        threads.set_num_threads(before)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (0, 3)])
def test_small_shapes(shape):
    arrays = step(cpu, "amsgrad", make_arrays("amsgrad", shape, np.float32))
    assert arrays[0].shape == shape


def test_a_strided_parameter_is_written_through():
    base = np.zeros((4, 6), np.float32)
    step(cpu, "sgd", [base[:, ::2], np.ones((4, 3), np.float32), None])
    np.testing.assert_allclose(base[:, ::2], -0.1)
    assert not base[:, 1::2].any()


def test_centered_variance_never_turns_negative():
    parameter = np.ones(3, np.float32)
    gradient = np.full(3, 0.1, np.float32)
    square, average = np.zeros(3, np.float32), np.zeros(3, np.float32)
    for _ in range(300):
        cpu.rmsprop(parameter, gradient, square, average, None, 1e-3, 0.9, 1e-3, 0.0, 0.0)
    assert np.isfinite(parameter).all()


def test_select_swaps_the_form():
    with kernels.use_kernels(optimizer="reference"):
        assert kernels.select("optimizer") is reference
    assert kernels.select("optimizer") is cpu
