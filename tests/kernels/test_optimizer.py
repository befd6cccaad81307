"""Update steps: cpu = reference, in place, any layout, any number of threads."""

from __future__ import annotations

import numpy as np
import pytest

from nnmed import kernels
from nnmed.backend import threads
from nnmed.kernels.optimizer import cpu, reference

# name: (function, number of state arrays, arguments; "-" marks a state array left out)
STEPS = {
    "sgd": ("sgd", "-", (0.1, 0.0, 0.0, 0.0, False, True, False)),
    "sgd decay": ("sgd", "-", (0.1, 0.0, 0.0, 0.05, False, True, True)),
    "momentum first": ("sgd", "s", (0.1, 0.9, 0.3, 0.05, False, True, False)),
    "momentum": ("sgd", "s", (0.1, 0.9, 0.0, 0.05, False, False, False)),
    "dampening": ("sgd", "s", (0.1, 0.9, 0.3, 0.0, False, False, True)),
    "nesterov first": ("sgd", "s", (0.1, 0.9, 0.0, 0.05, True, True, False)),
    "nesterov": ("sgd", "s", (0.1, 0.9, 0.0, 0.0, True, False, False)),
    "adam": ("adam", "ss-", (3, 0.1, 0.9, 0.99, 1e-8, 0.0, False, False)),
    "adam decay": ("adam", "ss-", (1, 0.1, 0.9, 0.99, 1e-3, 0.05, False, True)),
    "adamw": ("adam", "ss-", (7, 0.1, 0.9, 0.99, 1e-3, 0.05, True, True)),
    "amsgrad": ("adam", "sss", (7, 0.1, 0.9, 0.99, 1e-3, 0.05, False, False)),
    "rmsprop": ("rmsprop", "s--", (0.1, 0.9, 1e-3, 0.0, 0.0, True)),
    "rmsprop momentum": ("rmsprop", "s-s", (0.1, 0.9, 1e-3, 0.05, 0.7, False)),
    "rmsprop centered": ("rmsprop", "ss-", (0.1, 0.9, 1e-3, 0.05, 0.0, False)),
    "rmsprop all": ("rmsprop", "sss", (0.1, 0.9, 1e-3, 0.05, 0.7, True)),
    "adagrad": ("adagrad", "s", (3, 0.1, 0.01, 0.05, 1e-3, False)),
    "adagrad up": ("adagrad", "s", (1, 0.1, 0.0, 0.0, 1e-3, True)),
    "adadelta": ("adadelta", "ss", (0.7, 0.9, 1e-3, 0.0, False)),
    "adadelta decay": ("adadelta", "ss", (0.7, 0.9, 1e-3, 0.05, True)),
    "adamax": ("adamax", "ss", (3, 0.1, 0.9, 0.99, 1e-3, 0.05, False)),
    "adamax up": ("adamax", "ss", (1, 0.1, 0.9, 0.99, 1e-3, 0.0, True)),
    "nadam": ("nadam", "ss", (2, 0.6, 0.7, 0.3, 0.1, 0.9, 0.99, 1e-3, 0.05, False, False)),
    "nadam decoupled": ("nadam", "ss", (2, 0.6, 0.7, 0.3, 0.1, 0.9, 0.9, 1e-3, 0.05, True, True)),
    "radam early": ("radam", "ss", (2, 0.1, 0.9, 0.99, 1e-3, 0.05, False, False)),
    "radam late": ("radam", "ss", (60, 0.1, 0.9, 0.99, 1e-3, 0.05, True, True)),
    "lamb": ("lamb", "ss", (3, 0.1, 0.9, 0.99, 1e-3, 0.05, False)),
    "lamb up": ("lamb", "ss", (1, 0.1, 0.9, 0.99, 1e-3, 0.0, True)),
    "lion": ("lion", "s", (0.1, 0.9, 0.99, 0.0, False)),
    "lion decay": ("lion", "s", (0.1, 0.9, 0.99, 0.05, True)),
    "average": ("average", "", (0.3,)),
}
# State arrays that are sums of squares, or their like.
POSITIVE = {
    "adam": (1, 2), "rmsprop": (0,), "adagrad": (0,), "adadelta": (0, 1), "adamax": (1,),
    "nadam": (1,), "radam": (1,), "lamb": (1,),
}  # fmt: skip


def make_arrays(name, shape, dtype, order="C"):
    """Return parameter, gradient and state arrays."""
    rng = np.random.default_rng(0)
    function, states, _ = STEPS[name]

    def draw(scale=1.0):
        return np.array(scale * rng.standard_normal(shape), dtype, order=order)

    arrays = [draw(), draw()]
    for index, state in enumerate(states):
        value = draw(0.3)
        if index in POSITIVE.get(function, ()):
            value[...] = 1 + value * value  # for RMSprop above the squared average
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


@pytest.mark.parametrize("name", ["nesterov", "amsgrad", "rmsprop all", "nadam", "lion"])
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
        cpu.rmsprop(parameter, gradient, square, average, None, 1e-3, 0.9, 1e-3, 0, 0, False)
    assert np.isfinite(parameter).all()


@pytest.mark.parametrize("form", [cpu, reference])
def test_all_parameters_at_once(form):
    calls, expected = [], []
    for shape in [(3, 5), (), (0,), (64, 50)]:
        calls.append((*make_arrays("lamb", shape, np.float64), *STEPS["lamb"][2]))
        expected.append(step(reference, "lamb", make_arrays("lamb", shape, np.float64)))
    form.update_all("lamb", calls)
    for call, arrays in zip(calls, expected):
        for ours, theirs in zip(call, arrays):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def test_lamb_in_chunks_and_threads(monkeypatch):
    exact = step(reference, "lamb", make_arrays("lamb", (64, 50), np.float64))
    monkeypatch.setattr(cpu, "CHUNK", 100)
    results = []
    before = threads.get_num_threads()
    try:
        for count in (1, 3):
            threads.set_num_threads(count)
            results.append(step(cpu, "lamb", make_arrays("lamb", (64, 50), np.float32, "F")))
    finally:
        threads.set_num_threads(before)
    for ours, other, expected in zip(*results, exact):
        np.testing.assert_array_equal(ours, other)
        np.testing.assert_allclose(ours, expected, rtol=2e-6, atol=2e-6)


def test_lamb_of_nothing_but_zeros():
    arrays = [np.zeros(3, np.float32) for _ in range(4)]
    step(cpu, "lamb", arrays)
    np.testing.assert_array_equal(arrays[0], 0)
    arrays[1][...] = 1  # the norm of the parameter is 0: the length of the direction counts
    step(cpu, "lamb", arrays)
    assert (arrays[0] < 0).all()


def test_select_swaps_the_form():
    with kernels.use_kernels(optimizer="reference"):
        assert kernels.select("optimizer") is reference
    assert kernels.select("optimizer") is cpu
