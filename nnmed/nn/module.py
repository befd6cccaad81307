"""Module: parameters, buffers and submodules under one name, and a forward."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator

import numpy as np

from nnmed.autograd.tensor import FLOATS, Tensor
from nnmed.backend.arrays import to_device, zeros_like
from nnmed.errors import DTypeError, UsageError
from nnmed.nn.hooks import RemovableHandle, call_with_hooks
from nnmed.nn.parameter import Parameter
from nnmed.nn.state import LoadResult, collect, load


class Module:
    """Base class of layers and networks.

    A subclass makes its parameters and submodules in ``__init__``, after
    ``super().__init__()``, and computes in ``forward``. What is assigned to an attribute is
    registered under that name: a :class:`Parameter`, a Module, or a Tensor given to
    :meth:`register_buffer`.

    Attributes
    ----------
    training : bool
        Set by :meth:`train` and :meth:`eval`; dropout and batch norm look at it.

    Examples
    --------
    >>> from nnmed import nn
    >>> class Net(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.conv = nn.Conv2d(1, 4, 3, padding=1)
    ...         self.head = nn.Linear(4, 2)
    ...
    ...     def forward(self, x):
    ...         return self.head(self.conv(x).mean((2, 3)))
    >>> [name for name, _ in Net().named_parameters()]
    ['conv.weight', 'conv.bias', 'head.weight', 'head.bias']
    """

    training: bool

    def __init__(self):
        # Not through __setattr__, which looks into these.
        vars(self).update(
            training=True,
            _parameters={},
            _buffers={},
            _modules={},
            _temporary=set(),
            _forward_pre_hooks=OrderedDict(),
            _forward_hooks=OrderedDict(),
            _backward_hooks=OrderedDict(),
        )

    def forward(self, *args, **kwargs):
        """Compute the output; called through ``module(...)``, which runs the hooks too."""
        raise UsageError(f"{type(self).__name__} defines no forward")

    def __call__(self, *args, **kwargs):
        if self._forward_pre_hooks or self._forward_hooks or self._backward_hooks:
            return call_with_hooks(self, args, kwargs)
        return self.forward(*args, **kwargs)

    # -- registering ------------------------------------------------------------------

    def __setattr__(self, name: str, value) -> None:
        tables = vars(self).get("_parameters"), vars(self).get("_modules")
        if isinstance(value, (Parameter, Module)) and None in tables:
            raise UsageError(
                f"{type(self).__name__}: call super().__init__() before assigning {name!r}"
            )
        if isinstance(value, Parameter):
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self.add_module(name, value)
        elif name in vars(self).get("_buffers", ()):
            self._check_kind(name, value, Tensor)
            self._buffers[name] = value
        elif name in vars(self).get("_parameters", ()):
            self._check_kind(name, value, Parameter)
            self._parameters[name] = value
        elif name in vars(self).get("_modules", ()):
            self._check_kind(name, value, Module)
            self._modules[name] = value
        else:
            super().__setattr__(name, value)

    def __getattr__(self, name: str):
        for table in ("_parameters", "_buffers", "_modules"):
            values = vars(self).get(table, {})
            if name in values:
                return values[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __delattr__(self, name: str) -> None:
        for values in (self._parameters, self._buffers, self._modules):
            if name in values:
                del values[name]
                return
        super().__delattr__(name)

    def __dir__(self):
        return [*super().__dir__(), *self._parameters, *self._buffers, *self._modules]

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter; None marks one that this module does without, such as a bias."""
        self._register(self._parameters, name, param, Parameter)

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is state but not learnt; `persistent` puts it into state_dict."""
        self._register(self._buffers, name, tensor, Tensor)
        (self._temporary.discard if persistent else self._temporary.add)(name)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a submodule."""
        self._register(self._modules, name, module, Module)

    def _register(self, table, name, value, kind):
        if not isinstance(name, str) or not name or "." in name:
            raise UsageError(f"a name is text without dots, got {name!r}")
        self._check_kind(name, value, kind)
        if hasattr(type(self), name):
            raise UsageError(f"{type(self).__name__} already has an attribute {name!r}")
        for other in (vars(self), self._parameters, self._buffers, self._modules):
            if other is not table:
                other.pop(name, None)
        table[name] = value

    def _check_kind(self, name, value, kind):
        if value is not None and not isinstance(value, kind):
            raise UsageError(
                f"{type(self).__name__}.{name} is a {kind.__name__} or None, "
                f"got {type(value).__name__}"
            )

    # -- walking ----------------------------------------------------------------------

    def named_modules(self, prefix: str = "", _seen=None) -> Iterator[tuple[str, Module]]:
        """Yield (name, module) of this module and all below it, each once."""
        seen = set() if _seen is None else _seen
        if self in seen:
            return
        seen.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(f"{prefix}.{name}" if prefix else name, seen)

    def modules(self) -> Iterator[Module]:
        """Yield this module and all below it, each once."""
        for _, module in self.named_modules():
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield (name, module) of the direct submodules, each once."""
        seen = set()
        for name, module in self._modules.items():
            if module is not None and module not in seen:
                seen.add(module)
                yield name, module

    def children(self) -> Iterator[Module]:
        """Yield the direct submodules, each once."""
        for _, module in self.named_children():
            yield module

    def named_parameters(
        self, prefix: str = "", recurse: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Yield (name, parameter), each parameter once; only this module's if not `recurse`."""
        yield from self._named("_parameters", prefix, recurse)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Yield the parameters, each once."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Tensor]]:
        """Yield (name, buffer), each buffer once; only this module's if not `recurse`."""
        yield from self._named("_buffers", prefix, recurse)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Yield the buffers, each once."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def _named(self, table, prefix, recurse):
        seen = set()
        modules = self.named_modules(prefix) if recurse else [(prefix, self)]
        for path, module in modules:
            for name, tensor in getattr(module, table).items():
                if tensor is not None and id(tensor) not in seen:
                    seen.add(id(tensor))
                    yield f"{path}.{name}" if path else name, tensor

    # -- state ------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Tensor]:
        """Return parameters and persistent buffers by name, with PyTorch's names and shapes.

        As in PyTorch, the tensors share the module's memory: copy them to keep a snapshot.
        """
        return {name: tensor.detach() for name, tensor in collect(self).items()}

    def load_state_dict(self, state_dict, strict: bool = True) -> LoadResult:
        """Copy tensors or arrays into the parameters and buffers of the same names.

        Parameters
        ----------
        state_dict : mapping from str to Tensor or array
            Floats are converted to the parameter's dtype.
        strict : bool
            Refuse names that are missing or unknown. Shapes must fit in any case.

        Returns
        -------
        LoadResult
            Lists ``missing_keys`` and ``unexpected_keys``.

        Raises
        ------
        ModelError
            Lists all that does not fit; the module is unchanged then.
        """
        return load(self, state_dict, strict)

    # -- changing ---------------------------------------------------------------------

    def train(self, mode: bool = True) -> Module:
        """Set this module and all below to training (or, if not `mode`, evaluation)."""
        self.training = bool(mode)
        for module in self.children():
            module.train(mode)
        return self

    def eval(self) -> Module:
        """Set this module and all below to evaluation."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        """Say whether backward computes gradients of the parameters."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients: set them to None, or to zeros if not `set_to_none`."""
        for parameter in self.parameters():
            if set_to_none:
                parameter.grad = None
            elif parameter.grad is not None:
                parameter.grad = Tensor._wrap(zeros_like(parameter.grad._array))

    def apply(self, fn: Callable[[Module], None]) -> Module:
        """Call ``fn(module)`` for every module below and then this one; return this one."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def to(self, device=None, dtype=None) -> Module:
        """Move parameters and buffers to a device, and convert the floats among them.

        Parameters
        ----------
        device : "cpu" or "gpu", optional
            A dtype may stand here instead, as in ``module.to(np.float64)``.
        dtype : float32 or float64, optional
        """
        if device is not None and not isinstance(device, str):
            device, dtype = None, device
        if dtype is not None:
            dtype = np.dtype(dtype)
            if dtype not in FLOATS:
                raise DTypeError(f"a module is float32 or float64, not {dtype}")
        for tensor in (*self.parameters(), *self.buffers()):
            _convert(tensor, device, dtype)
            if tensor.grad is not None:
                _convert(tensor.grad, device, dtype)
        return self

    def float(self) -> Module:
        """Convert parameters and float buffers to float32."""
        return self.to(dtype=np.float32)

    def double(self) -> Module:
        """Convert parameters and float buffers to float64."""
        return self.to(dtype=np.float64)

    # -- hooks ------------------------------------------------------------------------

    def register_forward_pre_hook(self, hook, *, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, args)`` before forward; what it returns replaces the arguments.

        With `prepend` before all hooks of this kind that are there already.
        """
        return RemovableHandle(self._forward_pre_hooks, hook, prepend)

    def register_forward_hook(self, hook, *, always_call: bool = False) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after forward; it may return another output.

        With `always_call` also where forward, or another hook, raises an exception: `output` is
        None if there is none yet, and what the hook returns or raises changes nothing.
        """
        return RemovableHandle(self._forward_hooks, hook, always_call=always_call)

    def register_full_backward_hook(self, hook) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)`` when backward leaves the module.

        Both are tuples of one Tensor; `grad_input` is ``(None,)`` where the input needs no
        gradient. What the hook returns replaces the gradient of the input. For modules
        that take one tensor and return one.
        """
        return RemovableHandle(self._backward_hooks, hook)

    # -- describing -------------------------------------------------------------------

    def extra_repr(self) -> str:
        """Return the arguments as ``repr`` shows them."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        children = [
            f"({name}): {text}".replace("\n", "\n  ") for name, text in self._children_repr()
        ]
        if not children and "\n" not in extra:
            return f"{type(self).__name__}({extra})"
        lines = extra.splitlines() + children
        return "\n  ".join([f"{type(self).__name__}(", *lines]) + "\n)"

    def _children_repr(self) -> list[tuple[str, str]]:
        return [(name, repr(module)) for name, module in self._modules.items()]

    def summary(self, input_shape: tuple[int, ...]):
        """Return a printable table of the modules: output shapes, parameters, operations.

        Parameters
        ----------
        input_shape : tuple of int
            Shape of the input with the batch, such as ``(1, 3, 64, 64)``.

        Returns
        -------
        Summary
        """
        from nnmed.nn.summary import summarize  # it needs Module itself

        return summarize(self, input_shape)


def _convert(tensor: Tensor, device, dtype) -> None:
    array = tensor._array
    if dtype is not None and array.dtype.kind == "f":
        array = array.astype(dtype, copy=False)
    if device is not None:
        array = to_device(array, device)
    if array is not tensor._array:
        tensor._array = array
        tensor._version.count += 1
