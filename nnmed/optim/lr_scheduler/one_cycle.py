"""OneCycleLR: up to a large rate and down to almost nothing, in one cycle."""

from __future__ import annotations

import math

from nnmed.errors import UsageError
from nnmed.optim.lr_scheduler.base import LRScheduler, check_positive_integer, per_group
from nnmed.optim.optimizer import Optimizer


class OneCycleLR(LRScheduler):
    """From ``max_lr / div_factor`` up to `max_lr`, then down to a small fraction of it.

    Momentum (or Adam's first beta) goes the other way. Stepped once a batch. Smith and
    Topin, "Super-convergence: very fast training of neural networks using large learning
    rates", 2018, in the form of PyTorch.

    Parameters
    ----------
    optimizer : Optimizer
    max_lr : float or list of float, one a group
    total_steps : int, optional
        Length of the cycle; otherwise ``epochs * steps_per_epoch``.
    epochs, steps_per_epoch : int, optional
    pct_start : float
        Fraction of the cycle, in [0, 1], in which the rate rises.
    anneal_strategy : "cos" or "linear"
    cycle_momentum : bool
    base_momentum, max_momentum : float or list of float, one a group
        Momentum at the largest rate, and at the start and the end.
    div_factor : float
        ``max_lr`` over the first rate.
    final_div_factor : float
        The first rate over the last.
    three_phase : bool
        Fall as slowly as the rise, then go on to the last rate.
    last_epoch : int
        As in :class:`LRScheduler`.

    Raises
    ------
    UsageError
        If an argument is out of range, the optimizer has no momentum to cycle, or the
        schedule is stepped beyond its end.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: float | list[float],
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: float | list[float] = 0.85,
        max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ):
        if total_steps is None:
            check_positive_integer("OneCycleLR: epochs (or total_steps)", epochs)
            check_positive_integer("OneCycleLR: steps_per_epoch", steps_per_epoch)
            total_steps = epochs * steps_per_epoch
        check_positive_integer("OneCycleLR: total_steps", total_steps)
        if not 0 <= pct_start <= 1:
            raise UsageError(f"OneCycleLR: pct_start must be in [0, 1], got {pct_start}")
        if not (div_factor > 0 and final_div_factor > 0):
            raise UsageError(
                f"OneCycleLR: div_factor and final_div_factor must be positive, got {div_factor} "
                f"and {final_div_factor}"
            )
        if anneal_strategy not in ("cos", "linear"):
            raise UsageError(
                f"OneCycleLR: anneal_strategy is 'cos' or 'linear', got {anneal_strategy!r}"
            )
        self.total_steps, self.anneal_strategy = total_steps, anneal_strategy
        self.cycle_momentum = cycle_momentum
        self._phases = _phases(total_steps, pct_start, three_phase)
        if last_epoch == -1:
            for group, largest in zip(
                optimizer.param_groups, per_group("OneCycleLR: max_lr", optimizer, max_lr)
            ):
                group["max_lr"] = largest
                group["initial_lr"] = largest / div_factor
                group["min_lr"] = group["initial_lr"] / final_div_factor
            if cycle_momentum:
                self._prepare_momentum(optimizer, base_momentum, max_momentum)
        super().__init__(optimizer, last_epoch)

    def closed_form(self):
        """Return the rate of each group at step ``last_epoch``."""
        return [
            self._between(group, "initial_lr", "max_lr", "min_lr")
            for group in self.optimizer.param_groups
        ]

    def _set(self, rates):
        if self.cycle_momentum:
            for group in self.optimizer.param_groups:
                momentum = self._between(group, "max_momentum", "base_momentum", "max_momentum")
                if "betas" in group:
                    group["betas"] = (momentum, *group["betas"][1:])
                else:
                    group["momentum"] = momentum
        super()._set(rates)

    def _between(self, group, low, high, last):
        """Return the value at step ``last_epoch`` on the way from `low` by `high` to `last`."""
        step = self.last_epoch
        if step > self.total_steps:
            raise UsageError(
                f"OneCycleLR: stepped {step} times, the cycle has {self.total_steps} steps"
            )
        part = next((i for i, p in enumerate(self._phases) if step <= p[0]), len(self._phases) - 1)
        begin = self._phases[part - 1][0] if part else 0.0
        end, *ways = self._phases[part]
        names = {"low": low, "high": high, "last": last}
        start, stop = [group[names[way]] for way in ways]
        done = (step - begin) / (end - begin) if end != begin else 1.0
        if self.anneal_strategy == "linear":
            return start + (stop - start) * done
        return stop + (start - stop) * (1 + math.cos(math.pi * done)) / 2

    @staticmethod
    def _prepare_momentum(optimizer, base_momentum, max_momentum):
        if "momentum" not in optimizer.defaults and "betas" not in optimizer.defaults:
            raise UsageError(
                "OneCycleLR: the optimizer has neither momentum nor betas: cycle_momentum=False"
            )
        bases = per_group("OneCycleLR: base_momentum", optimizer, base_momentum)
        tops = per_group("OneCycleLR: max_momentum", optimizer, max_momentum)
        for group, base, top in zip(optimizer.param_groups, bases, tops):
            group["base_momentum"], group["max_momentum"] = base, top


def _phases(total, rise, three_phase):
    """Return (last step, from, to) of each part of the cycle."""
    up = float(rise * total) - 1
    if not three_phase:
        return [(up, "low", "high"), (total - 1, "high", "last")]
    down = float(2 * rise * total) - 2
    return [(up, "low", "high"), (down, "high", "low"), (total - 1, "low", "last")]
