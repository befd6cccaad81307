"""A training step as a CUDA graph: the numbers of eager steps, or a word why not."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed import functional as F
from nnmed import nn
from nnmed.backend import cuda
from nnmed.data import DataLoader
from nnmed.errors import DeviceError, UsageError
from nnmed.optim import SGD, AdamW, GradScaler, NAdam
from nnmed.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau
from nnmed.training import Trainer, cuda_graph
from nnmed.training.feed import feed
from nnmed.training.step import TrainingStep
from tests.training.conftest import loss, noise, samples

EPOCHS = 3


class Net(nn.Module):
    """Convolution, batch norm, random slopes and dropout, twice; no product of matrices."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.bn = nn.BatchNorm2d(4)
        self.rrelu = nn.RReLU()
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Conv2d(4, 2, 3, padding=1)

    def forward(self, x):
        x = self.dropout(self.rrelu(self.bn(self.conv(x))))
        return self.dropout(self.head(x)).mean((2, 3))


class Recomputing(Net):
    """Draws the same random numbers again in backward."""

    def forward(self, x):
        return nnmed.checkpoint(super().forward, x)


def large_loss(output, batch):
    return loss(output, batch) * 1e3


@pytest.fixture
def train(gpu, tmp_path, capsys):
    """Return a function that trains afresh on the GPU and returns what is left, and the log."""

    def train(
        cuda_graph, count=44, net=Net, make_optimizer=AdamW, plateau=False, scale=None, **options
    ):
        nnmed.seed(0)
        model = net().to(gpu)
        optimizer = make_optimizer(model.parameters(), lr=1e-2)
        loader = DataLoader(samples(count), 8, shuffle=True, transform=noise)
        if plateau:
            schedule = ReduceLROnPlateau(optimizer, patience=0)
        else:
            schedule = OneCycleLR(optimizer, 1e-2, total_steps=EPOCHS * len(loader))
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        options = {"loss": loss, "schedule": schedule, "cuda_graph": cuda_graph, **options}
        trainer = Trainer(model, optimizer, epochs=EPOCHS, folder=folder, **options)
        if scale is not None:
            trainer.scaler = GradScaler(scale, growth_interval=3)
        capsys.readouterr()
        trainer.fit(loader)
        return trainer, capsys.readouterr().err

    return train


@pytest.fixture
def launched(monkeypatch):
    """Count the launches of graphs."""
    count = []
    launch = cuda_graph.CudaGraph.launch
    monkeypatch.setattr(
        cuda_graph.CudaGraph, "launch", lambda self, batch: count.append(1) or launch(self, batch)
    )
    return count


def left_behind(trainer):
    """Return all that training changes, by name."""
    optimizer = trainer.optimizer
    arrays = {name: t.numpy() for name, t in trainer.model.state_dict().items()}
    for number, (parameter, values) in enumerate(optimizer.state.items()):
        arrays |= {
            f"{number} {key}": v.get() if hasattr(v, "get") else v for key, v in values.items()
        }
        if parameter.grad is not None:
            arrays[f"{number} gradient"] = parameter.grad.numpy()
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in trainer.rows]
    state = trainer.scaler.state_dict(), nnmed.backend.random.get_state()
    return arrays, rows, optimizer.param_groups[0]["lr"], state


def assert_same(first, second):
    (arrays, *rest), (others, *other_rest) = left_behind(first), left_behind(second)
    assert rest == other_rest
    assert arrays.keys() == others.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, others[name], err_msg=name)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"make_optimizer": lambda p, lr: SGD(p, lr=lr, momentum=0.9), "max_norm": 0.1},
        {"make_optimizer": NAdam, "plateau": True},
        {"net": Recomputing},
        {"autocast": "bfloat16"},
        {"autocast": "float16", "make_optimizer": NAdam},
        {
            "autocast": "float16",
            "scale": 2.0**20,
            "loss": large_loss,
            "make_optimizer": NAdam,
            "max_norm": 0.1,
        },
    ],
    ids=[
        "adamw",
        "sgd, clipped",
        "nadam, plateau",
        "recomputing",
        "bfloat16",
        "float16",
        "float16, overflows",
    ],
)
def test_the_same_bits_as_eager_steps(train, launched, options):
    eager, _ = train(False, **options)
    assert not launched
    captured, log = train("auto", **options)
    assert_same(eager, captured)
    # Of 6 batches an epoch the last is smaller; two warm up and one is the rehearsal, which is
    # repeated where it overflows.
    most = EPOCHS * 5 - 3
    assert 0 < len(launched) < most if "scale" in options else len(launched) == most
    assert not log


def test_overflows_are_skipped_and_the_scale_recovers(train, launched):
    trainer, _ = train("auto", autocast="float16", scale=2.0**20, loss=large_loss)
    assert launched
    assert 2.0**10 < trainer.scaler.get_scale() < 2.0**20
    steps = {values["step"] for values in trainer.optimizer.state.values()}
    assert 0 < min(steps) < EPOCHS * 6  # some were left out
    assert all(np.isfinite(p.numpy()).all() for p in trainer.model.parameters())


@pytest.mark.parametrize("sizes", [[8] * 6, [8, 8, 3, 8, 8, 3, 8]])
def test_gradients_and_loss_of_each_launch_are_shown(sizes, gpu, launched):
    """Of a model, too, one of whose parameters the optimizer lacks."""
    shown = []
    for wrap in (lambda step: step, cuda_graph.CapturedStep):
        nnmed.seed(0)
        model = Net().to(gpu)
        optimizer = SGD(list(model.parameters())[1:], lr=0.1)
        step = wrap(TrainingStep(model, optimizer, loss, max_norm=0.1))
        given, results = iter(samples(sum(sizes))), []
        for size in sizes:
            (batch,) = feed(DataLoader([next(given) for _ in range(size)], size), gpu)
            value = step(batch).item()
            results.append([value, *[parameter.grad.numpy() for parameter in model.parameters()]])
        shown.append(results)
    assert launched
    for eager, captured in zip(*shown):
        for expected, got in zip(eager, captured):
            np.testing.assert_array_equal(got, expected)


class Curious(Net):
    """Reads a number of the device in each step."""

    def forward(self, x):
        y = super().forward(x)
        return y * (1.0 if float(y.sum()) < 1e9 else 2.0)


class Product(Net):
    """Calls cuBLAS, which CuPy does not capture, whatever nnmed's own products do."""

    def forward(self, x):
        y = super().forward(x)
        return y + nnmed.Tensor(y._array @ y._array.T @ y._array) * 1e-3


def of_the_host(output, batch):
    labels = nnmed.Tensor(np.array([sample.label for sample in batch.samples])).to(output.device)
    return F.cross_entropy(output, labels)


def from_the_host(output, batch):
    weight = nnmed.Tensor(np.ones(2, np.float32)).to(output.device)
    return F.cross_entropy(output, nnmed.Tensor(batch.label), weight=weight)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"net": Curious}, "capturing"),
        ({"net": Product}, "cuBLAS"),
        ({"loss": of_the_host}, "batch.samples"),
        ({"loss": from_the_host}, "comes from the CPU"),
    ],
)
def test_what_cannot_be_captured_goes_on_eagerly(train, launched, options, reason):
    eager, _ = train(False, **options)
    tried, log = train("auto", **options)
    assert not launched
    assert_same(eager, tried)
    assert len(log.splitlines()) == 1
    assert log.startswith("no CUDA graph:")
    assert reason in log
    with pytest.raises(DeviceError, match=reason):
        train(True, **options)


def test_a_model_that_was_changed_is_captured_anew(train, launched):
    epochs = []

    def freeze(model):
        epochs.append(1)
        model.conv.requires_grad_(len(epochs) % 3 != 1)  # not in the second epoch
        return {}

    eager, _ = train(False, validate=freeze)
    captured, _ = train(True, validate=freeze)
    assert launched
    assert_same(eager, captured)


def test_few_batches_are_computed_eagerly(train, launched):
    train(True, count=8)
    assert not launched


def test_a_cpu_has_no_graphs(make_run):
    trainer, loader = make_run(cuda_graph=True)
    with pytest.raises(DeviceError, match="CPU"):
        trainer.fit(loader)
    with pytest.raises(UsageError, match="cuda_graph"):
        make_run(cuda_graph="yes")


class Head(Net):
    """With products of matrices, which cuBLAS would multiply in eager steps."""

    def __init__(self):
        super().__init__()
        self.narrow = nn.Conv2d(4, 6, 1)
        self.fc = nn.Linear(6, 2)

    def forward(self, x):
        x = self.rrelu(self.bn(self.conv(x)))
        return self.fc(self.dropout(self.narrow(x).mean((2, 3))))


def test_the_same_bits_where_eager_steps_leave_out_cublas(train, launched):
    with cuda.without_cublas():
        eager, _ = train(False, net=Head)
    captured, log = train("auto", net=Head)
    assert len(launched) == EPOCHS * 5 - 3
    assert not log
    assert_same(eager, captured)
