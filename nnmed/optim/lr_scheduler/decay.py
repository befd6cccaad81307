"""Schedules that follow one formula: steps, powers, a line, cosines, a user's function."""

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


class MultiStepLR(LRScheduler):
    """``lr(t) = lr(0) * gamma ** (number of milestones up to t)``.

    Parameters
    ----------
    optimizer : Optimizer
    milestones : list of int
        In any order; one that is there twice counts twice.
    gamma : float
    last_epoch : int
        As in :class:`LRScheduler`.
    """

    def __init__(
        self, optimizer: Optimizer, milestones: list[int], gamma: float = 0.1, last_epoch: int = -1
    ):
        for milestone in milestones:
            check_positive_integer("MultiStepLR: a milestone", milestone)
        self.milestones, self.gamma = sorted(milestones), gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        """Return the rate of each group at step ``last_epoch``, from the rates before it."""
        factor = self.gamma ** self.milestones.count(self.last_epoch)
        return [rate * factor for rate in self._current()]

    def closed_form(self):
        """Return the rate of each group at step ``last_epoch``, from ``base_lrs``."""
        factor = self.gamma ** sum(m <= self.last_epoch for m in self.milestones)
        return [rate * factor for rate in self.base_lrs]


class ExponentialLR(LRScheduler):
    """``lr(t) = lr(0) * gamma ** t``.

    Parameters
    ----------
    optimizer : Optimizer
    gamma : float
    last_epoch : int
        As in :class:`LRScheduler`.
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1):
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        """Return the rate of each group at step ``last_epoch``, from the rates before it."""
        return [rate * (self.gamma if self.last_epoch else 1) for rate in self._current()]

    def closed_form(self):
        """Return the rate of each group at step ``last_epoch``, from ``base_lrs``."""
        return [rate * self.gamma**self.last_epoch for rate in self.base_lrs]


class PolynomialLR(LRScheduler):
    """``lr(t) = lr(0) * (1 - min(t / total_iters, 1)) ** power``.

    Parameters
    ----------
    optimizer : Optimizer
    total_iters : int
        Steps until the rate is 0.
    power : float
    last_epoch : int
        As in :class:`LRScheduler`.
    """

    def __init__(
        self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1
    ):
        check_positive_integer("PolynomialLR: total_iters", total_iters)
        self.total_iters, self.power = total_iters, power
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        """Return the rate of each group at step ``last_epoch``, from the rates before it."""
        if not 0 < self.last_epoch <= self.total_iters:
            return self._current()
        left = self.total_iters - self.last_epoch
        return [rate * (left / (left + 1)) ** self.power for rate in self._current()]

    def closed_form(self):
        """Return the rate of each group at step ``last_epoch``, from ``base_lrs``."""
        factor = max(0.0, 1 - self.last_epoch / self.total_iters) ** self.power
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


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half a cosine from the first rate to the lowest, again and again from the top.

    ``lr(t) = eta_min + (lr(0) - eta_min) * (1 + cos(pi * T_cur / T_i)) / 2``, T_cur steps after
    the last restart, where T_i is `T_0` at first and `T_mult` times longer after each restart.

    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017,
    equation 5.

    Parameters
    ----------
    optimizer : Optimizer
    T_0 : int
        Steps until the first restart.
    T_mult : int
    eta_min : float
        The lowest rate.
    last_epoch : int
        As in :class:`LRScheduler`.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        T_0: int,
        T_mult: int = 1,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ):
        check_positive_integer("CosineAnnealingWarmRestarts: T_0", T_0)
        check_positive_integer("CosineAnnealingWarmRestarts: T_mult", T_mult)
        self.T_0, self.T_mult, self.eta_min = T_0, T_mult, eta_min
        self.fraction = 0.0  # of a step, where step() was given one
        super().__init__(optimizer, last_epoch)

    def step(self, epoch: float | None = None) -> None:
        """Set the learning rates of the next step, or of `epoch`, which may be a fraction."""
        if epoch is not None:
            if not epoch >= 0:
                raise UsageError(f"CosineAnnealingWarmRestarts: epoch must not be under 0: {epoch}")
            self.last_epoch = math.floor(epoch) - 1
            self.fraction = float(epoch - math.floor(epoch))
        super().step()

    def closed_form(self):
        """Return the rate of each group at step ``last_epoch``, from ``base_lrs``."""
        since, length = self.last_epoch + self.fraction, self.T_0
        if self.T_mult == 1:
            since %= length
        while since >= length:
            since, length = since - length, length * self.T_mult
        height = (1 + math.cos(math.pi * since / length)) / 2
        return [self.eta_min + (rate - self.eta_min) * height for rate in self.base_lrs]
