"""Write the lessons as notebooks: ``python docs/notebooks.py FOLDER``.

They are made from the scripts of ``examples/backprop`` with jupytext; open them with Jupyter.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import jupytext
from pages.lessons import FOLDER, lessons

KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def write_notebook(script: Path, folder: Path) -> None:
    """Write a lesson as a notebook of the same name."""
    notebook = jupytext.read(script, fmt="py:percent")
    notebook.metadata["kernelspec"] = KERNEL
    jupytext.write(notebook, folder / f"{script.stem}.ipynb")


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the lessons as notebooks.")
    parser.add_argument("folder", type=Path, help="where to, made if it is not there")
    folder, scripts = parser.parse_args().folder, lessons()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for script in scripts:
            write_notebook(script, folder)
        for helper in FOLDER.glob("_*.py"):
            shutil.copy(helper, folder)
    except OSError as error:
        parser.error(f"{folder}: notebooks cannot be written: {error.strerror}")
    print(f"{len(scripts)} notebooks in {folder}")


if __name__ == "__main__":
    main()
