"""Optimizer: what all optimizers share, namely parameter groups, state and their storage."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from nnmed import kernels
from nnmed.autograd import enable_grad
from nnmed.autograd.tensor import Tensor
from nnmed.backend.arrays import array_module, device_of, zeros_like
from nnmed.errors import DeviceError, DTypeError, ModelError, ShapeError, UsageError
from nnmed.kernels.optimizer import gpu
from nnmed.optim.state import read_groups, read_state


class Optimizer:
    """Base class: holds the parameters and the options with which to change them.

    A subclass names its kernel, defines ``_arguments(array, state, group)``, which gives the
    kernel's arguments for one parameter, and ``_check(group)``, which refuses senseless options.

    Parameters
    ----------
    params : iterable of Tensor, or iterable of dict
        The parameters, or groups of them: dictionaries with the key ``"params"`` and
        options that override `defaults` for this group.
    defaults : dict
        Options by name.

    Attributes
    ----------
    param_groups : list of dict
        The groups with all their options; schedules change ``group["lr"]`` in here.
    state : dict from Tensor to dict
        Arrays and counters of each parameter that has been changed at least once.

    Raises
    ------
    UsageError
        If there is no parameter, one appears twice or is no leaf tensor, or an option is
        out of range.
    """

    def __init__(self, params, defaults: dict):
        self.defaults = defaults
        self.param_groups: list[dict] = []
        self.state: defaultdict[Tensor, dict] = defaultdict(dict)
        if isinstance(params, (Tensor, dict)):
            raise UsageError(
                f"{self._name}: params is an iterable of tensors or of groups, got one "
                f"{type(params).__name__}: put it into a list"
            )
        groups = list(params)
        if not groups:
            raise UsageError(f"{self._name}: there are no parameters to optimise")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, param_group: dict) -> None:
        """Add a group: a dictionary with ``"params"`` and options that override the defaults."""
        if not isinstance(param_group, dict) or "params" not in param_group:
            raise UsageError(f"{self._name}: a parameter group is a dict with the key 'params'")
        params = param_group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        known = {id(p) for group in self.param_groups for p in group["params"]}
        for parameter in params:
            self._check_parameter(parameter, known)
            known.add(id(parameter))
        # Plain numbers, so that the options can be written as JSON.
        options = {
            name: value.item() if isinstance(value, np.generic) else value
            for name, value in {**self.defaults, **param_group}.items()
        }
        group = {**options, "params": params}
        self._check(group)
        self.param_groups.append(group)

    def step(self, closure=None):
        """Change every parameter that has a gradient, in place.

        Parameters
        ----------
        closure : callable, optional
            Computes the loss and its gradients anew; called, with recording on, before the
            step.

        Returns
        -------
        object
            What the closure returned, or None.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        update_all(self._kernel, self._next_calls())
        return loss

    def step_unless(self, scaling) -> None:
        """Do the step on a GPU, unless a flag says there that it must be left out.

        Nothing waits for the flag, so the step is counted in either case.

        Parameters
        ----------
        scaling : cupy.ndarray, (2,)
            What gradients are divided by; the flag.
        """
        update_all(self._kernel, self._next_calls(), scaling)

    def prepare_replay(self) -> None:
        """Do what :meth:`step` does on the host: the replay of a CUDA graph does the rest.

        The step is counted, and its numbers (learning rate, bias corrections) are brought to the
        device, where the captured step reads them. The current stream is the one that captured.
        """
        gpu.write_numbers(self._kernel, self._next_calls())

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients: set them to None, or to zeros if not `set_to_none`."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if set_to_none:
                    parameter.grad = None
                elif parameter.grad is not None:
                    parameter.grad = Tensor._wrap(zeros_like(parameter.grad._array))

    def state_dict(self) -> dict:
        """Return ``{"state": {index: {name: array or number}}, "param_groups": [...]}``.

        Parameters are numbered in the order of the groups. As in PyTorch, the arrays are
        the optimizer's own: copy them to keep a snapshot. ``pack_state`` separates them
        from the rest, which is fit for JSON.
        """
        numbers = {id(p): index for index, p in enumerate(self._parameters())}
        groups = [
            {**group, "params": [numbers[id(p)] for p in group["params"]]}
            for group in self.param_groups
        ]
        state = {numbers[id(p)]: dict(values) for p, values in self.state.items() if values}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict) -> None:
        """Restore what :meth:`state_dict` returned; arrays are copied.

        Keys of ``"state"`` may be text and tuples may have become lists, as JSON makes them.

        Raises
        ------
        ModelError
            If groups, parameters or shapes differ; the optimizer is unchanged then.
        """
        groups = read_groups(self._name, state_dict, self.param_groups, self.defaults)
        state = read_state(self._name, state_dict, self._parameters())
        for values in groups:
            try:
                self._check(values)
            except (UsageError, TypeError) as error:
                raise ModelError(f"{self._name}: the state's options are bad: {error}") from error
        for group, values in zip(self.param_groups, groups):
            group.update(values)
        self.state = defaultdict(dict, state)

    def __repr__(self) -> str:
        lines = []
        for index, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {index}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return "\n".join([f"{self._name} (", *lines, ")"])

    # -- for subclasses ---------------------------------------------------------------

    _kernel = ""  # name of the function in kernels/optimizer

    def _arguments(self, array, state: dict, group: dict) -> tuple:
        """Return the kernel's arguments after parameter and gradient; count the step."""
        raise TypeError(f"{self._name} defines no update")

    def _check(self, group: dict) -> None:
        self._check_range(group, "lr", "weight_decay")

    def _check_range(self, group: dict, *names: str, below: float | None = None) -> None:
        """Refuse options that are no numbers, negative, NaN, or not less than `below`."""
        for name in names:
            for value in group[name] if name == "betas" else [group[name]]:
                number = isinstance(value, (int, float, np.number))
                if not number or not value >= 0 or (below is not None and value >= below):
                    limits = "at least 0" if below is None else f"in [0, {below:g})"
                    raise UsageError(f"{self._name}: {name} must be {limits}, got {group[name]!r}")

    def _check_betas(self, group: dict) -> None:
        if not isinstance(group["betas"], (tuple, list)) or len(group["betas"]) != 2:
            raise UsageError(f"{self._name}: betas is a pair of numbers, got {group['betas']!r}")
        self._check_range(group, "betas", below=1)

    # -- inside -----------------------------------------------------------------------

    def _next_calls(self) -> list[tuple]:
        """Return the kernel's arguments for each parameter that has a gradient; count the step."""
        wanted = [
            (parameter, self.state[parameter], group)
            for group in self.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        for parameter, state, _ in wanted:  # all checks come before the first change
            self._check_step(parameter._writable(), parameter.grad._array, state)
        calls = []
        for parameter, state, group in wanted:
            array, gradient = parameter._array, parameter.grad._array
            calls.append((array, gradient, *self._arguments(array, state, group)))
            parameter._version.count += 1
        return calls

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def _check_parameter(self, parameter, known: set[int]) -> None:
        if not isinstance(parameter, Tensor):
            raise UsageError(
                f"{self._name}: parameters are Tensors, got {type(parameter).__name__}"
                " (give model.parameters(), or dicts with the key 'params')"
            )
        if not parameter.is_leaf:
            raise UsageError(
                f"{self._name}: a parameter of shape {parameter.shape} was computed by an "
                "operation: only leaf tensors can be optimised"
            )
        if id(parameter) in known:
            raise UsageError(
                f"{self._name}: the parameter of shape {parameter.shape} is given twice"
            )

    def _check_step(self, array, gradient, state) -> None:
        if gradient.shape != array.shape:
            raise ShapeError(
                f"{self._name}: a parameter of shape {array.shape} has a gradient of shape "
                f"{gradient.shape}"
            )
        if gradient.dtype != array.dtype:
            raise DTypeError(
                f"{self._name}: a {array.dtype} parameter of shape {array.shape} has a "
                f"{gradient.dtype} gradient"
            )
        if any(getattr(value, "dtype", array.dtype) != array.dtype for value in state.values()):
            raise DTypeError(
                f"{self._name}: the parameter of shape {array.shape} has become {array.dtype} "
                "since the first step: convert a model before making its optimizer"
            )
        if type(gradient) is not type(array) and device_of(gradient) != device_of(array):
            raise DeviceError(
                f"{self._name}: a parameter of shape {array.shape} is on "
                f"{device_of(array)} and its gradient on {device_of(gradient)}"
            )
        if any(hasattr(v, "dtype") and device_of(v) != device_of(array) for v in state.values()):
            raise DeviceError(
                f"{self._name}: the parameter of shape {array.shape} was moved to "
                f"{device_of(array)} since the first step: move a model before making its optimizer"
            )


def update_all(name: str, calls: list[tuple], *scaling) -> None:
    """Call the kernel `name` with each of the tuples of arguments, a device's all at once."""
    by_device: dict = {}
    for call in calls:
        by_device.setdefault(device_of(call[0]), []).append(call)
    for group in by_device.values():
        kernels.select("optimizer", group[0][0]).update_all(name, group, *scaling)


def state_arrays(array, state: dict, *names: str, start: float = 0.0) -> list:
    """Return the arrays `names` of a parameter's state, made of `start` where they are missing.

    They lie in row-major order, as PyTorch stores them.
    """
    for name in names:
        if name not in state:
            state[name] = array_module(array).full(array.shape, start, array.dtype)
    return [state[name] for name in names]


def next_step(state: dict) -> int:
    """Count a step of a parameter, and return its number: 1 the first time."""
    state["step"] = state.get("step", 0) + 1
    return state["step"]
