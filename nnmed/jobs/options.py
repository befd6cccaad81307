"""The options of the detection job, and the flags that set them."""

from __future__ import annotations

import argparse
import dataclasses
from dataclasses import dataclass
from pathlib import Path

from nnmed.backend import cuda
from nnmed.errors import UsageError
from nnmed.models import MODELS

# What a resumed run must share with the run that it goes on with.
_FIXED = (
    "data", "labels", "label_column", "positive", "group_column", "split_column", "size",
    "model", "networks", "epochs", "batch_size", "lr", "seed", "autocast",
)  # fmt: skip


MOST_NETWORKS = 100

# What small lesions in a few hundred images want, and what the synthetic nodules want.
OWN = {"model": "resnet", "networks": 2, "lr": 2e-3}
SYNTHETIC = {"model": "cnn", "networks": 1, "lr": 3e-3, "epochs": 10}


@dataclass
class DetectOptions:
    """Options of :func:`nnmed.jobs.detect.detect`; the flags' help texts describe them."""

    data: str | None = None
    labels: str | None = None
    label_column: str | None = None
    positive: str | None = None
    group_column: str | None = None
    split_column: str | None = None
    size: int = 96
    model: str | None = None
    networks: int | None = None
    epochs: int | None = None
    batch_size: int = 32
    lr: float | None = None
    seed: int = 0
    device: str = "auto"
    cuda_graph: str = "auto"
    autocast: str = "off"
    threads: int | None = None
    workers: int = 1
    out: str | None = None
    overwrite: bool = False
    resume: bool = False

    def __post_init__(self):
        for name, value in (SYNTHETIC if self.data is None else OWN).items():
            if getattr(self, name) is None:
                setattr(self, name, value)
        leasts = ("size", 16), ("networks", 1), ("epochs", 1), ("batch_size", 2), ("workers", 0)
        for name, least in leasts:
            if getattr(self, name) is not None and getattr(self, name) < least:
                flag = name.replace("_", "-")
                raise UsageError(f"--{flag} must be at least {least}, got {getattr(self, name)}")
        if self.networks > MOST_NETWORKS:
            raise UsageError(f"--networks must be at most {MOST_NETWORKS}, got {self.networks}")
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"--threads must be at least 1, got {self.threads}")
        if not 0 < self.lr < 10:
            raise UsageError(f"--lr must lie between 0 and 10, got {self.lr}")
        if not 0 <= self.seed < 2**31:
            raise UsageError(f"--seed must lie in [0, 2**31), got {self.seed}")
        if self.resume and self.overwrite:
            raise UsageError("--resume goes on with a run and --overwrite deletes it: give one")
        if self.resume and self.out is None:
            raise UsageError("--resume needs --out: the folder of the run to go on with")
        about = ("labels", "label_column", "positive", "group_column", "split_column")
        given = [name.replace("_", "-") for name in about if getattr(self, name) is not None]
        if self.data is None and given:
            raise UsageError(f"--{' and --'.join(given)} would describe --data, which is missing")
        if self.chosen_device() == "cpu" and self.cuda_graph == "on":
            raise UsageError("--cuda-graph on needs a GPU, and the device is the CPU")

    def chosen_device(self) -> str:
        """Return the device to train on; "auto" is a GPU where there is one.

        Raises
        ------
        DeviceError
            If a GPU is wanted that CuPy does not find.
        """
        if self.device == "auto":
            return "gpu" if cuda.is_available() else "cpu"
        if self.device == "gpu":
            cuda.cupy()
        return self.device

    def settings(self) -> dict:
        """Return what must not change when the run is resumed."""
        settings = {name: getattr(self, name) for name in _FIXED}
        for name in ("data", "labels"):
            if settings[name] is not None:
                settings[name] = str(Path(settings[name]).resolve())
        return settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the detection job to `parser`."""
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data", metavar="PATH",
        help="a folder with one folder per class, or with a CSV table in it; a CSV table; a "
        "MedMNIST .npz; a folder of DICOM files. Default: synthetic chest X-rays",
    )  # fmt: skip
    data.add_argument("--labels", metavar="CSV", help="the table to use, where there are several")
    data.add_argument("--label-column", metavar="NAME", help="its column of classes")
    data.add_argument(
        "--positive", metavar="NAME[,NAME]",
        help="the classes that are positive, or a threshold such as '>0'; the rest is negative",
    )  # fmt: skip
    data.add_argument(
        "--group-column", metavar="NAME", help="what a split must not divide, such as the patient"
    )
    data.add_argument("--split-column", metavar="NAME", help="train, val or test for each image")
    train = parser.add_argument_group("training")
    train.add_argument("--size", type=int, help="images become SIZE x SIZE pixels")
    train.add_argument(
        "--model",
        choices=sorted(MODELS),
        help="the network; default: resnet, for the synthetic images cnn",
    )
    train.add_argument(
        "--networks",
        type=int,
        help="how many are trained and averaged; default: 2, for the synthetic images 1",
    )
    train.add_argument(
        "--epochs",
        type=int,
        help="how often all training images are seen; default: by their number, 8 to 40",
    )
    train.add_argument("--batch-size", type=int, help="images a step")
    train.add_argument(
        "--lr",
        type=float,
        help="the largest learning rate; default: 0.002, for the synthetic images 0.003",
    )
    train.add_argument("--seed", type=int, help="of every random draw")
    machine = parser.add_argument_group("machine")
    machine.add_argument(
        "--device", choices=("auto", "cpu", "gpu"), help="auto: a GPU if there is one"
    )
    machine.add_argument(
        "--cuda-graph", choices=("auto", "on", "off"),
        help="on a GPU, launch a training step as a whole; auto: where it can be captured",
    )  # fmt: skip
    machine.add_argument(
        "--autocast", choices=("off", "float16", "bfloat16"),
        help="train with products in fewer bits; on the CPU slower, to study it",
    )  # fmt: skip
    machine.add_argument("--threads", type=int, help="worker threads of the kernels; default: all")
    machine.add_argument("--workers", type=int, help="threads that prepare images ahead")
    result = parser.add_argument_group("result")
    result.add_argument("--out", metavar="DIR", help="folder for the results; default: a new one")
    result.add_argument("--overwrite", action="store_true", help="replace an earlier run there")
    result.add_argument("--resume", action="store_true", help="go on with a run that is there")
    defaults = {field.name: field.default for field in dataclasses.fields(DetectOptions)}
    parser.set_defaults(**defaults)
    for action in parser._actions:
        default = defaults.get(action.dest)
        if default is not None and default is not False:
            action.help += f" (default: {default})"


def from_arguments(arguments: argparse.Namespace) -> DetectOptions:
    """Return the options that parsed flags describe."""
    fields = dataclasses.fields(DetectOptions)
    return DetectOptions(**{field.name: getattr(arguments, field.name) for field in fields})
