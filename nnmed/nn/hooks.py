"""Hooks: functions that see what goes through a module."""

from __future__ import annotations

import warnings
from collections import OrderedDict

from nnmed.autograd.op import Op
from nnmed.autograd.tensor import Tensor
from nnmed.errors import UsageError


class RemovableHandle:
    """Takes a hook away again: ``handle.remove()``, or at the end of a ``with`` block."""

    def __init__(self, hooks: OrderedDict, hook, prepend=False, always_call=False):
        self._hooks, self.always_call = hooks, always_call
        hooks[self] = hook
        if prepend:
            hooks.move_to_end(self, last=False)

    def remove(self) -> None:
        """Take the hook away; doing so twice is harmless."""
        self._hooks.pop(self, None)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.remove()


class GradientProbe(Op):
    """y = x,   dx = dy, shown to a function on the way back."""

    forward_latex = r"y = x"
    backward_latex = {"x": r"\frac{\partial L}{\partial x} = \frac{\partial L}{\partial y}"}
    is_view = True

    def __init__(self, show):
        self._show = show

    def forward(self, x):
        """Pass `x` on."""
        return x

    def backward(self, dy):
        """Pass on what the function returns, or `dy` where it returns None."""
        changed = self._show(dy)
        # A copy: the hook may hold on to its tensor, and the gradient may become a leaf's.
        return dy if changed is None else changed.clone()

    def flops(self, inputs, output):
        """Nothing is computed."""
        return 0


def call_with_hooks(module, args, kwargs):
    """Run the module's forward between its hooks.

    After an exception those forward hooks with `always_call` still run that have not.
    """
    output, called = None, set()
    try:
        for hook in tuple(module._forward_pre_hooks.values()):
            changed = hook(module, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
        if module._backward_hooks:
            output = _forward_with_backward_hooks(module, args, kwargs)
        else:
            output = module.forward(*args, **kwargs)
        for handle, hook in tuple(module._forward_hooks.items()):
            called.add(handle)
            changed = hook(module, args, output)
            if changed is not None:
                output = changed
        return output
    except Exception:
        for handle, hook in tuple(module._forward_hooks.items()):
            if handle.always_call and handle not in called:
                _call_after_error(hook, module, args, output)
        raise


def _call_after_error(hook, module, args, output) -> None:
    """Call a forward hook; an error of its own must not hide the one before."""
    try:
        hook(module, args, output)
    except Exception as error:
        warnings.warn(
            f"{type(module).__name__}: a forward hook with always_call=True failed after another "
            f"error: {type(error).__name__}: {error}",
            stacklevel=2,
        )


def _forward_with_backward_hooks(module, arguments, named):
    """Run the module's forward so that its full backward hooks see gradients.

    The one tensor among `arguments` and the output each pass through a probe. The output's
    probe notes the gradient of the output; the input's, which backward reaches later, shows
    both to the hooks.
    """
    places = [i for i, argument in enumerate(arguments) if isinstance(argument, Tensor)]
    if len(places) != 1:
        raise UsageError(
            f"{type(module).__name__}: full backward hooks are for modules that take one "
            f"tensor, this one was called with {len(places)}"
        )
    seen = {}

    def at_output(dy):
        seen["output"] = dy
        if not wanted:
            run_hooks(None)

    def run_hooks(dx):
        for hook in tuple(module._backward_hooks.values()):
            result = hook(module, (dx,), (seen["output"],))
            if result is not None:
                dx = result[0] if isinstance(result, tuple) else result
        return dx

    arguments = list(arguments)
    wanted = arguments[places[0]]._requires_grad
    if wanted:
        arguments[places[0]] = GradientProbe(run_hooks)(arguments[places[0]])
    output = module.forward(*arguments, **named)
    if not isinstance(output, Tensor):
        raise UsageError(
            f"{type(module).__name__}: full backward hooks are for modules that return one "
            f"tensor, this one returned a {type(output).__name__}"
        )
    return GradientProbe(at_output)(output)
