"""Modules made of modules."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterable, Iterator

from nnmed.errors import OutOfRangeError, UsageError
from nnmed.nn.module import Module


class _Numbered(Module):
    """Modules named "0", "1", ... that can be indexed, sliced and counted."""

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def __getitem__(self, index):
        if isinstance(index, slice):
            return self._from_items(list(self._modules.items())[index])
        return self._modules[self._key(index)]

    def __setitem__(self, index: int, module: Module) -> None:
        self.add_module(self._key(index), module)

    def append(self, module: Module):
        """Add a module at the end and return the container."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]):
        """Add modules at the end and return the container."""
        for module in modules:
            self.append(module)
        return self

    def _key(self, index) -> str:
        index = operator.index(index)
        if not -len(self) <= index < len(self):
            raise OutOfRangeError(
                f"{type(self).__name__} has {len(self)} modules, no index {index}"
            )
        return list(self._modules)[index]

    def _from_items(self, items):
        return type(self)(module for _, module in items)


class Sequential(_Numbered):
    """Feeds each module's output to the next.

    Parameters
    ----------
    *modules : Module, or one dict from str to Module
        Named "0", "1", ... or by the dict's keys.
    """

    def __init__(self, *modules):
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], dict):
            named = modules[0]
        else:
            named = {str(index): module for index, module in enumerate(modules)}
        for name, module in named.items():
            if not isinstance(module, Module):
                raise UsageError(f"Sequential: {name!r} is no Module but {type(module).__name__}")
            self.add_module(name, module)

    def forward(self, input):
        """Return the last module's output."""
        for module in self:
            input = module(input)
        return input

    def _from_items(self, items):
        return type(self)(dict(items))


class ModuleList(_Numbered):
    """A list of modules, whose parameters are those of the module that holds it.

    Parameters
    ----------
    modules : iterable of Module, optional
    """

    def __init__(self, modules: Iterable[Module] | None = None):
        super().__init__()
        self.extend(() if modules is None else modules)

    def _children_repr(self):
        lines = []
        for text, group in itertools.groupby(super()._children_repr(), key=lambda pair: pair[1]):
            names = [name for name, _ in group]
            if len(names) == 1:
                lines.append((names[0], text))
            else:
                lines.append((f"{names[0]}-{names[-1]}", f"{len(names)} x {text}"))
        return lines
