"""LRScheduler: what all schedules share."""

from __future__ import annotations

from collections.abc import Mapping

from nnmed.errors import ModelError, UsageError
from nnmed.optim.optimizer import Optimizer


class LRScheduler:
    """Base class of schedules that depend on the number of steps alone.

    A subclass defines ``get_lr()``, the learning rate of each group at step
    ``last_epoch`` given the rates now in the groups, and ``closed_form()``, the same
    from ``base_lrs``. The first lets two schedules act on one optimizer; the second starts
    a schedule in the middle.

    Parameters
    ----------
    optimizer : Optimizer
    last_epoch : int
        Steps already taken, less one: -1 to start.

    Attributes
    ----------
    last_epoch : int
        Steps taken.
    base_lrs : list of float
        Learning rate of each group at the start, kept as ``group["initial_lr"]``.

    Raises
    ------
    UsageError
        If an argument is out of range, or a schedule resumes on an optimizer without
        ``"initial_lr"``.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1):
        attach(self, optimizer)
        for index, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", float(group["lr"]))
            elif "initial_lr" not in group:
                raise UsageError(
                    f"{type(self).__name__}: group {index} has no 'initial_lr': load the "
                    "optimizer's state first, or start with last_epoch=-1"
                )
        self.base_lrs = [float(group["initial_lr"]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._start()

    def get_lr(self) -> list[float]:
        """Return the rate of each group at step ``last_epoch``, from the rates before it."""
        return self.closed_form()

    def closed_form(self) -> list[float]:
        """Return the rate of each group at step ``last_epoch``, from ``base_lrs``."""
        raise TypeError(f"{type(self).__name__} defines no closed_form")

    def step(self) -> None:
        """Set the learning rates of the next step."""
        self.last_epoch += 1
        self._set(self.get_lr())

    def get_last_lr(self) -> list[float]:
        """Return the learning rate of each group as last set by this schedule."""
        return self._last_lr

    def state_dict(self) -> dict:
        """Return the state, ready for JSON: everything but the optimizer and functions."""
        return {name: value for name, value in self.__dict__.items() if name != "optimizer"}

    def load_state_dict(self, state_dict: Mapping) -> None:
        """Restore what :meth:`state_dict` returned; the optimizer's is loaded separately.

        Raises
        ------
        ModelError
            If the state is one of another kind of schedule.
        """
        check_state(self, state_dict)
        self.__dict__.update(state_dict)

    def _start(self) -> None:
        """Take the step that leads to the first rates."""
        self.last_epoch += 1
        self._set(self.get_lr() if self.last_epoch == 0 else self.closed_form())

    def _restart(self) -> None:
        """Begin anew from ``base_lrs``, whatever rates another schedule has left."""
        self.last_epoch = 0
        self._set(self.closed_form())

    def _rewind(self) -> None:
        """Undo :meth:`_start`, for :class:`SequentialLR`."""
        self.last_epoch -= 1

    def _set(self, rates: list[float]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates):
            group["lr"] = float(rate)
        self._last_lr = current_rates(self.optimizer)

    def _current(self) -> list[float]:
        return current_rates(self.optimizer)


def attach(scheduler, optimizer) -> None:
    """Give `scheduler` its optimizer, checked."""
    if not isinstance(optimizer, Optimizer):
        raise UsageError(
            f"{type(scheduler).__name__}: expected an Optimizer, got {type(optimizer).__name__}"
        )
    scheduler.optimizer = optimizer


def current_rates(optimizer: Optimizer) -> list[float]:
    """Return the learning rate of each group."""
    return [float(group["lr"]) for group in optimizer.param_groups]


def check_state(scheduler, state_dict) -> None:
    """Raise ModelError unless `state_dict` has the names of the scheduler's own."""
    expected = set(scheduler.state_dict())
    found = set(state_dict) if isinstance(state_dict, Mapping) else set()
    if found != expected:
        raise ModelError(
            f"{type(scheduler).__name__}: the state has {sorted(map(str, found))}, "
            f"expected {sorted(expected)}"
        )


def per_group(name: str, optimizer: Optimizer, value) -> list:
    """Return `value` for each group: one for all, or a list with one for each."""
    count = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        return [value] * count
    if len(value) != count:
        raise UsageError(f"{name}: expected {count} values, one a group, got {len(value)}")
    return list(value)


def check_positive_integer(name: str, value) -> None:
    """Raise UsageError unless `value` is an integer above zero."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise UsageError(f"{name} must be a positive integer, got {value!r}")
