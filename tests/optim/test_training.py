"""Fifty steps of a small network: layers, losses, clipping, optimizers, schedules together."""

from __future__ import annotations

import numpy as np
import pytest

from nnmed import nn, optim
from nnmed.autograd.tensor import Tensor
from nnmed.optim import lr_scheduler


def build(module):
    return module.Sequential(
        module.Conv2d(1, 6, 3, padding=1, bias=False),
        module.BatchNorm2d(6),
        module.ReLU(),
        module.MaxPool2d(2),
        module.Conv2d(6, 8, 3),
        module.SiLU(),
        module.AdaptiveAvgPool2d(1),
        module.Flatten(),
        module.Linear(8, 3),
    )


def train(model, optimizer, schedule, loss, clip, tensor, steps=50):
    rng = np.random.default_rng(0)
    losses = []
    for _ in range(steps):
        labels = rng.integers(0, 3, 8)
        images = rng.standard_normal((8, 1, 8, 8)) + labels[:, None, None, None]
        value = loss(model(tensor(images)), tensor(labels))
        optimizer.zero_grad()
        value.backward()
        clip(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(value.item())
    return losses


def run(module, optimizers, schedules, model, tensor, kind, options):
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
    optimizer = getattr(optimizers, kind)(groups, lr=0.01, weight_decay=0.1, **options)
    warm_up = schedules.LinearLR(optimizer, start_factor=0.1, total_iters=5)
    cosine = schedules.CosineAnnealingLR(optimizer, T_max=45)
    schedule = schedules.SequentialLR(optimizer, [warm_up, cosine], milestones=[5])
    loss = module.CrossEntropyLoss(label_smoothing=0.1)
    return train(model, optimizer, schedule, loss, module.utils.clip_grad_norm_, tensor)


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "options"),
    [("SGD", {"momentum": 0.9, "nesterov": True}), ("Adam", {}), ("AdamW", {}), ("RMSprop", {})],
)
def test_a_training_run_equals_pytorch(torch, kind, options):
    # In float64, so that fifty steps do not blow rounding errors up.
    ours, theirs = build(nn).double(), build(torch.nn).double()
    ours.load_state_dict({name: t.numpy() for name, t in theirs.state_dict().items()})
    losses = run(nn, optim, lr_scheduler, ours, Tensor, kind, options)
    schedules = torch.optim.lr_scheduler
    expected = run(torch.nn, torch.optim, schedules, theirs, torch.tensor, kind, options)
    np.testing.assert_allclose(losses, expected, rtol=1e-6)
    for name, tensor in theirs.state_dict().items():
        close = {"rtol": 1e-5, "atol": 1e-7, "err_msg": name}
        np.testing.assert_allclose(ours.state_dict()[name].numpy(), tensor.numpy(), **close)
    assert np.mean(losses[-5:]) < np.mean(losses[:5])


def test_a_resumed_run_is_bit_identical(tmp_path):
    def start():
        model = build(nn)
        optimizer = optim.Adam(model.parameters(), lr=0.01)
        return model, optimizer, lr_scheduler.OneCycleLR(optimizer, 0.02, total_steps=20)

    def steps(parts, numbers):
        model, optimizer, schedule = parts
        for number in numbers:
            rng = np.random.default_rng(number)
            x = Tensor(rng.standard_normal((4, 1, 8, 8)).astype(np.float32))
            loss = nn.CrossEntropyLoss()(model(x), Tensor(rng.integers(0, 3, 4)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()

    whole = start()
    nn.save_weights(whole[0], tmp_path / "start.safetensors")
    steps(whole, range(10))

    first = start()
    nn.load_weights(first[0], tmp_path / "start.safetensors")
    steps(first, range(6))
    nn.save_weights(first[0], tmp_path / "middle.safetensors")
    metadata, arrays = optim.pack_state(first[1].state_dict())
    nn.save_arrays(arrays, tmp_path / "optimizer.safetensors")

    second = start()
    nn.load_weights(second[0], tmp_path / "middle.safetensors")
    arrays, _ = nn.load_arrays(tmp_path / "optimizer.safetensors")
    second[1].load_state_dict(optim.unpack_state(metadata, arrays))
    second[2].load_state_dict(first[2].state_dict())
    steps(second, range(6, 10))
    for ours, expected in zip(second[0].state_dict().values(), whole[0].state_dict().values()):
        np.testing.assert_array_equal(ours.numpy(), expected.numpy())
