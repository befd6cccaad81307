"""nnmed.recording(): times, layers, and for how long arrays are held."""

from __future__ import annotations

import contextlib
import threading

import pytest

import nnmed
from nnmed import functional as F
from nnmed import nn
from nnmed.autograd.op import observers
from nnmed.errors import GradientError, ShapeError


def network():
    nnmed.seed(0)
    block = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    return nn.Sequential(block, nn.Linear(4, 2)), nnmed.Tensor([[1.0, 2.0, 3.0, 4.0]])


def test_times_are_known_of_recorded_graphs_alone():
    net, x = network()
    with nnmed.recording():
        recorded = net(x).sum()
    assert all(step.forward_seconds > 0 for step in nnmed.explain(recorded))
    derivation = nnmed.explain(net(x).sum())
    assert all(step.forward_seconds is None for step in derivation)
    assert all(step.backward_seconds > 0 for step in derivation)


def test_forward_and_backward_times_are_parts_of_the_whole():
    x = nnmed.Tensor([1.0] * 100_000, requires_grad=True)
    with nnmed.recording():
        loss = nnmed.exp(nnmed.sin(x)).sum()
    total, exp, sin = nnmed.explain(loss)
    records = [step.op.record for step in (sin, exp, total)]
    assert records[0].ended <= records[1].began
    assert records[1].ended <= records[2].began
    # What sin keeps is held the longest: from the first op to the last step.
    held = [step.saved[0].seconds for step in (exp, sin)]
    assert 0 < held[0] < held[1]
    assert held[1] < held[0] + exp.forward_seconds + 10 * (1 + exp.backward_seconds)


def test_without_recording_nothing_is_known_of_how_long_arrays_are_held():
    x = nnmed.Tensor(1.0, requires_grad=True)
    assert nnmed.explain(nnmed.sin(x))[0].saved[0].seconds is None


def test_layers_without_parameters_are_recorded():
    net, x = network()
    with nnmed.recording(net):
        loss = F.relu(net(x)).sum()
    derivation = nnmed.explain(loss, net)
    assert [(step.op_name, step.layer) for step in derivation] == [
        ("Sum", ""), ("Relu", ""), ("Linear", "1"), ("Relu", "0.1"), ("Linear", "0.0"),
    ]  # fmt: skip
    assert [step.op_name for step in derivation.where("0")] == ["Relu", "Linear"]


class Careful(nn.Module):
    """Goes on where one of its layers fails."""

    def __init__(self):
        super().__init__()
        self.failing, self.last = nn.Linear(9, 4), nn.Linear(4, 2)

    def forward(self, x):
        with contextlib.suppress(ShapeError, ZeroDivisionError):
            self.failing(x)
        return F.relu(self.last(x)).sum()


def layers_of_recorded(model):
    with nnmed.recording(model):
        loss = model(nnmed.Tensor([[1.0, 2.0, 3.0, 4.0]]))
    return [(step.op_name, step.layer) for step in nnmed.explain(loss, model)]


def test_after_an_exception_layers_have_their_names_again():
    assert layers_of_recorded(Careful()) == [("Sum", ""), ("Relu", ""), ("Linear", "last")]


def test_after_a_failed_hook_layers_have_their_names_again():
    def fail(module, arguments):
        raise ZeroDivisionError

    model = nn.Sequential(Careful())
    model[0].failing.register_forward_pre_hook(fail)
    assert layers_of_recorded(model) == [("Sum", "0"), ("Relu", "0"), ("Linear", "0.last")]


def test_a_hook_that_fails_before_all_others_takes_no_layer_away():
    def fail(module, arguments):
        raise ZeroDivisionError

    model, x = network()
    with nnmed.recording(model):
        with (
            model[0].register_forward_pre_hook(fail, prepend=True),
            pytest.raises(ZeroDivisionError),
        ):
            model(x)
        loss = model(x).sum()
    assert {step.layer for step in nnmed.explain(loss, model)} == {"", "0.0", "0.1", "1"}


def test_modules_of_another_thread_are_no_layers_of_this_one():
    x, inside, go_on = nnmed.Tensor([1.0], requires_grad=True), threading.Event(), threading.Event()

    class Slow(nn.Module):
        def forward(self, x):
            inside.set()
            assert go_on.wait(20)
            return x * 2.0

    model = nn.Sequential(Slow())
    with nnmed.recording(model):
        thread = threading.Thread(target=model, args=(x,))
        thread.start()
        assert inside.wait(20)
        loss = nnmed.exp(x).sum()
        go_on.set()
        thread.join()
    assert {step.layer for step in nnmed.explain(loss)} == {""}


def test_nothing_stays_behind():
    net, x = network()
    before = list(observers)
    with pytest.raises(ZeroDivisionError), nnmed.recording(net):
        raise ZeroDivisionError
    assert observers == before
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    assert net(x).shape == (1, 2)


def test_another_thread_is_not_recorded():
    x = nnmed.Tensor(1.0, requires_grad=True)
    results = []
    with nnmed.recording():
        thread = threading.Thread(target=lambda: results.append(nnmed.sin(x)))
        thread.start()
        thread.join()
    assert nnmed.explain(results[0])[0].forward_seconds is None


def test_constants_that_no_op_keeps_are_known():
    x = nnmed.Tensor([1.0, 2.0], requires_grad=True)
    constant = nnmed.Tensor([3.0, 5.0])
    assert nnmed.explain((x + constant).sum())[1].input_values[1] is None
    with nnmed.recording():
        loss = (x + constant).sum()
    derivation = nnmed.explain(loss)
    assert derivation[1].input_values[1].tolist() == [3.0, 5.0]
    assert "[1 + 3, 2 + 5]" in derivation[1].numbers
    constant[0] = 9.0
    assert nnmed.explain(loss)[1].input_values[1] is None
    with pytest.raises(GradientError, match="changed in place"):
        print(derivation[1].input_values)
