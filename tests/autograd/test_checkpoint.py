"""checkpoint: the numbers of the plain graph, with less kept."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import nnmed
from nnmed import Tensor, checkpoint, nn
from nnmed import functional as F
from nnmed.autograd import Op
from nnmed.backend import random
from nnmed.errors import GradientError, UsageError


def leaf(*values):
    return Tensor(np.array(values, np.float64), requires_grad=True)


def graph(*outputs) -> list[Op]:
    """Return the ops behind `outputs`."""
    found, stack = [], [y._op for y in outputs]
    while stack:
        op = stack.pop()
        if isinstance(op, Op) and op not in found:
            found.append(op)
            stack.extend(op.edges)
    return found


def kept_bytes(*outputs) -> int:
    """Return the bytes that the graph behind `outputs` keeps, an array counted once."""
    arrays = {id(array): array.nbytes for op in graph(*outputs) for array in op.kept_arrays()}
    return sum(arrays.values())


def network():
    random.seed(5)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.4),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 3),
    )  # fmt: skip


def train_step(run):
    model = network()
    x = Tensor(np.random.default_rng(0).standard_normal((3, 2, 8, 8), np.float32), True)
    loss = (run(model, x) ** 2).sum()
    loss.backward()
    F.dropout(x)  # the streams of random numbers stand where they stood
    gradients = [x.grad, *(p.grad for p in model.parameters())]
    results = [loss, *gradients, *model.buffers(), F.dropout(x)]
    return [t.numpy() for t in results]


@pytest.mark.parametrize(
    "run",
    [
        checkpoint,
        lambda model, x: model[2:](checkpoint(model[:2], x)),
        lambda model, x: checkpoint(lambda x: checkpoint(model[4:], checkpoint(model[:4], x)), x),
    ],
    ids=["whole", "part", "nested"],
)
def test_a_training_step_is_the_same(run):
    for ours, expected in zip(train_step(run), train_step(lambda model, x: model(x)), strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_the_function_runs_twice():
    runs = []

    def function(x):
        runs.append(nnmed.is_grad_enabled())
        return x.exp().exp()

    x = leaf(0.1, 0.2)
    y = checkpoint(function, x)
    y.sum().backward()
    assert runs == [True, True]
    np.testing.assert_allclose(x.grad.data, y.data * np.exp(x.data))
    with nnmed.no_grad():
        assert not checkpoint(function, x).requires_grad
    assert runs == [True, True, False]


def test_only_what_lies_outside_is_kept():
    x = Tensor(np.ones((10, 10)), requires_grad=True)

    def layers(x):
        for _ in range(20):
            x = x.exp().log()
        return x

    plain, one = layers(x), checkpoint(layers, x)
    assert kept_bytes(plain) == 20 * 800  # what exp gives and log takes
    assert kept_bytes(one) == 0
    pieces = x
    for _ in range(4):
        pieces = checkpoint(layers, pieces)
    alive = []

    def watched(x):
        y = layers(x)
        alive.append(len([op for op in graph(y) if op.kept_arrays()]))
        return y

    checkpoint(watched, checkpoint(watched, x)).sum().backward()
    assert alive == [0, 0, 0, 0], "the second run hands over what it keeps at once"
    assert kept_bytes(pieces) == 0
    pieces.sum().backward()


def test_intermediate_arrays_are_freed():
    seen = []

    def function(x):
        h = x.exp()
        seen.append(weakref.ref(h._array))
        return h.sqrt()

    gc.disable()
    try:
        y = checkpoint(function, leaf(1.0))
        assert seen[0]() is None
        op = weakref.ref(y._op)
        z = y.sum()
        del y
        z.backward()
        assert seen[1]() is None
        assert op() is None
    finally:
        gc.enable()


def test_a_graph_of_checkpoints_is_freed_without_backward():
    gc.disable()
    try:
        y = checkpoint(lambda x: checkpoint(lambda x: x.exp().exp(), x), leaf(1.0))
        op = weakref.ref(y._op)
        del y
        assert op() is None
    finally:
        gc.enable()


def function(x, w):
    return (x * w).sin() * x.exp()


def test_several_outputs_keywords_and_constants():
    x, w = leaf(0.3, 0.5), leaf(2.0, -1.0)

    def outputs(x, *, w, names):
        return {names[0]: x * w, names[1]: [x.exp(), "text"]}

    result = checkpoint(outputs, x, w=w, names=("a", "b"))
    (result["a"] * result["b"][0]).sum().backward()
    np.testing.assert_allclose(w.grad.data, x.data * np.exp(x.data))
    np.testing.assert_allclose(x.grad.data, w.data * np.exp(x.data) * (1 + x.data))
    constant = Tensor(np.ones(2))
    checkpoint(function, constant, w).sum().backward()  # no input before needs a gradient
    assert checkpoint(lambda x: x, constant) is constant


@pytest.mark.parametrize("nested", [False, True])
def test_second_derivatives(nested):
    def run(x, w):
        if nested:
            return checkpoint(lambda x, w: checkpoint(function, x, w) * w, x, w)
        return checkpoint(function, x, w)

    x, w = leaf(0.3, 0.5), leaf(2.0, -1.0)
    assert nnmed.gradcheck(run, [x, w])
    assert nnmed.gradgradcheck(run, [x, w])


def test_gradients_of_inner_tensors_and_twice():
    x, w = leaf(0.3, 0.5), leaf(2.0, -1.0)
    inner = []

    def remembers(x, w):
        inner.append(x * w)
        return inner[-1].exp()

    y = checkpoint(remembers, x, w).sum()
    (d_inner,) = nnmed.grad(y, inner[0], retain_graph=True)
    np.testing.assert_allclose(d_inner.data, np.exp(x.data * w.data))
    first = nnmed.grad(y, [x, w], retain_graph=True)
    second = nnmed.grad(y, [x, w])
    for a, b in zip(first, second):
        np.testing.assert_array_equal(a.data, b.data)
    assert len(inner) == 2
    with pytest.raises(GradientError, match="retain_graph=True"):
        y.backward()


def test_changes_between_forward_and_backward_are_refused():
    x, w, bias = leaf(0.3, 0.5), leaf(2.0, -1.0), leaf(1.0, 1.0)
    for changed in (x, w, bias):
        y = checkpoint(lambda x: (x * w + bias).exp(), x).sum()
        with nnmed.no_grad():
            changed[0] = 3
        with pytest.raises(GradientError, match="changed in place since the function ran"):
            y.backward(retain_graph=True)
        with pytest.raises(GradientError, match="changed in place since the function ran"):
            y.backward()


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (lambda x: x.exp().sin(), "was Cos of .* and is Sin of"),
        (lambda x: x.exp(), "ran 2 ops the first time and 1"),
        (lambda x: x.exp().cos().sin(), "was no op of None and is Sin"),
    ],
)
def test_a_function_that_does_something_else_is_refused(second, message):
    functions = [lambda x: x.exp().cos(), second]
    y = checkpoint(lambda x: functions.pop(0)(x), leaf(1.0, 2.0))
    with pytest.raises(GradientError, match=message):
        y.sum().backward()
    assert not nnmed.autograd.modes.state.watchers
    assert not nnmed.autograd.op.observers


def test_tensors_of_its_own_are_changed_again():
    def masked(x):
        mask = Tensor(np.ones(2))
        mask[0] = 0
        return (x * mask).exp()

    x = leaf(1.0, 2.0)
    checkpoint(masked, x).sum().backward()
    np.testing.assert_allclose(x.grad.data, [0, np.exp(2.0)])


def test_functions_with_random_numbers_of_other_threads_about():
    import threading

    x = Tensor(np.ones(1000, np.float32), requires_grad=True)
    y = checkpoint(lambda x: F.dropout(F.dropout(x)), x)
    thread = threading.Thread(target=lambda: [F.dropout(x) for _ in range(5)])
    thread.start()
    thread.join()
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.data, y.data)


def test_reentrant_is_refused():
    with pytest.raises(UsageError, match="use_reentrant"):
        checkpoint(function, leaf(1.0), leaf(1.0), use_reentrant=True)
