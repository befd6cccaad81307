"""Memory and threads that are shared: what backward notices, and what it never shares."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import nnmed
from nnmed import Tensor
from nnmed.errors import GradientError


def leaf(*values):
    return Tensor(np.array(values, np.float64), requires_grad=True)


class GivesItsInput(nnmed.Op):
    """y = sum of x^2 / 2,   dx = x, the very array (for dy = 1)"""

    def forward(self, x):
        self.keep(inputs=(0,))
        return (x * x / 2).sum()

    def backward(self, dy):
        return self.inputs[0]


class GivesOneTwice(nnmed.Op):
    """y = a + b,   da and db are one new tensor"""

    def forward(self, a, b):
        return a + b

    def backward(self, dy):
        gradient = dy * 2.0
        return gradient, gradient


@pytest.mark.parametrize("create_graph", [False, True])
def test_a_gradient_is_nobody_elses_array(create_graph):
    x, a, b = leaf(1.0, 2.0), leaf(1.0, 2.0), leaf(3.0, 4.0)
    GivesItsInput()(x).backward(create_graph=create_graph)
    assert not np.shares_memory(x.grad._array, x._array)
    GivesOneTwice()(a, b).sum().backward(create_graph=create_graph)
    assert not np.shares_memory(a.grad._array, b.grad._array)
    a.mean().backward()
    assert a.grad._array.flags.writeable


def test_nnmed_grad_gives_arrays_of_their_own():
    a, b, dy = leaf(1.0, 2.0), leaf(3.0, 4.0), Tensor(np.ones(2))
    h, k = a * 1, b * 1
    gradients = [*nnmed.grad(h + k, [h, k, a, b], dy), *nnmed.grad(a, a, dy), dy]
    for index, gradient in enumerate(gradients):
        for other in gradients[:index]:
            assert not np.shares_memory(gradient._array, other._array)


def test_a_fresh_gradient_is_not_copied():
    from nnmed.backend.arrays import zeros_channels_last

    given = []

    class Gives(nnmed.Op):
        def forward(self, x):
            return x.sum()

        def fused_backward(self, dy):
            given.append(zeros_channels_last(self.input_shapes[0], dy.dtype))
            return given[0]

    x = Tensor(np.ones((1, 2, 3, 3)), requires_grad=True)
    Gives()(x).backward()
    assert x.grad._array is given[0]


def test_the_condition_of_where_is_watched():
    condition = Tensor(np.array([True, False]))
    y = nnmed.where(condition, leaf(1.0, 2.0), 0.0)
    condition[...] = False
    with pytest.raises(GradientError, match=r"Where .*input 0"):
        y.sum().backward()


def test_an_array_operand_is_copied():
    x, array = leaf(1.0, 2.0), np.array([3.0, 4.0])
    y = (x * array).sum()
    array[...] = 0  # a buffer that is used again
    y.backward()
    np.testing.assert_array_equal(x.grad.data, [3, 4])


def test_an_optimizer_step_is_noticed():
    from nnmed.optim import SGD

    x = leaf(1.0, 2.0)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    SGD([x], lr=0.1).step()
    with pytest.raises(GradientError, match="changed in place"):
        y.backward()


def test_loading_weights_is_noticed():
    from nnmed import nn

    model, x = nn.Linear(2, 2), Tensor(np.ones((1, 2), np.float32), requires_grad=True)
    y = model(x).sum()
    model.load_state_dict(model.state_dict())
    with pytest.raises(GradientError, match="changed in place"):
        y.backward()


def test_an_element_is_a_view():
    x = Tensor(np.zeros((2, 3)))
    x[1, 2][...] = 5
    x[0][0][...] = 4
    np.testing.assert_array_equal(x.data, [[4, 0, 0], [0, 0, 5]])


def test_an_op_is_called_once():
    op = GivesItsInput()
    op(leaf(1.0))
    with pytest.raises(GradientError, match="one node"):
        op(leaf(2.0))


def run_together(*functions):
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_threads_add_to_one_leaf():
    x = leaf(1.0)
    weight = Tensor(np.ones(10_000))

    def work():
        for _ in range(100):
            (x * weight).sum().backward()

    run_together(work, work, work)
    assert x.grad.item() == 3 * 100 * 10_000


def test_a_decorated_function_switches_each_thread_by_itself():
    inside, leaving = threading.Event(), threading.Event()
    after = {}

    @nnmed.no_grad()
    def overlapping(enter, wait):
        enter.set()
        assert wait.wait(10)

    def first():
        with nnmed.no_grad():
            overlapping(inside, leaving)
            after["first"] = nnmed.is_grad_enabled()

    def second():
        assert inside.wait(10)
        overlapping(leaving, inside)
        after["second"] = nnmed.is_grad_enabled()

    run_together(first, second)
    assert after == {"first": False, "second": True}


def test_an_error_in_backward_leaves_nothing_behind():
    class Fails(nnmed.Op):
        def forward(self, x):
            return x * 1

        def backward(self, dy):
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        Fails()(leaf(1.0)).sum().backward()
    assert nnmed.is_grad_enabled()
    assert nnmed.autograd.modes.state.backward_of is None


def test_a_backward_inside_a_backward_is_told_apart():
    class Nested(nnmed.Op):
        def forward(self, x):
            return x * 1

        def backward(self, dy):
            with nnmed.enable_grad():
                leaf(1.0).exp().sum().backward()
            assert nnmed.autograd.modes.state.backward_of is self
            return dy

    Nested()(leaf(1.0)).sum().backward()
