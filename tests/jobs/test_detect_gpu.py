"""The detection job on a card: it predicts what it predicts on the CPU."""

from __future__ import annotations

import csv
import json
import sys

import numpy as np

from nnmed.cli import main


def test_a_run_on_the_card_predicts_what_the_cpu_does(images, command, tmp_path, gpu):
    probabilities = {}
    for device in ("cpu", gpu):
        out = tmp_path / device
        flags = "--networks", "1", "--epochs", "1", "--device", device
        assert main(command(images, out, *flags)) == 0
        assert json.loads((out / "config.json").read_text())["device"] == device
        with (out / "predictions.csv").open(newline="") as file:
            probabilities[device] = [float(row["probability"]) for row in csv.DictReader(file)]
    # Training enlarges what rounding begins.
    np.testing.assert_allclose(probabilities[gpu], probabilities["cpu"], rtol=0, atol=0.01)


def test_without_a_card_the_remedy_is_named(images, command, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert main(command(images, tmp_path / "out", "--device", "gpu")) == 2
    assert "pip install" in capsys.readouterr().err
