"""Lessons become pages and notebooks that say what the scripts say."""

from __future__ import annotations

import sys

import pytest

ExtensionError = pytest.importorskip("sphinx.errors").ExtensionError
lessons = pytest.importorskip("pages.lessons")

LESSON = """# %% [markdown]
# # A sum
#
# See [the op](other.py), and $1 + 1$.

# %%
from __future__ import annotations

import sys
from pathlib import Path

from _lesson import ONE

out = Path(sys.argv[sys.argv.index("--out") + 1])
print(sys.argv[1], sys._getframe().f_lineno)

# %%
(out / "the_sum.png").write_text("a figure")

# %%
print(ONE + 1)
"""


@pytest.fixture
def script(tmp_path):
    (tmp_path / "_lesson.py").write_text("ONE = 1\n")
    script = tmp_path / "01_sum.py"
    script.write_text(LESSON)
    return script


def test_each_output_and_figure_belongs_to_its_cell(script, tmp_path):
    text, first, second, third = lessons.run(script, tmp_path / "figures")
    assert text.text == "# A sum\n\nSee [the op](other.py), and $1 + 1$."
    line = LESSON.splitlines().index(first.text.splitlines()[-1]) + 1
    assert (first.output, first.figures) == (f"--out {line}", [])  # marks move no line
    assert (second.output, second.figures) == ("", ["the_sum.png"])
    assert (third.output, third.figures) == ("2", [])


def test_the_page_has_text_code_output_and_figure_in_order(script, tmp_path):
    page = lessons.page(script, lessons.run(script, tmp_path / "figures"), "01_sum")
    expected = (
        "# A sum",
        "from __future__",
        "````text\n--out",
        "![the sum](01_sum/the_sum.png)",
        "````python\nprint(ONE + 1)\n````\n\n````text\n2\n````",
    )
    places = [page.index(part) for part in expected]
    assert places == sorted(places)


def test_a_lesson_that_fails_stops_the_build(script, tmp_path):
    script.write_text(LESSON.replace("ONE + 1", "ONE + missing"))
    with pytest.raises(ExtensionError, match=r"01_sum\.py: failed[^$]*NameError"):
        lessons.run(script, tmp_path / "figures")


def test_a_lesson_that_ends_early_stops_the_build(script, tmp_path):
    script.write_text(LESSON.replace("ONE + 1", "sys.exit()"))
    with pytest.raises(ExtensionError, match="ended after 2 of 3 cells"):
        lessons.run(script, tmp_path / "figures")


def test_a_notebook_has_the_cells_of_the_script(script, tmp_path, monkeypatch, capsys):
    jupytext = pytest.importorskip("jupytext")
    notebooks = pytest.importorskip("notebooks")
    monkeypatch.setattr(notebooks, "FOLDER", tmp_path)
    monkeypatch.setattr(notebooks, "lessons", lambda: [script])
    monkeypatch.setattr(sys, "argv", ["notebooks.py", str(tmp_path / "out")])
    notebooks.main()
    assert capsys.readouterr().out == f"1 notebooks in {tmp_path / 'out'}\n"
    assert (tmp_path / "out" / "_lesson.py").exists()
    notebook = jupytext.read(tmp_path / "out" / "01_sum.ipynb")
    cells = lessons.read_cells(LESSON)
    assert [cell.source for cell in notebook.cells] == [cell.text for cell in cells]
    assert [cell.cell_type == "code" for cell in notebook.cells] == [c.is_code for c in cells]


def test_a_folder_that_cannot_be_made_is_told(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    notebooks = pytest.importorskip("notebooks")
    monkeypatch.setattr(sys, "argv", ["notebooks.py", str(tmp_path / "file" / "out")])
    with pytest.raises(SystemExit):
        notebooks.main()
    assert "notebooks cannot be written" in capsys.readouterr().err
