"""Declare an op once, and get every test that an op must pass.

::

    CASES = [
        OpCase(conv2d, dict(input=(2, 3, 8, 8), weight=(4, 3, 3, 3)), dict(stride=2)),
        OpCase(max_pool2d, dict(input=tie_free(2, 3, 8, 8)), dict(kernel_size=2)),
    ]
    TestConv = op_tests(CASES, family="conv")
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

import nnmed
from nnmed.backend import threads

TOLERANCE = {np.float64: dict(rtol=1e-9, atol=1e-11), np.float32: dict(rtol=2e-4, atol=2e-5)}


@dataclass
class OpCase:
    """One call of one function.

    Attributes
    ----------
    function
        The nnmed function; its oracle has the same name in torch.nn.functional or torch.
    inputs
        Argument name to a shape (standard normal values), an array, None, or a callable
        that takes a generator and returns an array. Float arrays are differentiated.
    kwargs
        The arguments that are no tensors.
    oracle
        A callable ``(torch, inputs, kwargs) -> torch tensor`` where the default will not
        do; False where PyTorch has no such function.
    second
        Whether second derivatives are checked. False only where the function is a
        distribution of random draws.
    label
        Added to the test's name.
    float32
        Tolerances of float32 against PyTorch, where the default is too strict.
    """

    function: Callable
    inputs: dict
    kwargs: dict = field(default_factory=dict)
    oracle: Callable | bool = True
    second: bool = True
    label: str = ""
    float32: dict = field(default_factory=lambda: TOLERANCE[np.float32])

    def __str__(self):
        shapes = "-".join(
            "x".join(map(str, v)) if isinstance(v, tuple) else name
            for name, v in self.inputs.items()
        )
        options = "-".join(f"{k}={v}" for k, v in self.kwargs.items())
        return "-".join(
            part for part in (self.function.__name__, shapes, options, self.label) if part
        )

    def arrays(self, dtype=np.float64) -> dict:
        """Return the input arrays, the same ones every time."""
        rng = np.random.default_rng(7)
        arrays = {}
        for name, value in self.inputs.items():
            if callable(value):
                value = value(rng)
            elif isinstance(value, tuple):
                value = rng.standard_normal(value)
            if value is not None:
                value = np.array(value)
                value = value.astype(dtype) if value.dtype.kind == "f" else value
            arrays[name] = value
        return arrays

    def tensors(self, arrays: dict, requires_grad=True, device="cpu") -> dict:
        def tensor(array):
            floats = requires_grad and array.dtype.kind == "f"
            return nnmed.from_numpy(array).to(device).requires_grad_(floats)

        return {name: None if a is None else tensor(a) for name, a in arrays.items()}

    def call(self, tensors: dict):
        result = self.function(**tensors, **self.kwargs)
        return result[0] if isinstance(result, tuple) else result

    def run(self, arrays: dict, create_graph=False, device="cpu"):
        """Return the output, and the gradient of each float input for a fixed dy."""
        tensors = self.tensors(arrays, device=device)
        output = self.call(tensors)
        assert output.device == device
        wanted = {name: t for name, t in tensors.items() if t is not None and t.requires_grad}
        if not wanted:
            return output.numpy(), {}
        dy = nnmed.from_numpy(output_gradient(output.shape, output.dtype)).to(device)
        gradients = nnmed.grad(
            output, list(wanted.values()), dy, create_graph=create_graph, allow_unused=True
        )
        return output.numpy(), {
            n: None if g is None else g.numpy() for n, g in zip(wanted, gradients)
        }

    def run_second(self, arrays: dict, device="cpu"):
        """Return the sum of squares of all gradients, and its own gradients."""
        tensors = self.tensors(arrays, device=device)
        output = self.call(tensors)
        wanted = {name: t for name, t in tensors.items() if t is not None and t.requires_grad}
        dy = nnmed.from_numpy(output_gradient(output.shape, output.dtype)).to(device)
        first = nnmed.grad(output, list(wanted.values()), dy, create_graph=True, allow_unused=True)
        total = sum((g * g).sum() for g in first if g is not None)
        if not total.requires_grad:
            return total.numpy(), {}
        second = nnmed.grad(total, list(wanted.values()), allow_unused=True)
        return total.numpy(), {n: None if g is None else g.numpy() for n, g in zip(wanted, second)}


def output_gradient(shape, dtype):
    """Return the gradient that flows into every output under test."""
    return np.asarray(np.random.default_rng(11).standard_normal(shape)).astype(dtype)


def tie_free(*shape):
    """Return an input whose values are all different and clear of 0, for max and relu."""

    def values(rng):
        count = int(np.prod(shape))
        line = np.linspace(-1, 1, 2 * count)[::2] if count > 1 else np.array([0.7] * count)
        return rng.permutation(line).reshape(shape)

    return values


def integers(low, high, *shape):
    """Return an input of int64 labels in [low, high)."""
    return lambda rng: rng.integers(low, high, shape)


def op_tests(cases, family: str | None = None):
    """Return a test class with all checks for all cases."""

    def of(chosen):
        return pytest.mark.parametrize("case", [c for c in cases if chosen(c)], ids=str)

    every = of(lambda case: True)

    class OpTests:
        @every
        @pytest.mark.parametrize("dtype", [np.float64, np.float32])
        def test_equals_reference_loops(self, case, dtype):
            arrays = case.arrays(dtype)
            fast = case.run(arrays)
            with nnmed.use_kernels(**{family: "reference"}):
                loops = case.run(arrays)
            assert_same_results(fast, loops, **TOLERANCE[dtype])

        @pytest.mark.oracle
        @of(lambda case: case.oracle is not False)
        @pytest.mark.parametrize("dtype", [np.float64, np.float32])
        def test_equals_pytorch(self, case, dtype, torch):
            arrays = case.arrays(dtype)
            tolerance = case.float32 if dtype is np.float32 else TOLERANCE[dtype]
            assert_same_results(case.run(arrays), torch_run(torch, case, arrays), **tolerance)

        @every
        @pytest.mark.parametrize("dtype", [np.float64, np.float32])
        def test_on_the_gpu(self, case, dtype, gpu):
            arrays = case.arrays(dtype)
            tolerance = case.float32 if dtype is np.float32 else TOLERANCE[dtype]
            expected = case.run(arrays)
            for create_graph in (False, True):
                assert_same_results(case.run(arrays, create_graph, gpu), expected, **tolerance)

        @of(lambda case: case.second)
        def test_second_derivative_on_the_gpu(self, case, gpu):
            arrays = case.arrays()
            results = case.run_second(arrays, gpu), case.run_second(arrays)
            assert_same_results(*results, rtol=1e-7, atol=1e-9)

        @every
        def test_memory_layout_does_not_matter_on_the_gpu(self, case, gpu):
            arrays = case.arrays()
            moved = {n: None if a is None else channels_last(a) for n, a in arrays.items()}
            expected = case.run(arrays)
            assert_same_results(case.run(moved, device=gpu), expected, **TOLERANCE[np.float64])

        @every
        def test_gradient_equals_central_differences(self, case):
            tensors, function = positional(case)
            nnmed.gradcheck(function, tensors)

        @of(lambda case: case.second)
        def test_second_derivative_equals_central_differences(self, case):
            tensors, function = positional(case)
            nnmed.gradgradcheck(function, tensors)

        @every
        def test_recorded_backward_gives_the_same_gradient(self, case):
            arrays = case.arrays()
            fused, recorded = case.run(arrays), case.run(arrays, create_graph=True)
            assert_same_results(fused, recorded, **TOLERANCE[np.float64])

        @every
        @pytest.mark.parametrize("dtype", [np.float64, np.float32])
        def test_dtype_is_kept(self, case, dtype):
            arrays = case.arrays(dtype)
            for create_graph in (False, True):
                output, gradients = case.run(arrays, create_graph)
                assert output.dtype == dtype
                for name, gradient in gradients.items():
                    assert gradient is None or gradient.dtype == dtype, name

        @every
        @pytest.mark.parametrize("layout", [channels_last, reversed_view, strided_view])
        def test_memory_layout_does_not_matter(self, case, layout):
            arrays = case.arrays()
            moved = {n: None if a is None else layout(a) for n, a in arrays.items()}
            assert_same_results(case.run(moved), case.run(arrays), **TOLERANCE[np.float64])

        @every
        def test_inputs_are_not_changed(self, case):
            arrays = case.arrays(np.float32)
            before = {n: None if a is None else a.copy() for n, a in arrays.items()}
            case.run(arrays)
            for name, array in arrays.items():
                np.testing.assert_array_equal(array, before[name], err_msg=name)

        @every
        def test_threads_do_not_change_a_bit(self, case):
            arrays, count = case.arrays(np.float32), threads.get_num_threads()
            try:
                results = []
                for threads_used in (1, 3):
                    threads.set_num_threads(threads_used)
                    results.append(case.run(arrays))
            finally:
                threads.set_num_threads(count)
            assert_same_results(*results, rtol=0, atol=0)

    if family is None:  # made of NumPy functions alone: there are no loops to compare with
        del OpTests.test_equals_reference_loops
    if not any(case.oracle for case in cases):
        del OpTests.test_equals_pytorch
    if not any(case.second for case in cases):
        del OpTests.test_second_derivative_equals_central_differences
        del OpTests.test_second_derivative_on_the_gpu
    return OpTests


def positional(case):
    """Return the tensors, and a function of them in order, for gradcheck."""
    tensors = case.tensors(case.arrays())
    names = [name for name, t in tensors.items() if t is not None]

    def function(*values):
        return case.call({**tensors, **dict(zip(names, values))})

    return [tensors[name] for name in names], function


def torch_run(torch, case, arrays):
    """Return PyTorch's output and gradients for the case."""
    tensors = {
        n: None
        if a is None
        else torch.tensor(np.array(a, order="C")).requires_grad_(a.dtype.kind == "f")
        for n, a in arrays.items()
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's advice on odd padding and the like
        if callable(case.oracle):
            output = case.oracle(torch, tensors, case.kwargs)
        else:
            name = case.function.__name__
            function = getattr(torch.nn.functional, name, None) or getattr(torch, name)
            output = function(**tensors, **case.kwargs)
    output = output[0] if isinstance(output, tuple) else output
    wanted = {n: t for n, t in tensors.items() if t is not None and t.requires_grad}
    if output.requires_grad:
        dy = torch.tensor(output_gradient(tuple(output.shape), output.detach().numpy().dtype))
        grads = torch.autograd.grad(output, list(wanted.values()), dy, allow_unused=True)
    else:
        grads = [None] * len(wanted)
    gradients = {n: None if g is None else g.numpy() for n, g in zip(wanted, grads)}
    return output.detach().numpy(), gradients


def assert_same_results(actual, expected, **tolerance):
    """Compare (output, gradients) pairs; a missing gradient counts as zero."""
    assert actual[0].shape == expected[0].shape
    np.testing.assert_allclose(actual[0], expected[0], err_msg="output", **tolerance)
    for name in expected[1]:
        a, e = actual[1][name], expected[1][name]
        if a is not None or e is not None:
            a = np.zeros_like(e) if a is None else a
            e = np.zeros_like(a) if e is None else e
            assert a.shape == e.shape, name
            np.testing.assert_allclose(a, e, err_msg=f"gradient of {name}", **tolerance)


def channels_last(a):
    """Return a copy of `a` with dimension 1 last in memory."""
    if a.ndim < 3:
        return np.array(a, order="F")
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(a, 1, -1)), -1, 1)


def reversed_view(a):
    """Return a copy of `a` with negative strides."""
    flip = (slice(None, None, -1),) * a.ndim
    return np.ascontiguousarray(a[flip])[flip] if a.ndim else a


def strided_view(a):
    """Return a copy of `a` that takes every second element of a larger array."""
    if not a.ndim:
        return a
    larger = np.full(tuple(2 * n for n in a.shape), 99, a.dtype)
    view = larger[(slice(None, None, 2),) * a.ndim]
    view[...] = a
    return view
