"""Pages of the site that are made from the code, as Sphinx extensions.

Each writes Markdown to ``docs/_generated`` before Sphinx reads the sources. This one comes
first, and removes what an earlier build left there.
"""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GENERATED = ROOT / "docs" / "_generated"
SAFE = {"parallel_read_safe": True, "parallel_write_safe": True}


def write_page(name: str, text: str) -> None:
    """Write the page `name`."""
    path = GENERATED / f"{name}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def toctree(names, *options: str) -> str:
    """Return the directive that lists the pages `names`, relative to the page it stands on."""
    return "\n".join(["```{toctree}", *options, "", *names, "```", ""])


def remove_generated(app) -> None:
    shutil.rmtree(GENERATED, ignore_errors=True)


def setup(app):
    app.connect("builder-inited", remove_generated)
    return SAFE
