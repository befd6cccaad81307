"""Loss scaling: gradients that float16 can hold."""

from __future__ import annotations

import math

import numpy as np

from nnmed.autograd import Tensor
from nnmed.backend.arrays import array_module, device_of
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

    Attributes
    ----------
    skipped : bool
        Whether a step was left out before the last :meth:`update`.

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
        # On the devices: the scale; and for each optimizer the scale, 1, and whether there was an
        # overflow.
        self._scales: dict[str, object] = {}
        self._numbers: dict[tuple, object] = {}
        self._unscaled: set[int] = set()  # optimizers whose gradients are divided already
        self._states: list[tuple] = []  # optimizers, and their state before the step
        self.skipped = False

    def get_scale(self) -> float:
        """Return the scale; 1 if not enabled."""
        return self._scale if self.enabled else 1.0

    def scale(self, loss: Tensor) -> Tensor:
        """Return the loss times the scale."""
        if not self.enabled:
            return loss
        scale = self._beside(loss._array, self._scales, loss.device)[0:1].reshape(())
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
        for device, group in by_device.items():
            arrays = [parameter.grad._array for parameter in group]
            numbers = self._beside(arrays[0], self._numbers, (id(optimizer), device))
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
        on_gpu = self._numbers.get((id(optimizer), "gpu"))
        if on_gpu is None:
            return None if self.found_overflow(optimizer) else optimizer.step()
        self.before_step(optimizer)
        return optimizer.step_unless(on_gpu[1:])

    def before_step(self, optimizer: Optimizer) -> None:
        """Note an optimizer's state: on a GPU an overflow is known only after the step."""
        if self.enabled:
            state = [(values, dict(values)) for values in optimizer.state.values()]
            self._states.append((optimizer, state))

    def found_overflow(self, optimizer: Optimizer) -> bool:
        """Tell whether a gradient was infinite or NaN since the last :meth:`update`."""
        return any(
            bool(numbers[2] != 0)
            for (owner, _), numbers in self._numbers.items()
            if owner == id(optimizer)
        )

    def update(self) -> None:
        """Adjust the scale, after the steps of all optimizers."""
        if not self.enabled:
            return
        for optimizer, state in self._states:
            if self.found_overflow(optimizer):
                _set_state(optimizer, state)
        self.skipped = any(bool(numbers[2] != 0) for numbers in self._numbers.values())
        if self.skipped:
            self._scale, self._good_steps = self._scale * self.backoff_factor, 0
        else:
            self._good_steps += 1
            if self._good_steps == self.growth_interval:
                grown = self._scale * self.growth_factor
                self._scale = grown if grown <= float(np.finfo(np.float32).max) else self._scale
                self._good_steps = 0
        self.forget_step()

    def forget_step(self) -> None:
        """Begin anew what :meth:`update` would have ended, as after an error."""
        self._unscaled.clear()
        self._states.clear()
        self._write()

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

    def _beside(self, array, known: dict, key):
        """Return the numbers that are known by a key, made where `array` lives if need be."""
        if key not in known:
            known[key] = array_module(array).empty(3, np.float32)
            self._write_to(known[key])
        return known[key]

    def _write(self) -> None:
        """Bring the scale to the devices, and take overflows back, in memory that stays."""
        for numbers in (*self._scales.values(), *self._numbers.values()):
            self._write_to(numbers)

    def _write_to(self, numbers) -> None:
        values = np.array([self._scale, 1, 0], np.float32)
        if device_of(numbers) == "gpu":
            numbers.set(values)
        else:
            numbers[...] = values


def _set_state(optimizer: Optimizer, state) -> None:
    """Take an optimizer's state back: the step was left out, so its arrays are what they were."""
    for values in optimizer.state.values():
        values.clear()
    for values, before in state:
        values.update(before)
