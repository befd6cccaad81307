"""The lessons: each script of ``examples/backprop`` as a page, with what it prints and draws.

A lesson is a script of cells in the percent format: ``# %% [markdown]`` begins a cell of text,
``# %%`` a cell of code. It is run once, as a whole, from a copy that
prints a mark after each cell of code; so each output and each figure stands below its cell.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from sphinx.errors import ExtensionError

from pages import GENERATED, ROOT, SAFE, toctree, write_page
from pages.repository import relink

FOLDER = ROOT / "examples" / "backprop"
BEGIN = "# %%"
MARK = "\x1e"  # ASCII's record separator, which no lesson prints
FIGURES = "backprop-figures"  # as by default, so that the page names the reader's folder
SECONDS = 120  # after which a lesson is taken to hang

INDEX = """# Lessons

Short scripts about backprop, to be read from top to bottom. Each has one idea, predicts a number
before it computes it, and ends with a check to break. What you see here comes from a run
at the time when this site was built. From a checkout, run one, or make notebooks of all:

```sh
sh run.sh python examples/backprop/01_chain_rule.py
sh run.sh --extra docs python docs/notebooks.py notebooks
```

"""
FOOTER = "\n---\n\nThe script: [{name}]({name})\n"


@dataclass
class Cell:
    """A cell of a lesson; one of code knows what it printed and drew."""

    is_code: bool
    lines: list[str] = field(default_factory=list)
    output: str = ""
    figures: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The code, or the Markdown without the signs that make it a comment."""
        lines = self.lines if self.is_code else [re.sub("^# ?", "", line) for line in self.lines]
        return "\n".join(lines).strip("\n")


def lessons() -> list[Path]:
    """Return the scripts, in their order."""
    return sorted(FOLDER.glob("[0-9][0-9]_*.py"))


def read_cells(text: str) -> list[Cell]:
    """Return the cells of a script; what stands before the first is left out."""
    cells = []
    for line in text.splitlines():
        if line.startswith(BEGIN):
            cells.append(Cell(is_code="[markdown]" not in line))
        elif cells:
            cells[-1].lines.append(line)
    return cells


def with_marks(text: str) -> str:
    """Return the script with a mark printed, and the figures so far, after each cell of code.

    A mark takes the place of the line that begins the next cell, so that no line moves.
    """
    mark = f"print({MARK!r}, *sorted(__import__('os').listdir({FIGURES!r})), sep='/')"
    lines, is_code = [], False
    for line in [*text.splitlines(), BEGIN]:
        if line.startswith(BEGIN):
            lines.append(mark if is_code else "")
            is_code = "[markdown]" not in line
        else:
            lines.append(line)
    return "\n".join(lines)


def run(script: Path, figures: Path) -> list[Cell]:
    """Run a lesson, put what it draws into the folder `figures`, and return its cells.

    Raises
    ------
    ExtensionError
        If it fails or ends early; the message has the end of what it said.
    """
    text = script.read_text(encoding="utf-8")
    cells = read_cells(text)
    parts = re.split(f"{MARK}(.*)\n", _output(script, with_marks(text), figures))
    code = [cell for cell in cells if cell.is_code]
    if len(parts) != 2 * len(code) + 1:
        raise ExtensionError(f"{script}: ended after {len(parts) // 2} of {len(code)} cells")
    drawn = []
    for cell, output, names in zip(code, parts[::2], parts[1::2]):
        cell.output = output.strip("\n")
        cell.figures = [name for name in names.split("/")[1:] if name not in drawn]
        drawn += cell.figures
    return cells


def _output(script: Path, text: str, figures: Path) -> str:
    """Return what the script prints when `text` stands in its place."""
    path = os.pathsep.join([str(script.parent), str(ROOT)])  # helpers beside it, and nnmed
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, script.name).write_text(text, encoding="utf-8")
        Path(folder, FIGURES).mkdir()
        result = subprocess.run(
            [sys.executable, script.name, "--out", FIGURES],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path, "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            encoding="utf-8",
            timeout=SECONDS,
        )
        shutil.copytree(Path(folder, FIGURES), figures)
    if result.returncode:
        end = result.stderr.strip()[-2000:]
        raise ExtensionError(f"{script}: failed with status {result.returncode}:\n{end}")
    return result.stdout


def page(script: Path, cells: list[Cell], figures: str) -> str:
    """Return the page of a lesson; `figures` is where it finds them."""
    parts = []
    for cell in cells:
        if not cell.is_code:
            parts.append(relink(cell.text, script.parent))
            continue
        parts.append(f"````python\n{cell.text}\n````")
        if cell.output:
            parts.append(f"````text\n{cell.output}\n````")
        for name in cell.figures:
            parts.append(f"![{Path(name).stem.replace('_', ' ')}]({figures}/{name})")
    footer = relink(FOOTER.format(name=script.name), script.parent)
    return "\n\n".join([*parts, footer])


def generate(app) -> None:
    scripts = lessons()
    for script in scripts:
        cells = run(script, GENERATED / "lessons" / script.stem)
        write_page(f"lessons/{script.stem}", page(script, cells, script.stem))
    names = [script.stem for script in scripts]
    write_page("lessons/index", INDEX + toctree(names, ":maxdepth: 1"))


def setup(app):
    app.connect("builder-inited", generate)
    return SAFE
