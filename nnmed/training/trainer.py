"""Trainer: epochs, validation, early stopping, checkpoints, resuming."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from pathlib import Path

from nnmed.autograd import Tensor
from nnmed.backend import random
from nnmed.backend.precision import check_format
from nnmed.data.loader import Batch, DataLoader
from nnmed.errors import AnomalyError, DeviceError, UsageError
from nnmed.nn import Module
from nnmed.optim import GradScaler, Optimizer
from nnmed.optim.lr_scheduler import ReduceLROnPlateau
from nnmed.training import checkpoint
from nnmed.training.cuda_graph import CapturedStep
from nnmed.training.feed import copied, device_of_model, finisher
from nnmed.training.history import write_history
from nnmed.training.out_of_memory import FittingStep, explaining_out_of_memory
from nnmed.training.step import TrainingStep

LAST, BEST, HISTORY = "last.safetensors", "best.safetensors", "history.csv"


class Trainer:
    """Train a model on the device where it is, and be able to go on after any interruption.

    After each epoch the folder holds ``last.safetensors`` (everything needed to go on),
    ``best.safetensors`` (the weights of the best epoch) and ``history.csv``. Everything
    random is a function of seed, epoch and position, so that a resumed run ends with the
    very bits of an uninterrupted one.

    Parameters
    ----------
    model : Module
    optimizer : Optimizer
    loss : callable (output Tensor, Batch) -> Tensor
        Mean loss of a batch, whose arrays are on the model's device. Class weights are its
        business (``F.cross_entropy`` takes them), balanced sampling is the loader's
        (`class_weights`).
    epochs : int
    folder : str or Path
        An existing folder for checkpoints and history.
    validate : callable (Module) -> dict from str to float, optional
        Scores after each epoch; they become columns of the history.
    schedule : learning-rate schedule, optional
        Stepped after every batch, or, if it takes a score (ReduceLROnPlateau), after every
        epoch with the monitored one.
    monitor : str
        Column of the history that tells the best epoch.
    mode : {"min", "max"}
        Whether a smaller or a larger value of it is better.
    window : int
        Compare the mean of the monitored value over so many epochs, the last of which is kept:
        on few validation images a single epoch is good by luck. While there are fewer, the
        latest epoch is kept. What is not finite has no part in a mean, and is never best.
    patience : int, optional
        Stop after this many epochs without a better one.
    max_norm : float, optional
        Clip the gradient to this norm.
    cuda_graph : {"auto", True, False}
        On a GPU, capture the step as a CUDA graph once batches have kept their shape: see
        :class:`nnmed.training.cuda_graph.CapturedStep`, also for what is the same to the last bit.
        "auto" goes on without where that cannot be, and says why.
    autocast : {"float16", "bfloat16"}, optional
        Multiply in this format, see :class:`nnmed.autocast`; with float16 the loss is scaled.
    flow : GradientFlow, optional
        Watches the steps, see :class:`nnmed.explain.GradientFlow`; not inside of a CUDA graph.
    settings : dict
        What must not change when a run is resumed; fit for JSON.
    report : callable (row dict) -> None, optional
        Called after each epoch.
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        loss: Callable[[Tensor, Batch], Tensor],
        *,
        epochs: int,
        folder,
        validate: Callable[[Module], dict[str, float]] | None = None,
        schedule=None,
        monitor: str = "train_loss",
        mode: str = "min",
        window: int = 1,
        patience: int | None = None,
        max_norm: float | None = None,
        cuda_graph: str | bool = "auto",
        autocast: str | None = None,
        flow=None,
        settings: dict | None = None,
        report: Callable[[dict], None] | None = None,
    ):
        if epochs < 1:
            raise UsageError(f"epochs must be at least 1, got {epochs}")
        if mode not in ("min", "max"):
            raise UsageError(f"mode must be 'min' or 'max', got {mode!r}")
        if not isinstance(window, int) or window < 1:
            raise UsageError(f"window must be a positive integer, got {window!r}")
        if autocast is not None:
            check_format(autocast)
        if cuda_graph is True and flow is not None:
            raise UsageError("cuda_graph=True with a flow, which sees nothing inside of a graph")
        if cuda_graph not in ("auto", True, False):
            raise UsageError(f"cuda_graph must be 'auto', True or False, got {cuda_graph!r}")
        self.model, self.optimizer, self.loss = model, optimizer, loss
        self.epochs, self.folder = epochs, Path(folder)
        self.validate, self.schedule = validate, schedule
        self.monitor, self.mode, self.window = monitor, mode, min(window, epochs)
        self.patience, self.cuda_graph = patience, cuda_graph
        self.max_norm, self.autocast = max_norm, autocast
        self.scaler = GradScaler(enabled=autocast == "float16")
        self.flow = flow
        self.settings, self.report = settings or {}, report
        self.rows: list[dict] = []
        self.best_epoch: int | None = None

    def fit(self, loader: DataLoader, resume: bool = False) -> list[dict]:
        """Train, and return the rows of the history.

        Parameters
        ----------
        loader : DataLoader
            Batches of training samples.
        resume : bool
            Go on from ``last.safetensors``; start afresh where there is none.

        Raises
        ------
        AnomalyError
            If the loss is no longer finite.
        UsageError
            If a run is resumed with other settings, or the loader gives no batch.
        DeviceError
            If the GPU's memory is too small for a step with half a batch, or for what is beside
            the steps, or if a CUDA graph was required and cannot be.
        ModelError
            If a checkpoint is damaged or cannot be written.
        """
        device = device_of_model(self.model)
        with explaining_out_of_memory(device, f"in training by batches of {loader.batch_size}"):
            if resume and checkpoint.exists(self.folder / LAST):
                self._restore()
            write_history(self.folder / HISTORY, self.rows)
            step = self._on_device(loader)
            for epoch in range(len(self.rows), self.epochs):
                if self._out_of_patience():
                    break
                self._fit_epoch(step, loader, epoch)
        return self.rows

    def load_best(self) -> int:
        """Load the weights of the best epoch into the model and return its number, from 1."""
        best = checkpoint.load_checkpoint(self.folder / BEST)
        self.model.load_state_dict(best.model)
        return int(best.state["epoch"])

    # -- one epoch --------------------------------------------------------------------

    def _on_device(self, loader: DataLoader) -> Callable[[Batch], Tensor]:
        """Return what does a training step on the device of the model, with a copied batch."""
        schedule = None if _takes_score(self.schedule) else self.schedule
        step = TrainingStep(
            self.model, self.optimizer, self.loss, schedule=schedule, max_norm=self.max_norm,
            autocast=self.autocast, scaler=self.scaler,
        )  # fmt: skip
        finish = finisher(loader)
        if device_of_model(self.model) == "gpu":
            return FittingStep(step, lambda step: _after(finish, self._captured(step)))
        if self.cuda_graph is True:
            raise DeviceError("cuda_graph=True: the model is on the CPU, which has no CUDA graphs")
        return _after(finish, step)

    def _captured(self, step: TrainingStep) -> Callable[[Batch], Tensor]:
        """Return the step as a CUDA graph, unless it is to be eager."""
        if self.flow is not None or not self.cuda_graph:
            return step
        return CapturedStep(step, required=self.cuda_graph is True)

    def _fit_epoch(self, step, loader: DataLoader, epoch: int) -> None:
        from tqdm import tqdm

        start = time.perf_counter()
        loader.set_epoch(epoch)
        # disable=None: no bar where stderr is no terminal
        batches = tqdm(
            copied(loader, device_of_model(self.model)), f"epoch {epoch + 1}/{self.epochs}",
            len(loader), leave=False, disable=None, unit="batch",
        )  # fmt: skip
        row = {"epoch": epoch + 1, "lr": self.optimizer.param_groups[0]["lr"]}
        row["train_loss"] = self._train_epoch(step, batches, epoch)
        row.update(self.validate(self.model) if self.validate else {})
        row["seconds"] = round(time.perf_counter() - start, 3)
        self._finish_epoch(row)

    def _train_epoch(self, step, batches, epoch: int) -> float:
        self.model.train()
        total, count = 0.0, 0
        for number, batch in enumerate(batches, 1):
            with contextlib.nullcontext() if self.flow is None else self.flow.step():
                value = step(batch).item()
            if not math.isfinite(value):
                raise AnomalyError(
                    f"the loss is {value} in epoch {epoch + 1}, batch {number}: lower the "
                    "learning rate, or search for the cause with nnmed.detect_anomaly()"
                )
            total += value * len(batch.samples)
            count += len(batch.samples)
            batches.set_postfix(loss=f"{total / count:.4f}", refresh=False)
        if not count:
            raise UsageError("there is nothing to train on: the loader gave no batch")
        return total / count

    def _finish_epoch(self, row: dict) -> None:
        if self.monitor not in row:
            raise UsageError(f"monitor {self.monitor!r} is no column: {', '.join(row)}")
        self.rows.append(row)
        if _takes_score(self.schedule):
            self.schedule.step(row[self.monitor])
        if self._is_best():
            self.best_epoch = row["epoch"]
            # Before `last`: a crash in between repeats this epoch and writes the same file.
            state = {"epoch": row["epoch"], "row": _plain(row), "settings": self.settings}
            checkpoint.save_checkpoint(self.folder / BEST, self.model, state)
        checkpoint.save_checkpoint(self.folder / LAST, self.model, self._state(), self.optimizer)
        write_history(self.folder / HISTORY, self.rows)
        if self.report is not None:
            self.report(row)

    def _monitored(self, epoch: int) -> float:
        """Return the mean of the monitored value over the window that ends with an epoch."""
        values = [row[self.monitor] for row in self.rows[max(0, epoch - self.window) : epoch]]
        finite = [value for value in values if math.isfinite(value)]
        return sum(finite) / len(finite) if math.isfinite(values[-1]) else math.nan

    def _is_best(self) -> bool:
        """Tell whether the epoch that has just ended is better than the best before it."""
        if self.best_epoch is None:
            return True
        value, best = self._monitored(len(self.rows)), self._monitored(self.best_epoch)
        if not math.isfinite(best) or self.best_epoch < self.window:
            return math.isfinite(value)
        return value < best if self.mode == "min" else value > best

    def _out_of_patience(self) -> bool:
        if self.patience is None or self.best_epoch is None:
            return False
        return len(self.rows) - self.best_epoch >= self.patience

    # -- state ------------------------------------------------------------------------

    def _state(self) -> dict:
        return {
            "rows": [_plain(row) for row in self.rows],
            "best_epoch": self.best_epoch,
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": random.get_state(),
            "settings": self.settings,
        }

    def _restore(self) -> None:
        saved = checkpoint.load_checkpoint(self.folder / LAST)
        check_settings(saved.state["settings"], self.settings)
        self.model.load_state_dict(saved.model)
        self.optimizer.load_state_dict(saved.optimizer)
        if self.schedule is not None:
            self.schedule.load_state_dict(saved.state["schedule"])
        if saved.state.get("scaler"):  # states of earlier versions have none
            self.scaler.load_state_dict(saved.state["scaler"])
        random.set_state(saved.state["random"])
        self.rows = [_from_plain(row) for row in saved.state["rows"]]
        self.best_epoch = saved.state["best_epoch"]


def check_settings(saved: dict, current: dict) -> None:
    """Raise UsageError that names every setting in which the two differ."""
    changed = [
        f"{name} was {saved.get(name)!r} and is {current.get(name)!r}"
        for name in sorted({*saved, *current})
        if saved.get(name) != current.get(name)
    ]
    if changed:
        raise UsageError(
            f"cannot resume with other settings: {'; '.join(changed)}. Give the old ones, or "
            "start a new run in another folder"
        )


def _after(prepare: Callable[[Batch], Batch], step) -> Callable[[Batch], Tensor]:
    """Return a step with batches that are prepared first, on the same device."""
    return lambda batch: step(prepare(batch))


def _takes_score(schedule) -> bool:
    return isinstance(schedule, ReduceLROnPlateau)


def _plain(row: dict) -> dict:
    """Return a row for strict JSON, which has no NaN."""
    return {
        k: repr(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()
    }


def _from_plain(row: dict) -> dict:
    return {k: float(v) if isinstance(v, str) else v for k, v in row.items()}
