"""The debugger, driven by a script on standard input."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest

import nnmed
from nnmed import nn
from nnmed.autograd.op import observers


@pytest.fixture
def session(monkeypatch, capsys):
    """Run a function under the debugger with these commands; return what was written."""

    def run(function, *commands, model=None):
        monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(commands) + "\n"))
        with nnmed.debugger(model):
            function()
        assert not observers
        return capsys.readouterr().out

    return run


def formula():
    x = nnmed.Tensor([2.0, 0.5], requires_grad=True)
    y = nnmed.Tensor([3.0, 1.0], requires_grad=True)

    def backward():
        z = x * y
        (nnmed.sin(z) + z).sum().backward()

    return x, y, backward


def stops(text):
    """Return the names of the ops at which it stopped."""
    return [part.split()[0] for part in text.split("> ")[1:]]


def test_step_stops_at_every_op(session):
    x, _, backward = formula()
    text = session(backward, *["step"] * 4)
    assert stops(text) == ["Sum", "Add", "Sin", "Mul"]
    assert x.grad is not None


def test_next_goes_on_to_the_next_line(session):
    _, _, backward = formula()
    assert stops(session(backward, "next", "next")) == ["Sum", "Mul"]


def test_continue_runs_to_the_end(session):
    x, _, backward = formula()
    assert stops(session(backward, "c")) == ["Sum"]
    np.testing.assert_allclose(x.grad.numpy(), np.array([3, 1]) * (np.cos([6, 0.5]) + 1), 1e-6)


def test_quit_abandons_backward_and_goes_on_behind_the_block(session):
    x, _, backward = formula()
    reached = []
    session(lambda: (backward(), reached.append(1)), "s", "q")
    assert not reached
    assert x.grad is None


def test_the_end_of_input_is_quit(session):
    x, _, backward = formula()
    session(backward, "s")
    assert x.grad is None


def test_errors_of_the_program_come_through(session):
    with pytest.raises(ZeroDivisionError):
        session(lambda: 1 / 0)
    assert not observers


def test_break_on_an_op(session):
    _, _, backward = formula()
    text = session(backward, "break op Sin", "continue", "continue")
    assert "breakpoint: op Sin\n> Sin" in text
    assert stops(text) == ["Sum", "Sin"]


def test_break_on_a_layer(session):
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    x = nnmed.Tensor([[1.0, 2.0]])
    with nnmed.recording(model):
        loss = model(x).sum()
    text = session(loss.backward, "break layer 1", "b layer 0", "c", "c", "c", model=model)
    assert stops(text) == ["Sum", "Relu", "Linear"]
    assert "in 0" in text


def test_break_on_a_tensor(monkeypatch, capsys):
    commands = ["break tensor z", "break", "continue", "continue", "continue"]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(commands)))
    x = nnmed.Tensor(2.0, requires_grad=True)
    z = nnmed.exp(x)
    with nnmed.debugger():
        loss = nnmed.sin(nnmed.sin(z))
        loss.backward()
    text = capsys.readouterr().out
    assert "1: tensor z\n" in text
    # The op that brings z its gradient, and the one that made it.
    assert stops(text) == ["Sin", "Sin", "Exp"]
    assert x.grad is not None


def test_break_on_nan(session):
    x = nnmed.Tensor([1.0, 0.0], requires_grad=True)
    text = session(lambda: (nnmed.sqrt(x * 1) * 2).sum().backward(), "b nan", "c", "c", "c")
    assert "breakpoint: nan\n> Sqrt" in text


def test_clearing_breakpoints(session):
    _, _, backward = formula()
    text = session(backward, "b op Sin", "b op Mul", "clear 1", "clear 7", "c", "c")
    assert stops(text) == ["Sum", "Mul"]
    assert "no breakpoint '7'" in text
    text = session(backward, "b op Sin", "clear", "c")
    assert "there are no breakpoints" in text
    assert stops(text) == ["Sum"]


def test_printing_arrays(session):
    _, _, backward = formula()
    text = session(
        backward, "b op Mul", "c", "print dy", "print gradient", "print gradient b", "p gradient 7",
        "print inputs", "print nothing", "c",
    )  # fmt: skip
    expected = np.cos([6.0, 0.5]) + 1
    assert f"norm {np.linalg.norm(expected):.6g}" in text
    assert text.count("gradient of b") == 2
    assert "there is no input '7'; inputs: 0 (a), 1 (b)" in text
    assert "[2.  0.5]" in text
    assert "print dy, print gradient [INPUT] or print inputs" in text


def test_up_and_down_follow_the_gradient(session):
    _, _, backward = formula()
    text = session(
        backward, "s", "up", "print dy", "up", "up b", "down", "down", "down", "down", "print dy",
        "c",
    )  # fmt: skip
    assert stops(text) == ["Sum", "Add", "Sin", "Mul", "Add", "Sum"]
    assert "whose turn is still to come" in text
    assert "not computed yet" in text
    assert "there is no op: this input is" in text
    assert "backward began here" in text
    assert "norm 1," in text


def test_where_and_formula(session):
    _, _, backward = formula()
    text = session(backward, "where", "formula", "c")
    assert "-> " in text
    assert "(nnmed.sin(z) + z).sum().backward()" in text
    assert "dL/dx" in text


def test_mistakes_are_answered(session):
    _, _, backward = formula()
    text = session(backward, "foo", "b op", "b line 3", "b tensor q", "help", "help where", "c")
    assert "there is no command 'foo'" in text
    assert text.count("break op NAME, layer NAME, tensor NAME, or nan") == 2
    assert "no tensor is called 'q'" in text
    assert "where: show the line of your code" in text
    assert "do_s" not in text
