"""The rule sheet: how each op is computed and differentiated, from the op itself."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path

import nnmed.ops
from nnmed.autograd import Op
from pages import ROOT, SAFE, toctree, write_page

INTRODUCTION = r"""# The rule sheet

What each of nnmed's {count} ops computes, and how it sends a gradient back. $y$ is an op's output
and $L$ the loss at the end; $\partial L / \partial y$ comes in from behind, and the formula of each
input says what goes out to it. $[\,c\,]$ is 1 where the condition $c$ holds and 0 elsewhere.
Where windows lie over a picture, an index such as $i$ is a position, (row, column), and
$is + ud - p$ is taken for rows and columns each: stride $s$, dilation $d$, padding $p$, tap $u$ of
the window. Other symbols are parameters; {{func}}`nnmed.explain` puts their numbers in.

The formulas are read from the classes of the ops as this site is built, and a test evaluates them
on numbers and compares them with the code. `nnmed.functional` and the operators of `Tensor` are
made of these ops; most of them call one or a few.

| module | ops |
|---|---|
{rows}
"""

PAGE = """# {name}

```{{eval-rst}}
.. automodule:: nnmed.ops.{name}
   :no-members:
   :no-index:
```

"""

ENTRY = """(rule-{name})=
## {name}

**Forward**

{forward}

{gradients}

```text
{doc}
```

<details><summary>{file}, line {line}</summary>

```{{literalinclude}} /../{file}
:pyobject: {name}
:lineno-match:
```

</details>
"""


def all_ops() -> list[type[Op]]:
    """Return every op of ``nnmed.ops``, by module and in the order of the source."""
    for module in pkgutil.iter_modules(nnmed.ops.__path__):
        importlib.import_module(f"nnmed.ops.{module.name}")
    ops = {op for op in _below(Op) if op.__module__.startswith("nnmed.ops.")}
    return sorted(ops, key=lambda op: (op.__module__, line_of(op)))


def _below(base):
    for op in base.__subclasses__():
        if op.forward_latex:  # else a shared base
            yield op
        yield from _below(op)


def line_of(op) -> int:
    """Return the line where the class begins."""
    return inspect.getsourcelines(op)[1]


def entry(op) -> str:
    """Return the section of an op."""
    gradients = [
        f"**Gradient by** `{name}`\n\n{formula(latex)}" for name, latex in op.backward_latex.items()
    ]
    return ENTRY.format(
        name=op.__name__,
        forward=formula(op.forward_latex),
        gradients="\n\n".join(gradients) or "It has no gradient.",
        doc=inspect.getdoc(op),
        file=Path(inspect.getsourcefile(op)).relative_to(ROOT).as_posix(),
        line=line_of(op),
    )


def formula(latex: str) -> str:
    """Return a formula that stands alone."""
    return f"$$\n{latex}\n$$"


def page(name: str, ops) -> str:
    """Return the page of a module's ops."""
    return PAGE.format(name=name) + "\n".join(entry(op) for op in ops)


def generate(app) -> None:
    modules: dict[str, list] = {}
    for op in all_ops():
        modules.setdefault(op.__module__.rpartition(".")[2], []).append(op)
    rows = []
    for name, ops in modules.items():
        links = ", ".join(f"[{op.__name__}](#rule-{op.__name__})" for op in ops)
        rows.append(f"| [{name}]({name}.md) | {links} |\n")
        write_page(f"rules/{name}", page(name, ops))
    count = sum(map(len, modules.values()))
    introduction = INTRODUCTION.format(count=count, rows="".join(rows))
    write_page("rules/index", introduction + toctree(modules, ":hidden:"))


def setup(app):
    app.connect("builder-inited", generate)
    return SAFE
