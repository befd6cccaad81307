"""Schedules that follow one formula: steps, a line, half a cosine, a user's function."""

from __future__ import annotations

import math
from collections.abc import Callable

from nnmed.errors import UsageError
from nnmed.optim.lr_scheduler.base import LRScheduler, check_positive_integer, per_group
from nnmed.optim.optimizer import Optimizer


class LambdaLR(LRScheduler):
    """``lr(t) = lr(0) * lr_lambda(t)``.

    Parameters
    ----------
    optimizer : Optimizer
    lr_lambda : function, or list of functions, one a group
        From the number of steps to a factor. Functions are not part of the state.
    last_epoch : int
        As in :class:`LRScheduler`.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | list[Callable[[int], float]],
        last_epoch: int = -1,
    ):
        self.lr_lambdas = per_group("lr_lambda", optimizer, lr_lambda)
        super().__init__(optimizer, last_epoch)

    def closed_form(self):
        """Return the rate of each group at step ``last_epoch``, from ``base_lrs``."""
        return [
            rate * float(function(self.last_epoch))
            for rate, function in zip(self.base_lrs, self.lr_lambdas)
        ]

    def state_dict(self):
        """Return the state, ready for JSON, without the functions."""
        state = super().state_dict()
        del state["lr_lambdas"]
        return state


class StepLR(LRScheduler):
    """``lr(t) = lr(0) * gamma ** (t // step_size)``.

    Parameters
    ----------
    optimizer : Optimizer
    step_size : int
    gamma : float
    last_epoch : int
        As in :class:`LRScheduler`.
    """

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ):
        check_positive_integer("StepLR: step_size", step_size)
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        """Return the rate of each group at step ``last_epoch``, from the rates before it."""
        falls = self.last_epoch > 0 and self.last_epoch % self.step_size == 0
        return [rate * self.gamma if falls else rate for rate in self._current()]

    def closed_form(self):
        """Return the rate of each group at step ``last_epoch``, from ``base_lrs``."""
        factor = self.gamma ** (self.last_epoch // self.step_size)
        return [rate * factor for rate in self.base_lrs]


class LinearLR(LRScheduler):
    """A factor that goes in a line from one value to another: warm-up.

    ``lr(t) = lr(0) * (start_factor + (end_factor - start_factor) * min(t / total_iters, 1))``

    Parameters
    ----------
    optimizer : Optimizer
    start_factor : float
        In (0, 1].
    end_factor : float
        In [0, 1].
    total_iters : int
        Steps from start to end.
    last_epoch : int
        As in :class:`LRScheduler`.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ):
        if not 0 < start_factor <= 1:
            raise UsageError(f"LinearLR: start_factor must be in (0, 1], got {start_factor}")
        if not 0 <= end_factor <= 1:
            raise UsageError(f"LinearLR: end_factor must be in [0, 1], got {end_factor}")
        check_positive_integer("LinearLR: total_iters", total_iters)
        self.start_factor, self.end_factor = start_factor, end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        """Return the rate of each group at step ``last_epoch``, from the rates before it."""
        if self.last_epoch > self.total_iters:
            return self._current()
        ratio = self._factor(self.last_epoch)
        if self.last_epoch > 0:
            ratio /= self._factor(self.last_epoch - 1)
        return [rate * ratio for rate in self._current()]

    def closed_form(self):
        """Return the rate of each group at step ``last_epoch``, from ``base_lrs``."""
        return [rate * self._factor(self.last_epoch) for rate in self.base_lrs]

    def _factor(self, step):
        done = min(step, self.total_iters) / self.total_iters
        return self.start_factor + (self.end_factor - self.start_factor) * done


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from the first rate to the lowest, and back again after `T_max` steps.

    ``lr(t) = eta_min + (lr(0) - eta_min) * (1 + cos(pi * t / T_max)) / 2``

    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017,
    equation 5, without restarts.

    Parameters
    ----------
    optimizer : Optimizer
    T_max : int
        Steps from the first rate to the lowest.
    eta_min : float
        The lowest rate.
    last_epoch : int
        As in :class:`LRScheduler`.
    """

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ):
        check_positive_integer("CosineAnnealingLR: T_max", T_max)
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        """Return the rate of each group at step ``last_epoch``, from the rates before it."""
        if self.last_epoch == 0:
            return self._current()
        # At the lowest point there is nothing to scale: go up from eta_min itself.
        if (self.last_epoch - 1) % (2 * self.T_max) == self.T_max:
            return [
                now + (base - self.eta_min) * self._height(self.last_epoch)
                for now, base in zip(self._current(), self.base_lrs)
            ]
        ratio = self._height(self.last_epoch) / self._height(self.last_epoch - 1)
        return [self.eta_min + (rate - self.eta_min) * ratio for rate in self._current()]

    def closed_form(self):
        """Return the rate of each group at step ``last_epoch``, from ``base_lrs``."""
        height = self._height(self.last_epoch)
        return [self.eta_min + (rate - self.eta_min) * height for rate in self.base_lrs]

    def _height(self, step):
        return (1 + math.cos(math.pi * step / self.T_max)) / 2
