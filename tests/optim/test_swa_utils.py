"""AveragedModel: equal to PyTorch's over training; state, buffers, errors."""

from __future__ import annotations

import numpy as np
import pytest

from nnmed import Tensor, nn, optim
from nnmed.errors import ModelError, UsageError
from nnmed.optim import swa_utils
from nnmed.optim.swa_utils import AveragedModel


def network(module):
    return module.Sequential(module.Linear(3, 4), module.BatchNorm1d(4), module.Linear(4, 2))


def batches(count):
    rng = np.random.default_rng(0)
    return [rng.standard_normal((5, 3)).astype(np.float32) for _ in range(count)]


def train(model, averaged, batches, tensor, optimizers):
    optimizer = optimizers.SGD(model.parameters(), lr=0.1)
    for x in batches:
        optimizer.zero_grad()
        (model(tensor(x)) ** 2).sum().backward()
        optimizer.step()
        averaged.update_parameters(model)


def pick(utils, kind, use_buffers):
    if kind == "swa":
        return {"use_buffers": use_buffers}
    name = "avg_fn" if kind == "ema one" else "multi_avg_fn"
    return {name: getattr(utils, f"get_ema_{name}")(0.8), "use_buffers": use_buffers}


@pytest.mark.oracle
@pytest.mark.parametrize("use_buffers", [False, True])
@pytest.mark.parametrize("kind", ["swa", "ema", "ema one"])
def test_equals_pytorch(torch, kind, use_buffers):
    from torch.optim import swa_utils as torch_utils

    torch.manual_seed(0)
    ours, theirs = network(nn), network(torch.nn)
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    averaged = AveragedModel(ours, **pick(swa_utils, kind, use_buffers))
    expected = torch_utils.AveragedModel(theirs, **pick(torch_utils, kind, use_buffers))
    train(ours, averaged, batches(6), Tensor, optim)
    train(theirs, expected, batches(6), torch.from_numpy, torch.optim)
    state = {k: v.numpy() for k, v in expected.state_dict().items()}
    assert averaged.state_dict().keys() == state.keys()
    for name, tensor in averaged.state_dict().items():
        np.testing.assert_allclose(tensor.numpy(), state[name], rtol=1e-5, atol=1e-6)
    swa_utils.update_bn([(x, 0) for x in map(Tensor, batches(3))], averaged)
    torch_utils.update_bn([torch.from_numpy(x) for x in batches(3)], expected)
    for ours, theirs in zip(averaged.module.buffers(), expected.module.buffers()):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-6)
    other = AveragedModel(network(nn))
    other.load_state_dict(state)
    assert other.n_averaged == 6


def test_a_stored_average_continues():
    model = network(nn)
    options = {"multi_avg_fn": swa_utils.get_ema_multi_avg_fn(0.9), "use_buffers": True}
    whole = AveragedModel(model, **options)
    train(model, whole, batches(3), Tensor, optim)
    resumed = AveragedModel(network(nn), **options)
    resumed.load_state_dict({k: np.array(v.numpy()) for k, v in whole.state_dict().items()})
    for averaged in (whole, resumed):
        averaged.update_parameters(network_of_ones(model))
    for a, b in zip(whole.parameters(), resumed.parameters()):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def network_of_ones(model):
    ones = network(nn)
    for parameter in ones.parameters():
        parameter.data = 1.0
    return ones


def test_the_copy_stands_alone():
    model = network(nn)
    averaged = AveragedModel(model).eval()
    assert model.training
    assert not averaged.module.training
    x = Tensor(batches(1)[0])
    before = averaged(x).numpy().copy()
    for parameter in model.parameters():
        parameter.data = 0.0
    np.testing.assert_array_equal(averaged(x).numpy(), before)
    assert all(p.grad is None for p in averaged.parameters())


def test_wrong_use():
    model = network(nn)
    with pytest.raises(UsageError, match="not both"):
        AveragedModel(model, avg_fn=max, multi_avg_fn=max)
    with pytest.raises(UsageError, match="decay"):
        swa_utils.get_ema_avg_fn(1.5)
    with pytest.raises(UsageError, match="decay"):
        swa_utils.get_ema_multi_avg_fn("high")
    averaged = AveragedModel(model)
    with pytest.raises(ModelError, match="other parameters"):
        averaged.update_parameters(nn.Linear(3, 4))
    with pytest.raises(ModelError, match="n_averaged"):
        averaged.load_state_dict(model.state_dict())


def test_update_bn_without_batch_norm():
    layer = nn.Linear(1, 1)
    swa_utils.update_bn([], layer)
    assert layer.training
