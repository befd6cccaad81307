"""A small network and data set on which every part of training shows."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed import functional as F
from nnmed import nn
from nnmed.data import DataLoader, Sample
from nnmed.optim import AdamW
from nnmed.optim.lr_scheduler import OneCycleLR
from nnmed.training import Trainer


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.bn = nn.BatchNorm2d(4)
        self.dropout = nn.Dropout(0.3)
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        x = F.relu(self.bn(self.conv(x)))
        return self.fc(self.dropout(x.mean((2, 3))))


def samples(count=24):
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 2
    images = rng.standard_normal((count, 1, 8, 8)) + labels[:, None, None, None]
    return [Sample(i.astype(np.float32), int(label)) for i, label in zip(images, labels)]


def noise(sample, rng):
    return Sample(
        sample.image + rng.standard_normal((1, 8, 8), np.float32) * np.float32(0.1), sample.label
    )


def loss(output, batch):
    return F.cross_entropy(output, nnmed.Tensor(batch.label))


@pytest.fixture
def make_run(tmp_path):
    """Return a function that makes a (trainer, loader) pair as a fresh process would."""

    def make(folder="run", epochs=4, seed=0, make_schedule=None, **options):
        nnmed.seed(seed)
        (tmp_path / folder).mkdir(exist_ok=True)
        model = Net()
        loader = DataLoader(samples(), 8, shuffle=True, seed=seed, transform=noise)
        optimizer = AdamW(model.parameters(), lr=1e-2)
        if make_schedule is None:
            schedule = OneCycleLR(optimizer, 1e-2, total_steps=epochs * len(loader))
        else:
            schedule = make_schedule(optimizer)
        options = {"settings": {"seed": seed}, **options}
        trainer = Trainer(
            model, optimizer, loss,
            epochs=epochs, folder=tmp_path / folder, schedule=schedule, **options,
        )  # fmt: skip
        return trainer, loader

    return make
