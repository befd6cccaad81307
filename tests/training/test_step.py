"""One training step: whose gradients it forgets, and what it is in halves."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed.data.loader import collate
from nnmed.optim import SGD
from nnmed.training.step import HostState, TrainingStep
from tests.training.conftest import Net, loss, samples


@pytest.fixture
def step():
    model = Net()
    model.bn.eval()  # its statistics would be those of halves
    model.dropout.eval()
    return TrainingStep(model, SGD([model.fc.weight], lr=0.1), loss)


def gradients(step):
    return [parameter.grad.numpy().copy() for parameter in step.model.parameters()]


def test_no_gradient_adds_up(step):
    batch = collate(samples(8))
    step.optimizer.param_groups[0]["lr"] = 0.0
    step(batch)
    first = gradients(step)
    step(batch)
    for before, after in zip(first, gradients(step)):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_halves_give_loss_and_gradients_of_the_whole(count, step):
    batch = collate(samples(count))
    step.optimizer.param_groups[0]["lr"] = 0.0
    value, whole = step(batch).item(), gradients(step)
    step.in_halves = True
    assert step(batch).item() == pytest.approx(value, rel=1e-6)
    for expected, got in zip(whole, gradients(step)):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-7)


def test_a_step_can_be_taken_back_on_the_host():
    model = Net()
    optimizer = nnmed.optim.Adam(model.parameters())
    step, batch = TrainingStep(model, optimizer, loss), collate(samples(4))
    step(batch)
    before = HostState(step)
    step(batch)
    assert {values["step"] for values in optimizer.state.values()} == {2}
    before.restore()
    assert {values["step"] for values in optimizer.state.values()} == {1}
