"""What is recorded of a training step is what happened in it."""

from __future__ import annotations

import math

import numpy as np
import pytest

import nnmed
from nnmed import nn, optim
from nnmed.autograd.op import observers
from nnmed.errors import UsageError
from nnmed.explain import GradientFlow


def network():
    """Two of the first layer's four units are dead."""
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
    model[0].weight.data = np.ones((4, 2), np.float32)
    model[0].bias.data = np.array([0.0, 1.0, -100.0, -100.0], np.float32)
    model[2].weight.data = np.ones((1, 4), np.float32)
    model[2].bias.data = np.zeros(1, np.float32)
    return model


def train(model, flow, steps, lr=0.1):
    optimizer = optim.SGD(model.parameters(), lr=lr)
    x = nnmed.Tensor([[1.0, 2.0], [2.0, 1.0]])
    for _ in range(steps):
        with flow.step():
            optimizer.zero_grad()
            model(x).sum().backward()
            optimizer.step()


def rows_of(flow, layer):
    return [row for row in flow.rows if row["layer"] == layer]


def test_the_numbers_of_a_step():
    model = network()
    flow = GradientFlow(model, every=1)
    train(model, flow, 1)
    (first,), (relu,), (last,) = (rows_of(flow, layer) for layer in "012")
    # Each live unit gets x summed over the batch, (3, 3), for its weights and 2 for its bias.
    assert first["gradient_norm"] == pytest.approx(math.sqrt(2 * (9 + 9 + 4)))
    assert first["weight_norm"] == pytest.approx(math.sqrt(8 + 1 + 2 * 100**2))
    update = 0.1 * first["gradient_norm"]
    assert first["update_ratio"] == pytest.approx(update / first["weight_norm"], rel=1e-3)
    assert first["sign_balance"] == pytest.approx(0.5)
    assert relu["dead"] == 0.5
    assert math.isnan(relu["gradient_norm"])
    assert math.isnan(last["dead"])


def test_only_every_so_manieth_step_is_recorded():
    model = network()
    flow = GradientFlow(model, every=3)
    train(model, flow, 7)
    assert [row["step"] for row in rows_of(flow, "0")] == [0, 3, 6]


def test_looking_changes_nothing():
    watched, alone = network(), network()
    alone.load_state_dict({name: t.numpy().copy() for name, t in watched.state_dict().items()})
    train(watched, GradientFlow(watched, every=1), 3)
    train(alone, GradientFlow(alone, every=100), 3)
    for one, other in zip(watched.parameters(), alone.parameters()):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
    assert not observers
    assert not any(module._forward_hooks for module in watched.modules())


def test_channels_of_pictures_are_units():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU())
    model[0].weight.data = np.ones((2, 1, 1, 1), np.float32)
    model[0].bias.data = np.array([-0.5, -9.0], np.float32)
    x = np.zeros((2, 1, 4, 4), np.float32)
    x[1, 0, 2, 2] = 1  # one pixel of one image is enough to be alive
    flow = GradientFlow(model)
    with flow.step():
        model(nnmed.Tensor(x)).sum().backward()
    assert rows_of(flow, "1")[0]["dead"] == 0.5


def test_after_an_error_nothing_is_watched_any_more():
    flow = GradientFlow(network())
    with pytest.raises(ZeroDivisionError), flow.step():
        raise ZeroDivisionError
    assert not observers
    assert flow.rows == []


def test_on_a_gpu_the_numbers_are_the_same(gpu):
    flows = []
    for device in ("cpu", gpu):
        model = network().to(device)
        flow = GradientFlow(model)
        with flow.step():
            model(nnmed.Tensor([[1.0, 2.0], [2.0, 1.0]]).to(device)).sum().backward()
        flows.append(flow.rows)
    for one, other in zip(*flows):
        assert one == pytest.approx(other, nan_ok=True)


def test_plot(tmp_path):
    model = network()
    flow = GradientFlow(model, every=2)
    train(model, flow, 5)
    assert flow.plot(tmp_path / "flow.png").read_bytes().startswith(b"\x89PNG")


def test_gradients_must_be_there_when_the_step_ends():
    model = network()
    flow, optimizer = GradientFlow(model), optim.SGD(model.parameters(), lr=0.1)

    def step():
        with flow.step():
            model(nnmed.Tensor([[1.0, 2.0]])).sum().backward()
            optimizer.step()
            optimizer.zero_grad()

    with pytest.raises(UsageError, match=r"step 0 no parameter .*zero_grad\(\) before backward"):
        step()
    assert flow.rows == []


def test_bad_use():
    with pytest.raises(UsageError, match="positive integer, got 0"):
        GradientFlow(network(), every=0)
    with pytest.raises(UsageError, match="nothing is recorded"):
        GradientFlow(network()).plot("flow.png")
