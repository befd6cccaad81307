"""The reference: a page for each module, with everything public in it."""

from __future__ import annotations

import importlib
import inspect
from importlib.util import find_spec

import nnmed
from pages import SAFE, toctree, write_page

# Public modules that stand in no `__all__`.
FURTHER = "nnmed.data.phantoms", "nnmed.errors", "nnmed.optim.swa_utils"

PAGE = """# {name}

```{{eval-rst}}
.. automodule:: {name}
   :no-members:
   :no-index:

.. currentmodule:: {name}

.. autosummary::
   :nosignatures:

{table}

{entries}
```
"""


def public_modules(name: str = "nnmed") -> list[str]:
    """Return `name` and the modules below it that are public, found by ``__all__``."""
    module = importlib.import_module(name)
    found = [name] if members(name) else []
    for below in getattr(module, "__all__", []):
        if is_module(module, below):
            found += public_modules(f"{name}.{below}")
    return found


def is_module(package, name: str) -> bool:
    """Whether `name` stands for a module; a function may have its module's name."""
    if not hasattr(package, "__path__"):
        return False
    spec = find_spec(f"{package.__name__}.{name}")
    is_package = spec is not None and spec.submodule_search_locations is not None
    return is_package or inspect.ismodule(getattr(package, name))


def members(name: str) -> list[str]:
    """Return the public functions and classes of a module.

    They are those of ``__all__``, or, where there is none, those that are defined there.
    """
    module = importlib.import_module(name)
    names = getattr(module, "__all__", None) or [
        key
        for key, value in vars(module).items()
        if not key.startswith("_") and getattr(value, "__module__", None) == name
    ]
    return [key for key in names if callable(getattr(module, key))]


def page(name: str, names: list[str]) -> str:
    """Return the page of a module with the entries of `names`."""
    module = importlib.import_module(name)
    kinds = ["class" if inspect.isclass(getattr(module, key)) else "function" for key in names]
    return PAGE.format(
        name=name,
        table="\n".join(f"   {key}" for key in names),
        entries="\n".join(f".. auto{kind}:: {key}" for kind, key in zip(kinds, names)),
    )


def pages() -> dict[str, list[str]]:
    """Return the names on the page of each module; what ``nnmed`` itself has is only there."""
    names = {"nnmed": members("nnmed")}
    top = [getattr(nnmed, key) for key in names["nnmed"]]
    for name in sorted({*public_modules(), *FURTHER} - {"nnmed"}):
        module = importlib.import_module(name)
        names[name] = [key for key in members(name) if getattr(module, key) not in top]
    return names


def generate(app) -> None:
    entries = {name: keys for name, keys in pages().items() if keys}
    for name, keys in entries.items():
        write_page(f"api/{name}", page(name, keys))
    text = "# Reference\n\nEverything public, module by module.\n\n"
    write_page("api/index", text + toctree(entries, ":maxdepth: 1"))


def setup(app):
    app.connect("builder-inited", generate)
    return SAFE
