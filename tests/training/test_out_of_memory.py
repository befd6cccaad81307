"""A batch that does not fit on the card is computed in halves."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed import functional as F
from nnmed import nn
from nnmed.backend.cuda import cupy
from nnmed.data import DataLoader, Sample
from nnmed.errors import DeviceError
from nnmed.optim import Adam
from nnmed.training import Trainer
from tests.training.conftest import loss


class Net(nn.Module):
    """Without batch norm, so that halves give the gradients of the whole batch."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.head = nn.Conv2d(4, 2, 3, padding=1)

    def forward(self, x):
        return self.head(F.tanh(self.conv(x))).mean((2, 3))


@pytest.fixture
def pool(gpu):
    pool = cupy().get_default_memory_pool()
    pool.free_all_blocks()
    yield pool
    pool.set_limit(size=0)


@pytest.fixture
def fit(gpu, tmp_path, capsys):
    """Return a function that trains on 27 images, and returns the weights and the log."""

    def fit(batch_size=15, cuda_graph=False):
        nnmed.seed(0)
        images = np.random.default_rng(0).standard_normal((27, 1, 16, 16)).astype(np.float32)
        given = [Sample(image, index % 2) for index, image in enumerate(images)]
        model = Net().to(gpu)
        optimizer = Adam(model.parameters(), lr=1e-3)
        trainer = Trainer(model, optimizer, loss, epochs=3, folder=tmp_path, cuda_graph=cuda_graph)
        capsys.readouterr()
        trainer.fit(DataLoader(given, batch_size, shuffle=True))
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
