"""The example scripts, run as a user runs them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]


def run(script, *arguments):
    command = [sys.executable, "-W", "error", ROOT / "examples" / script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    rng = np.random.default_rng(0)
    for name, brightness in (("healthy", 60), ("tumour", 90)):
        (folder / "images" / name).mkdir(parents=True)
        for number in range(12):
            pixels = rng.normal(brightness, 20, (20, 24)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "images" / name / f"{number}.png")
    flags = ["--size", 16, "--epochs", 1, "--batch-size", 8, "--workers", 0]
    data, out = folder / "images", folder / "run"
    result = run("detect_tumor.py", "--data", data, "--out", out, *flags)
    assert result.returncode == 0, result.stderr
    assert f"results are in {out}" in result.stdout
    return out


def test_the_readme_lists_what_a_run_writes(run_folder):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text[text.index("### Results") : text.index("## Five-minute tour")]
    listed = re.findall(r"`(\w+\.\w+)`", section)
    written = [path.name for path in run_folder.iterdir() if not path.name.startswith(".")]
    assert sorted(listed) == sorted(written)


def test_a_run_is_explained_in_a_picture(run_folder, tmp_path):
    result = run("explain_run.py", run_folder, tmp_path / "picture.png")
    assert result.returncode == 0, result.stderr
    with Image.open(tmp_path / "picture.png") as picture:
        assert picture.format == "PNG"
        assert len(np.unique(picture)) > 50


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    result = run("explain_run.py", tmp_path, tmp_path / "picture.png")
    assert result.returncode == 3
    assert "Traceback" not in result.stderr


def test_help_needs_no_set_up():
    result = run("detect_tumor.py", "--help")
    assert result.returncode == 0
    assert "--data PATH" in result.stdout
