"""What the network learns to tell apart."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
from PIL import Image

from nnmed.cli import main
from nnmed.jobs.kinds import FEWEST, find_kinds
from nnmed.nn import load_arrays

COUNT = 24  # images of a kind, as of the others


def data(kinds, positive):
    labels = [int(kind in positive) for kind in kinds]
    return SimpleNamespace(
        kinds=kinds, labels=np.array(labels), classes=("the rest", "+".join(sorted(positive)))
    )


def test_two_kinds_are_the_two_classes():
    kinds = ["sick", "well"] * FEWEST
    found = find_kinds(data(kinds, {"sick"}), range(len(kinds)))
    assert (found.names, found.sides) == (["well", "sick"], [0, 1])
    assert found.targets == [1, 0] * FEWEST


def test_each_frequent_kind_has_an_output():
    kinds = ["malignant", "benign", "normal"] * FEWEST
    found = find_kinds(data(kinds, {"malignant"}), range(len(kinds)))
    assert found.names == ["benign", "normal", "malignant"]
    assert found.sides == [0, 0, 1]
    assert found.targets[:3] == [2, 0, 1]


def test_rare_kinds_share_an_output():
    kinds = ["a"] * FEWEST + ["b", "c"] + ["x", "y"] * (FEWEST - 1)
    found = find_kinds(data(kinds, {"x", "y"}), range(len(kinds)))
    assert found.names == ["a", "other the rest", "x+y"]
    assert found.sides == [0, 0, 1]
    assert found.targets == [0] * FEWEST + [1, 1] + [2, 2] * (FEWEST - 1)


def test_only_training_images_count():
    kinds = ["a", "b", "x"] * FEWEST
    train = [i for i, kind in enumerate(kinds) if kind != "b"]
    found = find_kinds(data(kinds, {"x"}), train)
    assert found.names == ["a", "x"]
    assert found.targets == [0, 1] * FEWEST


def test_a_run_learns_three_kinds_and_answers_for_two_classes(
    own_images, tmp_path, command, without_figures, capsys
):
    (own_images / "normal").mkdir()
    for number in range(COUNT):
        stripes = np.tile([40, 160], (24, 12)) + number
        name = own_images / "normal" / f"{number}.png"
        Image.fromarray(stripes.astype(np.uint8)).save(name)
    assert main(command(own_images, tmp_path / "run", "--positive", "malignant")) == 0
    assert "tell apart: benign, normal, malignant" in capsys.readouterr().out
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["kinds"] == {"names": ["benign", "normal", "malignant"], "sides": [0, 0, 1]}
    assert config["classes"] == ["benign+normal", "malignant"]
    weights, _ = load_arrays(tmp_path / "run" / "best.safetensors")
    assert weights["members.1.fc.weight"].shape[0] == 3
    # Striped images are nothing like the others: no network that learnt them calls one malignant.
    rows = (tmp_path / "run" / "predictions.csv").read_text().splitlines()[1:]
    cells = [row.split(",") for row in rows]
    striped = [float(c[4]) for c in cells if c[0].startswith("normal")]
    malignant = [float(c[4]) for c in cells if c[0].startswith("malignant")]
    assert max(striped) < np.mean(malignant)
