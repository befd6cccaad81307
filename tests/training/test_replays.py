"""What happens between the replays of a captured step, beside eager steps."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import nnmed
from nnmed import functional as F
from nnmed import nn
from nnmed.autograd.op import observers
from nnmed.data import DataLoader
from nnmed.kernels.resample.taps import linear_taps
from nnmed.optim import SGD, AdamW, GradScaler
from nnmed.training import cuda_graph
from nnmed.training.cuda_graph import CapturedStep
from nnmed.training.feed import feed
from nnmed.training.out_of_memory import FittingStep
from nnmed.training.step import TrainingStep
from tests.training.conftest import loss, samples


class Net(nn.Module):
    """Has a branch that only batches of three take."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.bn = nn.BatchNorm2d(4)
        self.head = nn.Conv2d(4, 2, 3, padding=1)
        self.aux = nn.Conv2d(4, 2, 3, padding=1)

    def forward(self, x):
        x = F.relu(self.bn(self.conv(x)))
        y = self.head(x)
        return ((y + self.aux(x)) if len(x) == 3 else y).mean((2, 3))


def batch_of(size, gpu):
    (batch,) = feed(DataLoader(samples(size), size), gpu)
    return batch


def train(wrap, gpu, sizes, between=lambda number, model: None, make=AdamW):
    """Return losses, weights, and the optimizer's state after steps with these batches."""
    nnmed.seed(0)
    model = Net().to(gpu)
    optimizer = make(model.parameters(), lr=1e-2)
    step, losses = wrap(TrainingStep(model, optimizer, loss)), []
    for number, size in enumerate(sizes):
        between(number, model)
        optimizer.param_groups[0]["lr"] = 1e-2 / (number + 1)
        losses.append(step(batch_of(size, gpu)).item())
    weights = [p.numpy() for p in model.parameters()]
    state = [v.get() if hasattr(v, "get") else v
             for values in optimizer.state.values() for v in values.values()]  # fmt: skip
    return losses, [*weights, *state]


def assert_alike(eager, captured):
    assert eager[0] == captured[0]
    for expected, got in zip(eager[1], captured[1]):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("make", [AdamW, lambda p, lr: SGD(p, lr=lr, momentum=0.9)])
def test_parameters_that_thaw_get_a_state_of_their_own(make, gpu):
    def thaw(number, model):
        for module in (model.conv, model.bn):
            module.requires_grad_(number >= 7)

    assert_alike(*(train(w, gpu, [8] * 12, thaw, make) for w in (lambda s: s, CapturedStep)))


def test_gradients_that_an_eager_step_left_have_no_part_in_a_replay(gpu):
    sizes = [8, 8, 8, 8, 3, 8, 8, 3, 8, 8]
    assert_alike(*(train(w, gpu, sizes) for w in (lambda s: s, CapturedStep)))


def test_whoever_watches_ops_sees_them(gpu):
    class Watch:
        seen = 0

        def forward(self, op, inputs, output):
            Watch.seen += 1

        def backward(self, op, dy, gradients):
            pass

    def watch(number, model):
        if number == 6:
            observers.append(watcher)
        if number == 7:
            observers.remove(watcher)

    watcher = Watch()
    assert_alike(*(train(w, gpu, [8] * 9, watch) for w in (lambda s: s, CapturedStep)))
    assert Watch.seen > 10


def test_memory_that_runs_out_in_the_capture_halves_the_batch(gpu, monkeypatch, capsys):
    import cupy

    def capture(graph):
        raise cupy.cuda.memory.OutOfMemoryError(1, 2)

    monkeypatch.setattr(cuda_graph.CudaGraph, "capture", capture)
    model = Net().to(gpu)
    step = TrainingStep(model, AdamW(model.parameters()), loss)
    fitting = FittingStep(step, lambda step: CapturedStep(step, required=True))
    for _ in range(4):
        fitting(batch_of(8, gpu))
    assert step.in_halves
    assert "two halves" in capsys.readouterr().err


def test_clipping_looks_at_what_the_optimizer_changes():
    moved = []
    for scaler in (None, GradScaler(1024.0)):
        nnmed.seed(0)
        model = Net()
        step = TrainingStep(model, SGD(model.head.parameters(), lr=1.0), loss, max_norm=0.1,
                            scaler=scaler)  # fmt: skip
        before = model.head.weight.numpy().copy()
        step(next(iter(DataLoader(samples(8), 8))))
        moved.append(model.head.weight.numpy() - before)
    np.testing.assert_allclose(*moved, rtol=1e-4, atol=1e-7)
    assert np.linalg.norm(moved[0]) > 0.05


def test_the_callers_autocast_holds_where_the_step_names_none():
    formats = []

    def noting(output, batch):
        formats.append(nnmed.backend.precision.current())
        return loss(output, batch)

    model = Net()
    step = TrainingStep(model, SGD(model.parameters(), lr=0.1), noting)
    with nnmed.autocast("bfloat16"):
        step(next(iter(DataLoader(samples(4), 4))))
    step(next(iter(DataLoader(samples(4), 4))))
    assert formats == ["bfloat16", "float32"]


def test_threads_that_train_alike_do_not_meet(gpu):
    """Each launch finds the pointers of its own parameters, whoever pointed in between."""
    pairs = [nnmed.Tensor(np.zeros(3, np.float32)).to(gpu).requires_grad_() for _ in range(2)]
    turns = threading.Barrier(2, timeout=20)
    errors = []

    def work(parameter):
        try:
            optimizer = SGD([parameter], lr=1.0)
            for _ in range(20):
                turns.wait()
                optimizer.zero_grad()
                parameter.sum().backward()
                optimizer.step()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(p,)) for p in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    for parameter in pairs:
        np.testing.assert_array_equal(parameter.numpy(), -20)


class Enlarging(nn.Module):
    """Reads taps that lie on the card as long as a cache keeps them."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)

    def forward(self, x):
        return F.interpolate(self.conv(x), scale_factor=2.0, mode="bilinear").mean((2, 3))


def test_a_graph_keeps_what_caches_let_go_of(gpu):
    nnmed.seed(0)
    model = Enlarging().to(gpu)
    step = CapturedStep(TrainingStep(model, SGD(model.parameters(), lr=0.1), loss), required=True)
    for number in range(7):
        if number == 5:
            linear_taps.cache_clear()
        step(batch_of(4, gpu)).item()
