"""Backward, grad, and the life of the graph."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import nnmed
from nnmed import Tensor
from nnmed.errors import GradientError, ShapeError, UsageError


def leaf(*values):
    return Tensor(np.array(values, np.float64), requires_grad=True)


def test_contributions_of_all_paths_are_added():
    x = leaf(2.0, 3.0)
    y = x * x + x.exp() * x
    y.sum().backward()
    expected = 2 * x.data + np.exp(x.data) * (1 + x.data)
    np.testing.assert_allclose(x.grad.data, expected)


def test_backward_accumulates_over_calls():
    x = leaf(1.0, 2.0)
    (x * 3).sum().backward()
    (x * 4).sum().backward()
    np.testing.assert_array_equal(x.grad.data, [7, 7])


def test_leaves_never_share_a_gradient_array():
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    (a + b).sum().backward()
    assert not np.shares_memory(a.grad._array, b.grad._array)
    c, gradient = leaf(1.0, 2.0), Tensor(np.ones(2))
    (c + 0.0).backward(gradient)
    assert not np.shares_memory(c.grad._array, gradient._array)


def test_grad_leaves_grad_untouched_and_takes_interior_tensors():
    x = leaf(1.0, 2.0)
    h = x * 3
    y = (h * h).sum()
    dh, dx = nnmed.grad(y, [h, x])
    np.testing.assert_allclose(dh.data, 2 * h.data)
    np.testing.assert_allclose(dx.data, 6 * h.data)
    assert x.grad is None


def test_grad_names_an_unused_input():
    x, z = leaf(1.0), leaf(2.0)
    with pytest.raises(GradientError, match=r"input 1 .*allow_unused"):
        nnmed.grad((x * 2).sum(), [x, z], retain_graph=True)
    assert nnmed.grad((x * 2).sum(), [x, z], allow_unused=True)[1] is None


def test_grad_walks_only_the_ops_on_the_way():
    x, z = leaf(1.0), leaf(2.0)
    shared = z * 2
    nnmed.grad((x * 3 + shared).sum(), x)
    shared.sum().backward()  # its op was not released by the first walk
    assert z.grad.item() == 2


def test_third_derivative():
    x = leaf(0.7)
    y = (x.sin() * x).sum()
    for _ in range(3):
        (y,) = nnmed.grad(y.sum(), x, create_graph=True)
    np.testing.assert_allclose(y.data, -3 * np.sin(0.7) - 0.7 * np.cos(0.7))


def test_a_recorded_backward_can_be_differentiated_into_grad():
    x = leaf(2.0)
    (x**3).sum().backward(create_graph=True)
    (x.grad * 1.0).sum().backward()
    assert x.grad.item() == 12 + 12  # 3 x^2, and 6 x added to it


def test_second_backward_says_how_to_keep_the_graph():
    y = (leaf(1.0) ** 2).sum()
    y.backward()
    with pytest.raises(GradientError, match="retain_graph=True"):
        y.backward()


def test_retain_graph_keeps_it():
    x = leaf(3.0)
    y = (x**2).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert x.grad.item() == 12


def test_create_graph_implies_retain_graph():
    y = (leaf(3.0) ** 2).sum()
    y.backward(create_graph=True)
    y.backward()


def test_arrays_are_released_as_backward_passes():
    x = leaf(*np.ones(8))
    h = x.exp()
    y = (h * h).sum()
    array = weakref.ref(h._array)
    del h
    y.backward()
    assert array() is None


def test_a_graph_is_no_reference_cycle():
    gc.disable()
    try:
        y = leaf(1.0).exp().sqrt().sum()  # exp and sqrt keep their outputs
        op = weakref.ref(y._op)
        del y
        assert op() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("step", [lambda y, x: y * x, lambda y, x: (y * 0.0).exp()])
def test_a_deep_graph_that_keeps_tensors_is_freed_without_backward(step):
    x = leaf(1.0)
    y = x
    for _ in range(30_000):
        y = step(y, x)
    op = weakref.ref(y._op)
    del y
    assert op() is None


def test_grad_takes_arrays_and_refuses_what_is_no_tensor():
    x = leaf(1.0, 2.0)
    np.testing.assert_array_equal(nnmed.grad(x * 2, x, np.ones(2))[0].data, [2, 2])
    with pytest.raises(UsageError, match="inputs must be Tensors, got ndarray"):
        nnmed.grad((x * 2).sum(), [np.ones(2)])


def test_a_chain_of_100000_ops_runs_backward_and_is_freed():
    x = leaf(1.0)
    for run_backward in (True, False):
        y = x
        for _ in range(100_000):
            y = y + 1.0
        op = weakref.ref(y._op)
        if run_backward:
            y.sum().backward()
            assert x.grad.item() == 1
        del y
        assert op() is None


def test_backward_needs_a_scalar_or_a_gradient():
    y = leaf(1.0, 2.0) * 2
    with pytest.raises(GradientError, match="scalar"):
        y.backward()
    with pytest.raises(ShapeError, match="gradient has shape"):
        y.backward(Tensor(np.ones(3)))
    y.backward(Tensor(np.ones(2)))


def test_backward_without_requires_grad_is_an_error():
    with pytest.raises(GradientError, match="requires_grad"):
        Tensor([1.0]).sum().backward()


def test_no_grad_records_nothing_and_restores():
    x = leaf(1.0)
    with nnmed.no_grad():
        assert not (x * 2).requires_grad
        with nnmed.enable_grad():
            assert (x * 2).requires_grad

    @nnmed.no_grad()
    def decorated():
        return x * 2

    assert not decorated().requires_grad
    assert (x * 2).requires_grad


def test_a_wrong_backward_shape_is_refused():
    class Broken(nnmed.Op):
        def forward(self, x):
            return x * 2

        def backward(self, dy):
            return dy.sum()

    with pytest.raises(GradientError, match=r"Broken.*shape"):
        Broken()(leaf(1.0, 2.0)).sum().backward()


def test_an_op_without_backward_never_returns_a_number():
    class Rounded(nnmed.Op):
        def forward(self, x):
            return np.round(x)

    with pytest.raises(GradientError, match="cannot be differentiated"):
        Rounded()(leaf(1.2)).sum().backward()


def test_kept_floats_are_hidden_from_a_recorded_backward():
    class Remembers(nnmed.Op):
        def forward(self, x):
            self.keep(half=x / 2, index=np.arange(3))
            return x * x

        def backward(self, dy):
            assert "index" in self.kept
            return dy * Tensor._wrap(self.kept["half"]) * 4

    x = leaf(3.0)
    Remembers()(x).sum().backward()
    assert x.grad.item() == 6
    with pytest.raises(KeyError, match="half"):
        Remembers()(x).sum().backward(create_graph=True)


def test_an_op_knows_the_line_that_ran_it():
    y = leaf(1.0).exp()
    assert y._op.location.startswith(__file__)
    assert y._op.line == test_an_op_knows_the_line_that_ran_it.__code__.co_firstlineno + 1


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scalars_stay_arrays_of_their_dtype(dtype, create_graph):
    x = Tensor(np.array(0.5, dtype), requires_grad=True)
    y = ((x * 2.0 - 1).exp() / x + x**3).sqrt().reshape(1).reshape(()) * x
    y.backward(create_graph=create_graph)
    assert type(x.grad._array) is np.ndarray
    assert x.grad.dtype == dtype
    (again,) = nnmed.grad(x * x + x, x)
    assert type(again._array) is np.ndarray
    assert again.item() == 2


def test_observers_of_a_backward_see_tensors():
    seen = []

    class Watcher:
        def forward(self, op, inputs, output):
            pass

        def backward(self, op, dy, gradients):
            seen.append((op.name, [type(t) for t in (dy, *gradients) if t is not None]))

    watcher = Watcher()
    nnmed.autograd.op.observers.append(watcher)
    try:
        (leaf(1.0, 2.0).exp() * 3).sum().backward()
        (Tensor(2.0, requires_grad=True) * 3).backward()
    finally:
        nnmed.autograd.op.observers.remove(watcher)
    assert [name for name, _ in seen] == ["Sum", "Mul", "Exp", "Mul"]
    assert all(kind is Tensor for _, kinds in seen for kind in kinds)


def test_an_input_changed_in_place_is_noticed_by_arithmetic():
    x = leaf(1.0, 2.0)
    for y in ((x * x).sum(), (x / x).sum(), x.log().sum(), (x**2).sum()):
        with nnmed.no_grad():
            x[0] = 3
        with pytest.raises(GradientError, match="changed in place"):
            y.backward()


def test_overflow_and_nan_are_values_without_a_warning():
    x = Tensor(np.array([3e38, np.inf, -1.0, 0.0], np.float32))
    for y in (x * x, x + x, x - x, x / 0.0, x.exp(), x.log(), x.sqrt(), x.sin(), x.cos(), x**9):
        assert not np.isfinite(y.numpy()).all()
