"""ReduceLROnPlateau: lower the rate when a measure stops improving."""

from __future__ import annotations

from nnmed.errors import UsageError
from nnmed.optim.lr_scheduler.base import attach, check_state, current_rates, per_group
from nnmed.optim.optimizer import Optimizer


class ReduceLROnPlateau:
    """Multiplies the rates by `factor` when a measure has not improved for a while.

    Parameters
    ----------
    optimizer : Optimizer
    mode : "min" or "max"
        Whether a smaller or a larger measure is better.
    factor : float
        Below 1.
    patience : int
        Steps without improvement that are let pass; the next one lowers the rate.
    threshold : float
        How much better counts as better.
    threshold_mode : "rel" or "abs"
        Whether `threshold` is a fraction of the best measure or a difference from it.
    cooldown : int
        Steps after a fall during which nothing is counted.
    min_lr : float or list of float, one a group
        Lower bound of the rate.
    eps : float
        A fall smaller than this is left out.

    Raises
    ------
    UsageError
        If an argument is out of range.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | list[float] = 0.0,
        eps: float = 1e-8,
    ):
        attach(self, optimizer)
        if not factor < 1:
            raise UsageError(f"ReduceLROnPlateau: factor must be below 1, got {factor}")
        if mode not in ("min", "max"):
            raise UsageError(f"ReduceLROnPlateau: mode is 'min' or 'max', got {mode!r}")
        if threshold_mode not in ("rel", "abs"):
            raise UsageError(
                f"ReduceLROnPlateau: threshold_mode is 'rel' or 'abs', got {threshold_mode!r}"
            )
        self.mode, self.factor, self.patience = mode, factor, patience
        self.threshold, self.threshold_mode = threshold, threshold_mode
        self.cooldown, self.eps = cooldown, eps
        self.min_lrs = per_group("min_lr", optimizer, min_lr)
        self.last_epoch = 0
        self.best: float | None = None
        self.cooldown_counter = 0
        self.num_bad_epochs = 0
        self._last_lr = current_rates(optimizer)

    def step(self, metrics) -> None:
        """Take in the measure of one more step; NaN counts as not better."""
        value = float(metrics)
        self.last_epoch += 1
        if self._is_better(value):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._lower()
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = current_rates(self.optimizer)

    def get_last_lr(self) -> list[float]:
        """Return the learning rate of each group as last set by this schedule."""
        return self._last_lr

    def state_dict(self) -> dict:
        """Return the state, ready for JSON: everything but the optimizer."""
        return {name: value for name, value in self.__dict__.items() if name != "optimizer"}

    def load_state_dict(self, state_dict) -> None:
        """Restore what :meth:`state_dict` returned.

        Raises
        ------
        ModelError
            If the state is one of another kind of schedule.
        """
        check_state(self, state_dict)
        self.__dict__.update(state_dict)

    def _is_better(self, value):
        sign = 1 if self.mode == "max" else -1
        if self.best is None:  # anything but NaN and the worst value there is
            return sign * value > -float("inf")
        if self.threshold_mode == "abs":
            return sign * value > sign * self.best + self.threshold
        return sign * value > sign * self.best * (1 + sign * self.threshold)

    def _lower(self):
        for group, lowest in zip(self.optimizer.param_groups, self.min_lrs):
            rate = max(group["lr"] * self.factor, lowest)
            if group["lr"] - rate > self.eps:
                group["lr"] = rate
