"""Hooks see, and may change, what goes through a module."""

from __future__ import annotations

import numpy as np
import pytest

from nnmed import nn
from nnmed.autograd import grad, gradcheck, gradgradcheck
from nnmed.autograd.tensor import Tensor
from nnmed.errors import ShapeError, UsageError
from nnmed.nn.hooks import GradientProbe

X = np.arange(6, dtype=np.float64).reshape(2, 3) / 6


def make():
    return nn.Linear(3, 2).double()


def test_forward_hooks():
    layer, calls = make(), []
    with (
        layer.register_forward_pre_hook(lambda m, args: calls.append(args[0].shape)),
        layer.register_forward_hook(lambda m, args, out: calls.append((m is layer, out.shape))),
    ):
        layer(Tensor(X))
    layer(Tensor(X))
    assert calls == [(2, 3), (True, (2, 2))]


def test_forward_hooks_that_change():
    layer = make()
    plain = layer(Tensor(2 * X)).numpy()
    layer.register_forward_pre_hook(lambda m, args: args[0] * 2)
    handle = layer.register_forward_hook(lambda m, args, out: out + 1)
    np.testing.assert_allclose(layer(Tensor(X)).numpy(), plain + 1)
    handle.remove()
    handle.remove()
    np.testing.assert_allclose(layer(Tensor(X)).numpy(), plain)


def test_a_hook_can_be_put_before_the_others():
    layer, calls = make(), []
    layer.register_forward_pre_hook(lambda m, args: calls.append("second"))
    layer.register_forward_pre_hook(lambda m, args: calls.append("first"), prepend=True)
    layer(Tensor(X))
    assert calls == ["first", "second"]


def test_hooks_that_are_always_called_see_a_failed_forward():
    layer, calls = make(), []
    layer.register_forward_hook(lambda m, args, out: calls.append("only after success"))
    layer.register_forward_hook(lambda m, args, out: calls.append((args, out)), always_call=True)
    with pytest.raises(ShapeError):
        layer(Tensor(X.T))
    (((argument,), output),) = calls
    assert argument.shape == (3, 2)
    assert output is None


def test_hooks_that_are_always_called_see_a_failed_hook_once():
    layer, calls = make(), []

    def fail(*arguments):
        raise ZeroDivisionError

    layer.register_forward_hook(lambda m, args, out: calls.append("before"), always_call=True)
    after = layer.register_forward_hook(fail)
    layer.register_forward_hook(lambda m, args, out: calls.append(out.shape), always_call=True)
    with pytest.raises(ZeroDivisionError):
        layer(Tensor(X))
    assert calls == ["before", (2, 2)]
    after.remove()
    layer.register_forward_pre_hook(fail)
    with pytest.raises(ZeroDivisionError), pytest.warns(UserWarning, match="Linear.*shape"):
        layer(Tensor(X))  # here there is no output to take the shape of
    assert calls == ["before", (2, 2), "before"]


def test_full_backward_hook_sees_both_gradients():
    layer, calls = make(), []
    layer.register_full_backward_hook(lambda m, dx, dy: calls.append((dx[0], dy[0])))
    x = Tensor(X, requires_grad=True)
    (layer(x) * 3).sum().backward()
    ((dx, dy),) = calls
    np.testing.assert_array_equal(dy.numpy(), np.full((2, 2), 3))
    np.testing.assert_allclose(dx.numpy(), x.grad.numpy())
    np.testing.assert_allclose(dx.numpy(), dy.numpy() @ layer.weight.numpy())


def test_full_backward_hook_without_a_gradient_of_the_input():
    layer, calls = make(), []
    layer.register_full_backward_hook(lambda m, dx, dy: calls.append((dx, dy[0].shape)))
    layer(Tensor(X)).sum().backward()
    assert calls == [((None,), (2, 2))]
    assert layer.weight.grad is not None


def test_full_backward_hook_that_changes():
    layer = make()
    layer.register_full_backward_hook(lambda m, dx, dy: (dx[0] * 2,))
    x = Tensor(X, requires_grad=True)
    layer(x).sum().backward()
    expected = 2 * np.ones((2, 2)) @ layer.weight.numpy()
    np.testing.assert_allclose(x.grad.numpy(), expected)


def test_second_derivatives_pass_through_a_hooked_module():
    layer = make()
    layer.register_full_backward_hook(lambda m, dx, dy: None)
    x = Tensor(X, requires_grad=True)
    (first,) = grad((layer(x) ** 3).sum(), x, create_graph=True)
    (second,) = grad(first.sum(), x)
    assert abs(second.numpy()).sum() > 0
    assert gradcheck(lambda t: GradientProbe(lambda dy: None)(t) ** 2, [x])
    assert gradgradcheck(lambda t: GradientProbe(lambda dy: None)(t) ** 2, [x])


def test_full_backward_hooks_need_one_tensor():
    loss = nn.MSELoss()
    loss.register_full_backward_hook(lambda m, dx, dy: None)
    with pytest.raises(UsageError, match="one tensor"):
        loss(Tensor(X), Tensor(X))
    pair = nn.Identity()
    pair.register_full_backward_hook(lambda m, dx, dy: None)
    pair.forward = lambda x: (x, x)
    with pytest.raises(UsageError, match="returned a tuple"):
        pair(Tensor(X))


def test_a_hook_keeps_its_tensor():
    layer, given = make(), Tensor(np.ones_like(X))
    layer.register_full_backward_hook(lambda m, dx, dy: given)
    x = Tensor(X, requires_grad=True)
    layer(x).sum().backward()
    assert not np.shares_memory(x.grad.numpy(), given.numpy())
