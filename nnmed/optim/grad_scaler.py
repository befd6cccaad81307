"""Loss scaling: gradients that float16 can hold."""

from __future__ import annotations

import math

import numpy as np

from nnmed.autograd import Tensor
from nnmed.backend.arrays import array_module, device_of, is_array
from nnmed.errors import ModelError, UsageError
from nnmed.kernels import select
from nnmed.optim.optimizer import Optimizer


class GradScaler:
    """Scale the loss so that gradients do not vanish in float16, and skip steps that overflow.

    Backward of ``scale * loss`` gives ``scale`` times the gradients, which are divided by it
    before the step. Where one of them is infinite or NaN, the scale was too large: the step is
    left out and the scale made smaller. After many good steps it is made larger again::

        with nnmed.autocast("float16"):
            loss = F.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    The scale and the overflow flag live on the device of the gradients. Source: Micikevicius et
    al., "Mixed precision training", ICLR 2018, section 3.2; defaults as in PyTorch.

    Parameters
    ----------
    init_scale : float
    growth_factor, backoff_factor : float
        What the scale is multiplied by after `growth_interval` good steps, and after a bad one.
    growth_interval : int
    enabled : bool
        Without it losses and gradients pass as they are.

    Raises
    ------
    UsageError
        If the factors would not let the scale grow and shrink, or the interval is below 1.
    """

    def __init__(
        self,
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ):
        if not 0 < init_scale < math.inf:
            raise UsageError(f"GradScaler: init_scale must be positive, got {init_scale}")
        if not growth_factor > 1 or not 0 < backoff_factor < 1:
            raise UsageError(
                "GradScaler: growth_factor must be above 1 and backoff_factor between 0 and 1, got "
                f"{growth_factor} and {backoff_factor}"
            )
        if not isinstance(growth_interval, int) or growth_interval < 1:
            raise UsageError(
                f"GradScaler: growth_interval must be a positive integer, got {growth_interval!r}"
            )
        self.growth_factor, self.backoff_factor = float(growth_factor), float(backoff_factor)
        self.growth_interval, self.enabled = growth_interval, enabled
        self._scale, self._good_steps = float(init_scale), 0
        self._numbers = None  # on the device: the scale, 1, and whether there was an overflow
        self._unscaled: set[int] = set()  # optimizers whose gradients are divided already
        self._counts: list[tuple] = []  # optimizers, and their step counts before the step

    def get_scale(self) -> float:
        """Return the scale; 1 if not enabled."""
        return self._scale if self.enabled else 1.0

    def scale(self, loss: Tensor) -> Tensor:
        """Return the loss times the scale."""
        if not self.enabled:
            return loss
        scale = self._numbers_beside(loss._array)[:1].reshape(())
        return loss * Tensor._wrap(scale.astype(loss.dtype))

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients of an optimizer's parameters, for instance before clipping them.

        Raises
        ------
        UsageError
            If it was called for this optimizer since the last :meth:`update` already.
        """
        if not self.enabled:
            return
        if id(optimizer) in self._unscaled:
            raise UsageError("GradScaler: unscale_() was called twice since the last update()")
        self._unscaled.add(id(optimizer))
        parameters = [
            parameter
            for group in optimizer.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        by_device: dict = {}
        for parameter in parameters:
            by_device.setdefault(device_of(parameter.grad._array), []).append(parameter)
        for group in by_device.values():
            arrays = [parameter.grad._array for parameter in group]
            numbers = self._numbers_beside(arrays[0])
            kernel = select("optimizer", arrays[0])
            for parameter, array in zip(group, kernel.unscaled(arrays, numbers)):
                parameter.grad = Tensor._wrap(array)

    def step(self, optimizer: Optimizer):
        """Do the optimizer's step, unless a gradient is infinite or NaN.

        Gradients are divided by the scale first, unless :meth:`unscale_` has done that.

        Returns
        -------
        object
            What the optimizer returned; None for a step that was left out.
        """
        if not self.enabled:
            return optimizer.step()
        if id(optimizer) not in self._unscaled:
            self.unscale_(optimizer)
        if self._numbers is None or device_of(self._numbers) == "cpu":
            return None if self.found_overflow() else optimizer.step()
        self.before_step(optimizer)
        return optimizer.step_unless(self._numbers[1:])

    def before_step(self, optimizer: Optimizer) -> None:
        """Note an optimizer's step counts: on a GPU an overflow is known only after the step."""
        self._counts.append((optimizer, _counts(optimizer)))

    def found_overflow(self) -> bool:
        """Tell whether a gradient was infinite or NaN since the last :meth:`update`."""
        return self._numbers is not None and bool(self._numbers[2] != 0)

    def update(self) -> None:
        """Adjust the scale, after the steps of all optimizers."""
        if not self.enabled:
            return
        if self.found_overflow():
            self._scale, self._good_steps = self._scale * self.backoff_factor, 0
            for optimizer, counts in self._counts:
                _set_counts(optimizer, counts)
        else:
            self._good_steps += 1
            if self._good_steps == self.growth_interval:
                grown = self._scale * self.growth_factor
                self._scale = grown if grown <= float(np.finfo(np.float32).max) else self._scale
                self._good_steps = 0
        self.forget_step()
        self._write()

    def forget_step(self) -> None:
        """Begin anew what :meth:`update` would have ended, as after an error."""
        self._unscaled.clear()
        self._counts.clear()

    def state_dict(self) -> dict:
        """Return scale, factors and counters, fit for JSON; empty if not enabled."""
        if not self.enabled:
            return {}
        return {
            "scale": self._scale,
            "growth_factor": self.growth_factor,
            "backoff_factor": self.backoff_factor,
            "growth_interval": self.growth_interval,
            "_growth_tracker": self._good_steps,
        }

    def load_state_dict(self, state_dict: dict) -> None:
        """Restore what :meth:`state_dict` returned.

        Raises
        ------
        ModelError
            If something is missing; nothing is changed then.
        """
        if not self.enabled:
            return
        try:
            scale, tracker = float(state_dict["scale"]), int(state_dict["_growth_tracker"])
            growth, backoff = (
                float(state_dict["growth_factor"]), float(state_dict["backoff_factor"])
            )  # fmt: skip
            interval = int(state_dict["growth_interval"])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"GradScaler: the state is not one of a GradScaler: {error!r}"
            ) from None
        self._scale, self._good_steps = scale, tracker
        self.growth_factor, self.backoff_factor, self.growth_interval = growth, backoff, interval
        self._write()

    def _numbers_beside(self, array):
        """Return scale, 1, and overflow, on the device of `array`."""
        if self._numbers is None or device_of(self._numbers) != device_of(array):
            self._numbers = array_module(array).empty(3, np.float32)
            self._write()
        return self._numbers

    def _write(self) -> None:
        """Bring the scale to the device, and take back the overflow, in memory that stays."""
        if self._numbers is not None:
            numbers = np.array([self._scale, 1, 0], np.float32)
            if device_of(self._numbers) == "gpu":
                self._numbers.set(numbers)
            else:
                self._numbers[...] = numbers


def _counts(optimizer: Optimizer) -> list[tuple[dict, dict]]:
    """Return each parameter's state, and the numbers in it."""
    return [
        (state, {name: value for name, value in state.items() if not is_array(value)})
        for state in optimizer.state.values()
    ]


def _set_counts(optimizer: Optimizer, counts) -> None:
    """Take the numbers back to what they were; arrays stay."""
    for state in optimizer.state.values():
        for name in [name for name, value in state.items() if not is_array(value)]:
            del state[name]
    for state, numbers in counts:
        state.update(numbers)
