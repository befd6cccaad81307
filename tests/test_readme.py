"""The READMEs tell the truth: code runs, files exist, flags and commands are the real ones."""

from __future__ import annotations

import argparse
import code
import re
import subprocess
import sys
from pathlib import Path

import pytest

import nnmed
from benchmarks.__main__ import COMMANDS as BENCHMARKS
from nnmed.jobs import options

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("README.md", "README.zh-CN.md")
COMMANDS = (
    "sh run.sh python examples/detect_tumor.py",
    "sh run.sh --extra test python -m pytest",
)
TOP = ("nnmed/", "tests/", "examples/", "docs/", "benchmarks/", ".ci/")


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """Return the contents of the fenced blocks of one language; of any language for ``.*``."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


def prose(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def headings(text: str) -> list[int]:
    """Return the level of each heading."""
    return [len(marks) for marks in re.findall(r"^(#+) ", prose(text), flags=re.MULTILINE)]


def links(text: str) -> list[str]:
    return re.findall(r"\]\(([^)]+)\)", prose(text))


def listed_flags(text: str) -> list[str]:
    return re.findall(r"^\| `(--[a-z-]+)(?: \S+)?` \|[^|]*\|[^|]*\|$", text, flags=re.MULTILINE)


def test_the_tour_runs(tmp_path):
    tour = "\n".join(blocks(read("README.md"), "python"))
    command = [sys.executable, "-W", "error", "-c", tour]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    said = result.stdout
    assert "12.0 12.0" in said
    assert said.count("True\n") == 2
    assert "Log gave -inf" in said
    losses = [float(value) for value in re.findall(r"loss (\S+)", said)]
    assert losses[-1] < 0.8 * losses[0]
    loops, folded = (float(line) for line in said.splitlines()[-2:])
    assert loops < 1e-12  # fast kernels against loops
    assert folded < 1e-5  # without batch norms against with them


class Typist(code.InteractiveConsole):
    """An interactive Python that only reads."""

    def runcode(self, code):
        pass

    def showsyntaxerror(self, filename=None, **options):
        raise AssertionError("".join(self.buffer)) from sys.exc_info()[1]


def test_the_tour_can_be_typed():
    for block in blocks(read("README.md"), "python"):
        typist = Typist()
        for line in [*block.splitlines(), ""]:
            unfinished = typist.push(line)
        assert not unfinished


def test_the_line_to_break_is_there():
    (block,) = blocks(read("README.md"), "diff")
    heading, removed, added = block.splitlines()
    path = ROOT / heading.removeprefix("--- ")
    assert path.read_text(encoding="utf-8").splitlines().count(removed[1:]) == 1
    assert added[1:].replace("1.01 * ", "") == removed[1:]
    assert "def test_gradient_equals_central_differences" in read("tests/op_case.py")


def test_both_languages_say_the_same():
    english, chinese = map(read, NAMES)
    assert blocks(english, ".*?") == blocks(chinese, ".*?")
    assert headings(english) == headings(chinese)
    other = {NAMES[0]: NAMES[1], NAMES[1]: NAMES[0]}
    assert [other.get(link, link) for link in links(english)] == links(chinese)
    assert listed_flags(english) == listed_flags(chinese)


@pytest.mark.parametrize("name", NAMES)
def test_every_file_that_is_named_exists(name):
    text = read(name)
    named = [link for link in links(text) if "://" not in link]
    named += [word for word in re.findall(r"[\w./-]+", text) if word.startswith(TOP)]
    assert len(named) > 10
    missing = sorted({path for path in named if not (ROOT / path.rstrip("./")).exists()})
    assert missing == []


@pytest.mark.parametrize("name", NAMES)
def test_every_function_that_is_named_exists(name):
    places = nnmed, nnmed.functional, nnmed.nn.utils, nnmed.optim.swa_utils
    table = read(name).split("\n| `nnmed.functional` |")[1].split("\n\n")[0]
    named = re.findall(r"`([a-z_0-9]+|[A-Z]\w+)`", table)
    assert len(named) > 4
    assert [word for word in named if not any(hasattr(place, word) for place in places)] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_is_named(name):
    (command,) = re.findall(r"^sh run\.sh python -m benchmarks (\w+)$", read(name), re.MULTILINE)
    assert command in BENCHMARKS
    assert all(f"`{command}`" in read(name) for command in BENCHMARKS)


@pytest.mark.parametrize("name", NAMES)
def test_flags_and_defaults_are_those_of_the_command(name):
    text = read(name)
    parser = argparse.ArgumentParser(add_help=False)
    options.add_arguments(parser)
    flags = {action.option_strings[0]: action for action in parser._actions}
    assert listed_flags(text) == list(flags)
    for flag, action in flags.items():
        row = re.search(rf"^\| `{flag}(?: \S+)?` \|[^|]*\|[^|]*\|$", text, flags=re.MULTILINE)[0]
        by_data = {given.get(action.dest) for given in (options.OWN, options.SYNTHETIC)}
        for value in {action.default, *(action.choices or ()), *by_data} - {None, False}:
            assert re.search(rf"(?<![\w.]){re.escape(str(value))}(?![\w.])", row), (flag, value)


@pytest.mark.parametrize("name", NAMES)
def test_both_commands_stand_at_the_top_of_it(name):
    text = read(name)
    for command in COMMANDS:
        assert f"```sh\n{command}\n```" in text
        assert text.index(command) < len(text) / 3


def test_the_picture_is_small_enough_to_load():
    picture = ROOT / "docs" / "detection.png"
    assert picture.stat().st_size < 300_000
