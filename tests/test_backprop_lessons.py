"""The lessons on backprop, run as a reader runs them, and broken as their checks say."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

FOLDER = Path(__file__).resolve().parents[1] / "examples" / "backprop"
LESSONS = sorted(FOLDER.glob("[0-9][0-9]_*.py"))

of_each_lesson = pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)


def run(script, folder):
    environment = {**os.environ, "PYTHONPATH": str(FOLDER)}  # for a copy elsewhere
    command = [sys.executable, "-W", "error", script, "--quick", "--out", folder / "figures"]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=300, cwd=folder, env=environment
    )


def change_of(source):
    """Return what the lesson's check says to replace, and by what."""
    calls = [
        node
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "check"
    ]
    assert len(calls) == 1, "a lesson ends with one check"
    values = {keyword.arg: keyword.value for keyword in calls[0].keywords}
    return ast.literal_eval(values["change"])


def test_there_are_thirteen():
    assert [path.name[:2] for path in LESSONS] == [f"{number:02}" for number in range(1, 14)]


@of_each_lesson
def test_a_lesson_runs_draws_and_checks(lesson, tmp_path):
    result = run(lesson, tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("\ncheck: ") == 1
    assert "they agree" in result.stdout
    assert "break me: replace" in result.stdout
    figures = sorted((tmp_path / "figures").iterdir())
    assert figures
    for path in figures:
        assert path.name.startswith(lesson.name[:3])
        assert path.suffix == ".png"
        with Image.open(path) as picture:
            assert len(np.unique(np.asarray(picture))) > 20


@of_each_lesson
def test_its_check_fails_where_it_says_so(lesson, tmp_path):
    source = lesson.read_text(encoding="utf-8")
    old, new = change_of(source)
    assert old in source.split("check(\n")[0], "the piece to replace is code of the lesson"
    copy = tmp_path / lesson.name
    copy.write_text(source.replace(old, new), encoding="utf-8")
    result = run(copy, tmp_path)
    assert result.returncode == 1
    assert "check failed" in result.stderr
    assert "they agree" not in result.stdout


@of_each_lesson
def test_the_code_that_a_lesson_names_exists(lesson):
    text = lesson.read_text(encoding="utf-8").replace("\n# ", " ")
    root = FOLDER.parents[1]
    paths = re.findall(r"`(nnmed/[\w./]+)`", text)
    assert [path for path in paths if not (root / path).exists()] == []
    places = re.findall(r"((?:`[\w.]+`[, and]*)+)(?: in)? \(?`(nnmed/[\w/]+\.py)`", text)
    for names, path in places:
        code = (root / path).read_text(encoding="utf-8")
        for name in re.findall(r"(\w+)`", names):
            assert re.search(rf"(class|def) {name}\b", code), f"{path} has no {name}"


def test_a_folder_that_cannot_be_made_is_an_error_without_a_traceback(tmp_path):
    (tmp_path / "figures").write_text("a file")
    result = run(LESSONS[0], tmp_path)
    assert result.returncode == 2
    assert "name another folder" in result.stderr
    assert "Traceback" not in result.stderr
