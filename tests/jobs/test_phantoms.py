"""The job without data: phantoms that a run makes for itself."""

from __future__ import annotations

import json

import pytest

from nnmed.cli import main
from nnmed.data import phantoms

QUICK = ["detect", "--size", "16", "--epochs", "1", "--threads", "1"]


@pytest.fixture
def few(monkeypatch):
    """Make 40 phantoms instead of all."""
    monkeypatch.setattr(phantoms, "COUNT", 40)


def test_phantoms_are_called_synthetic_and_kept(few, tmp_path, capsys, without_figures):
    out = tmp_path / "out"
    assert main([*QUICK, "--out", str(out)]) == 0
    assert "SYNTHETIC" in capsys.readouterr().out
    assert json.loads((out / "metrics.json").read_text())["synthetic"] is True
    table = out / "phantoms" / "labels.csv"
    made = table.stat().st_mtime_ns
    # A run that was killed between its phantoms and its training knows its seed.
    (out / "last.safetensors").unlink()
    (out / "config.json").write_text(json.dumps({"settings": {"seed": 0}}), encoding="utf-8")
    assert main([*QUICK, "--out", str(out), "--resume", "--seed", "1"]) == 2
    assert "seed was 0 and is 1" in capsys.readouterr().err
    assert main([*QUICK, "--out", str(out), "--resume"]) == 0
    assert table.stat().st_mtime_ns == made
