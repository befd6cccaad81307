"""SequentialLR: one schedule after another."""

from __future__ import annotations

from bisect import bisect_right

from nnmed.errors import ModelError, UsageError
from nnmed.optim.lr_scheduler.base import LRScheduler, attach, check_state
from nnmed.optim.lr_scheduler.plateau import ReduceLROnPlateau
from nnmed.optim.optimizer import Optimizer


class SequentialLR(LRScheduler):
    """Runs schedules one after another; each begins at step 0 of its own.

    Parameters
    ----------
    optimizer : Optimizer
    schedulers : list of LRScheduler
        All of `optimizer`; stepped through this one only.
    milestones : list of int
        Steps, increasing, at which the second, third, ... takes over.
    last_epoch : int
        As in :class:`LRScheduler`.

    Examples
    --------
    Warm-up over 5 epochs, then half a cosine over 45::

        warm_up = LinearLR(optimizer, start_factor=0.1, total_iters=5)
        cosine = CosineAnnealingLR(optimizer, T_max=45)
        schedule = SequentialLR(optimizer, [warm_up, cosine], milestones=[5])
    """

    def __init__(
        self,
        optimizer: Optimizer,
        schedulers: list[LRScheduler],
        milestones: list[int],
        last_epoch: int = -1,
    ):
        attach(self, optimizer)
        self._schedulers, self._milestones = list(schedulers), list(milestones)
        self._check()
        self.last_epoch = last_epoch + 1
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        for scheduler in self._schedulers:
            scheduler._rewind()
        self._active()._start()
        self._last_lr = self._active().get_last_lr()

    def step(self) -> None:
        """Set the learning rates of the next step."""
        self.last_epoch += 1
        if self.last_epoch in self._milestones:
            self._active()._restart()
        else:
            self._active().step()
        self._last_lr = self._active().get_last_lr()

    def state_dict(self) -> dict:
        """Return the state, ready for JSON, with the states of the schedules in it."""
        state = super().state_dict()
        state["_schedulers"] = [scheduler.state_dict() for scheduler in self._schedulers]
        return state

    def load_state_dict(self, state_dict) -> None:
        """Restore what :meth:`state_dict` returned.

        Raises
        ------
        ModelError
            If the state is one of other schedules.
        """
        check_state(self, state_dict)
        states = state_dict["_schedulers"]
        if not isinstance(states, list) or len(states) != len(self._schedulers):
            raise ModelError(
                f"SequentialLR: expected the states of {len(self._schedulers)} schedulers"
            )
        for scheduler, state in zip(self._schedulers, states):
            check_state(scheduler, state)
        for scheduler, state in zip(self._schedulers, states):
            scheduler.load_state_dict(state)
        own = {name: value for name, value in state_dict.items() if name != "_schedulers"}
        self.__dict__.update(own)

    def _active(self) -> LRScheduler:
        return self._schedulers[bisect_right(self._milestones, self.last_epoch)]

    def _restart(self):
        self.last_epoch = 0
        self._active()._restart()
        self._last_lr = self._active().get_last_lr()

    def _start(self):
        self.last_epoch += 1
        self._active()._start()
        self._last_lr = self._active().get_last_lr()

    def _rewind(self):
        self.last_epoch -= 1
        for scheduler in self._schedulers:
            scheduler._rewind()

    def _check(self):
        schedulers, milestones = self._schedulers, self._milestones
        if not schedulers or len(milestones) != len(schedulers) - 1:
            raise UsageError(
                "SequentialLR: needs one milestone fewer than schedulers, got "
                f"{len(schedulers)} schedulers and {len(milestones)} milestones"
            )
        if any(a >= b for a, b in zip([0, *milestones], milestones)):
            raise UsageError(f"SequentialLR: milestones must increase from 1, got {milestones}")
        for index, scheduler in enumerate(schedulers):
            if isinstance(scheduler, ReduceLROnPlateau) or not isinstance(scheduler, LRScheduler):
                raise UsageError(
                    f"SequentialLR: scheduler {index} is a {type(scheduler).__name__}, which "
                    "does not depend on the number of steps alone"
                )
            if scheduler.optimizer is not self.optimizer:
                raise UsageError(f"SequentialLR: scheduler {index} has another optimizer")
