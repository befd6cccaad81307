"""A batch that does not fit on the card is computed in halves."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import nnmed
from nnmed import functional as F
from nnmed import nn
from nnmed.backend import random
from nnmed.backend.cuda import cupy
from nnmed.data import DataLoader, Sample
from nnmed.errors import DeviceError
from nnmed.optim import Adam
from nnmed.preprocessing import OnDevice, RandomFlip
from nnmed.training import Trainer, predict_probabilities
from nnmed.training.cuda_graph import CapturedStep
from nnmed.training.feed import feed
from nnmed.training.out_of_memory import FittingStep
from nnmed.training.step import TrainingStep
from tests.training.conftest import loss, samples


class Net(nn.Module):
    """Without batch norm, so that halves give the gradients of the whole batch."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.head = nn.Conv2d(4, 2, 3, padding=1)

    def forward(self, x):
        return self.head(F.tanh(self.conv(x))).mean((2, 3))


class Dropping(Net):
    """Has something happen between its draws of random numbers."""

    def __init__(self, happens):
        super().__init__()
        self.drop, self.happens = nn.Dropout(0.3), happens

    def forward(self, x):
        x = self.drop(F.tanh(self.conv(x)))
        self.happens()
        return self.drop(self.head(x)).mean((2, 3))


@pytest.fixture
def pool(gpu):
    pool = cupy().get_default_memory_pool()
    pool.free_all_blocks()
    yield pool
    pool.set_limit(size=0)


@pytest.fixture
def fit(gpu, tmp_path, capsys):
    """Return a function that trains on 27 images, and returns the weights and the log."""

    def fit(batch_size=15, cuda_graph=False, transform=None):
        nnmed.seed(0)
        images = np.random.default_rng(0).standard_normal((27, 1, 16, 16)).astype(np.float32)
        given = [Sample(image, index % 2) for index, image in enumerate(images)]
        model = Net().to(gpu)
        optimizer = Adam(model.parameters(), lr=1e-3)
        trainer = Trainer(model, optimizer, loss, epochs=3, folder=tmp_path, cuda_graph=cuda_graph)
        capsys.readouterr()
        trainer.fit(DataLoader(given, batch_size, shuffle=True, transform=transform))
        log = capsys.readouterr().err.splitlines()
        return {name: t.numpy() for name, t in model.state_dict().items()}, log

    return fit


def test_halves_give_the_weights_of_whole_batches(pool, fit):
    before = pool.total_bytes()
    expected, log = fit()
    assert not log
    taken = pool.total_bytes() - before
    pool.free_all_blocks()
    pool.set_limit(size=pool.used_bytes() + int(taken * 0.8))
    weights, log = fit()
    assert len(log) == 1
    assert "out of memory on the GPU with a batch of 15" in log[0]
    for name, array in expected.items():
        np.testing.assert_allclose(weights[name], array, rtol=1e-5, atol=1e-6)


def test_half_a_batch_that_does_not_fit_is_an_error(pool, fit):
    pool.set_limit(size=pool.used_bytes() + 50_000)
    with pytest.raises(DeviceError, match=r"batch of 15.* halves .*--batch-size or --size"):
        fit()


def test_a_batch_of_one_cannot_be_halved(pool, fit):
    pool.set_limit(size=pool.used_bytes() + 5_000)
    with pytest.raises(DeviceError, match=r"batch of 1, which cannot be halved"):
        fit(batch_size=1)


@pytest.mark.parametrize("failing", [1, 3, 4])
def test_a_step_begins_anew_with_the_counts_before_it(failing, fit, monkeypatch):
    """Also where memory ends in the rehearsal of a CUDA graph, or in its capture."""
    expected, _ = fit(batch_size=9)
    step, calls = Adam.step, []

    def fail(self):
        calls.append(1)
        if len(calls) != failing:
            return step(self)
        self._next_calls()
        raise cupy().cuda.memory.OutOfMemoryError(1, 1)

    monkeypatch.setattr(Adam, "step", fail)
    weights, log = fit(batch_size=9, cuda_graph="auto")
    assert len(log) == 1
    for name, array in expected.items():
        np.testing.assert_allclose(weights[name], array, rtol=1e-4, atol=1e-6)


def out_of_memory_at(*calls):
    """Return a function that ends in an error when called for these times."""
    made = []

    def call():
        made.append(1)
        if len(made) in calls:
            raise cupy().cuda.memory.OutOfMemoryError(1, 1)

    return call


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("failing", [1, 3, 4])
def test_a_step_in_halves_draws_as_if_it_had_been_so_at_once(failing, graph, gpu):
    """Also where memory ended between two draws."""

    def train(happens, wrap, in_halves_from):
        nnmed.seed(0)
        model = Dropping(happens).to(gpu)
        step = TrainingStep(model, Adam(model.parameters()), loss)
        fitting = FittingStep(step, wrap)
        for number, batch in enumerate(feed(DataLoader(samples(40), 8), gpu), 1):
            step.in_halves |= number == in_halves_from
            fitting(batch)
        assert step.in_halves
        return [p.numpy() for p in model.parameters()], random.get_state()

    expected, state = train(lambda: None, lambda step: step, failing)
    wrap = CapturedStep if graph else lambda step: step
    weights, drawn = train(out_of_memory_at(failing), wrap, None)
    assert drawn == state
    for array, same in zip(weights, expected, strict=True):
        np.testing.assert_allclose(array, same, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("graph", [False, True])
def test_other_threads_go_on_drawing(graph, gpu):
    """While a step is taken back, and while one is captured."""
    keys, fails = [], (lambda: None) if graph else out_of_memory_at(1)

    def draw_elsewhere():
        thread = threading.Thread(target=lambda: keys.append(random.draw_key(10**6)))
        thread.start()
        thread.join()
        fails()

    model = Dropping(draw_elsewhere).to(gpu)
    step = TrainingStep(model, Adam(model.parameters()), loss)
    fitting = FittingStep(step, CapturedStep if graph else lambda step: step)
    for batch in feed(DataLoader(samples(40), 8), gpu):
        fitting(batch)
    assert step.in_halves != graph
    draw_elsewhere()
    assert len(set(keys)) == len(keys) > 4


@pytest.mark.parametrize("cuda_graph", [False, "auto"])
def test_augmentation_on_the_card_halves_too(cuda_graph, fit, monkeypatch):
    """As memory that the step left, or its graph has taken, is missing there."""
    expected, _ = fit(9, cuda_graph, OnDevice(RandomFlip()))
    finish, fails = OnDevice.finish, out_of_memory_at(5)
    monkeypatch.setattr(OnDevice, "finish", lambda *given: fails() or finish(*given))
    weights, log = fit(9, cuda_graph, OnDevice(RandomFlip()))
    assert len(log) == 1
    assert "two halves" in log[0]
    for name, array in expected.items():
        np.testing.assert_allclose(weights[name], array, rtol=1e-4, atol=1e-6)


def test_augmentation_that_never_fits_is_an_error(fit, monkeypatch):
    fails = out_of_memory_at(1, 2)
    monkeypatch.setattr(OnDevice, "finish", lambda *given: fails())
    with pytest.raises(DeviceError, match=r"batch of 9.* halves"):
        fit(9, transform=OnDevice(RandomFlip()))


@pytest.mark.parametrize("limit", [2_000, 20_000])
def test_batches_that_cannot_be_copied_are_an_error(limit, pool, fit):
    pool.set_limit(size=pool.used_bytes() + limit)
    with pytest.raises(DeviceError, match=r"in training by batches of 15 .*--batch-size"):
        fit()


@pytest.mark.parametrize("limit", [1_000, 70_000])
def test_prediction_says_what_to_do(limit, pool, gpu):
    """Where memory ends in the copy of a batch, and in the model."""
    model, loader = Net().to(gpu), DataLoader(samples(60), 30)
    pool.set_limit(size=pool.used_bytes() + limit)
    with pytest.raises(DeviceError, match=r"prediction by batches of 30 .*lower --batch-size"):
        predict_probabilities(model, loader)
    pool.set_limit(size=0)
    assert len(predict_probabilities(model, loader)) == 60
