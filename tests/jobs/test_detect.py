"""The detection job on good input: what it writes, and what it says."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from nnmed.cli import main
from nnmed.jobs.detect import detect
from nnmed.jobs.options import DetectOptions
from nnmed.training import load_checkpoint

FIGURES = ["training", "roc_pr", "confusion", "reliability", "worst_errors", "grad_cam"]


@pytest.fixture(scope="module")
def run(images, command, tmp_path_factory):
    """One finished run with its figures, for many looks at it."""
    out = tmp_path_factory.mktemp("run") / "out"
    assert main(command(images, out)) == 0
    return out


def test_every_result_is_there(run):
    for name in ("metrics.json", "predictions.csv", "history.csv", "best.safetensors",
                 "last.safetensors", "config.json"):  # fmt: skip
        assert (run / name).stat().st_size > 0, name
    for name in FIGURES:
        with Image.open(run / f"{name}.png") as figure:
            assert figure.format == "PNG"
    leftover = [path.name for path in run.iterdir() if path.name.startswith(".")]
    assert leftover == []


def test_metrics_are_strict_json_with_intervals_and_provenance(run):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    metrics = json.loads((run / "metrics.json").read_text(), parse_constant=refuse)
    for side in ("val", "test"):
        assert metrics[side]["n"] == metrics[side]["n_positive"] + metrics[side]["n_negative"]
        score = metrics[side]["scores"]["roc_auc"]
        assert score["low"] <= score["value"] <= score["high"]
        assert score["n"] == metrics[side]["n"]
    assert metrics["threshold"]["method"] == "f1"
    assert metrics["threshold"]["n"] == metrics["val"]["n"]
    assert metrics["synthetic"] is False
    assert metrics["environment"]["packages"]["numpy"] == np.__version__
    assert metrics["wall_time_seconds"] > 0
    assert len(metrics["baselines_test"]) == 2


def predictions(run):
    with (run / "predictions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_predictions_follow_from_probability_and_threshold(run):
    metrics = json.loads((run / "metrics.json").read_text())
    rows = predictions(run)
    assert list(rows[0]) == ["case", "patient", "split", "label", "probability", "decision"]
    test = [row for row in rows if row["split"] == "test"]
    assert len(test) == metrics["test"]["n"]
    for row in rows:
        decided = float(row["probability"]) >= metrics["threshold"]["value"]
        assert int(row["decision"]) == decided
    right = np.mean([row["label"] == row["decision"] for row in test])
    assert right == pytest.approx(metrics["test"]["scores"]["accuracy"]["value"])


@pytest.mark.oracle
@pytest.mark.parametrize("side", ["val", "test"])
def test_scores_follow_from_the_predictions(run, sklearn, side):
    from sklearn import metrics as oracle

    rows = [row for row in predictions(run) if row["split"] == side]
    label, decision = (np.array([int(row[key]) for row in rows]) for key in ("label", "decision"))
    probability = np.array([float(row["probability"]) for row in rows])
    expected = {
        "roc_auc": oracle.roc_auc_score(label, probability),
        "average_precision": oracle.average_precision_score(label, probability),
        "accuracy": oracle.accuracy_score(label, decision),
        "balanced_accuracy": oracle.balanced_accuracy_score(label, decision),
        "sensitivity": oracle.recall_score(label, decision),
        "specificity": oracle.recall_score(1 - label, 1 - decision),
        "precision": oracle.precision_score(label, decision),
        "f1": oracle.f1_score(label, decision),
        "matthews_correlation": oracle.matthews_corrcoef(label, decision),
        "brier": oracle.brier_score_loss(label, probability),
    }
    scores = json.loads((run / "metrics.json").read_text())[side]["scores"]
    for name, value in expected.items():
        assert scores[name]["value"] == pytest.approx(value, abs=1e-9), name


def test_standardisation_knows_train_only(run, images, command, tmp_path, without_figures):
    """Other test images change neither the preprocessing nor the weights."""
    test = {row["case"] for row in predictions(run) if row["split"] == "test"}
    changed = tmp_path / "images"
    for path in images.rglob("*.png"):
        target = changed / path.relative_to(images)
        target.parent.mkdir(parents=True, exist_ok=True)
        content = np.asarray(Image.open(path))
        name = path.relative_to(images).as_posix()
        Image.fromarray(255 - content if name in test else content).save(target)
    assert main(command(changed, tmp_path / "out")) == 0
    first, second = (json.loads((p / "config.json").read_text()) for p in (run, tmp_path / "out"))
    assert first["preprocessing"] == second["preprocessing"]
    same_weights(run, tmp_path / "out")


def same_weights(first, second):
    first, second = (load_checkpoint(p / "last.safetensors") for p in (first, second))
    for name, array in first.model.items():
        np.testing.assert_array_equal(array, second.model[name], err_msg=name)


def test_the_same_seed_gives_the_same_result_on_any_number_of_threads(
    images, run, command, tmp_path, without_figures
):
    out = tmp_path / "again"
    assert main(command(images, out, "--threads", "1", "--workers", "2")) == 0
    same_weights(run, out)
    assert (run / "predictions.csv").read_text() == (out / "predictions.csv").read_text()


def test_a_test_side_of_one_class_is_scored_as_far_as_it_can_be(
    own_images, command, write_table, tmp_path
):
    rows = [["file", "label", "split"]]
    for number, path in enumerate(sorted(own_images.rglob("*.png"))):
        side = "test" if number < 5 else ("train", "val")[number % 3 == 0]
        rows.append([path.relative_to(own_images), path.parent.name, side])
    write_table(own_images, rows)
    assert main(command(own_images, tmp_path / "out", "--epochs", "1")) == 0
    scores = json.loads((tmp_path / "out" / "metrics.json").read_text())["test"]["scores"]
    assert scores["roc_auc"]["value"] is None
    assert "positive" in scores["roc_auc"]["reason"]
    assert scores["specificity"]["value"] is not None


def test_what_leaks_and_what_is_a_default_is_said_beside_the_scores(
    own_images, command, write_table, tmp_path, capsys, without_figures
):
    (own_images / "benign" / "copy.png").write_bytes((own_images / "benign" / "0.png").read_bytes())
    rows = [["file", "label", "split"]]
    for number, path in enumerate(sorted(own_images.rglob("*.png"))):
        side = "test" if number % 2 else "train"
        rows.append([path.relative_to(own_images), path.parent.name, side])
    rows[1][2], rows[2][2], rows[4][2], rows[-1][2] = "test", "val", "val", "train"
    rows = [row if row[0].name != "copy.png" else [row[0], row[1], "train"] for row in rows[1:]]
    write_table(own_images, [["file", "label", "split"], *rows])
    assert main(command(own_images, tmp_path / "out", "--epochs", "1")) == 0
    result = capsys.readouterr().out
    assert "WARNING: the leak check found 1 tie" in result
    assert "no positive case to choose it on" in result


@pytest.mark.skipif(os.name == "nt", reason="names of files are text on Windows")
def test_odd_images_and_names_are_taken(
    own_images, command, tmp_path, monkeypatch, without_figures
):
    ramp = np.linspace(0, 65535, 24 * 24).reshape(24, 24)
    Image.fromarray(ramp.astype(np.uint16)).save(own_images / "benign" / "sixteen_bits.png")
    Image.fromarray(np.zeros((40, 11), np.uint8)).save(own_images / "malignant" / "narrow.png")
    (own_images / "benign" / "0.png").rename(own_images / "benign" / "影像 0.png")
    (own_images / "benign" / "1.png").rename(own_images / "benign" / os.fsdecode(b"na\xefve.png"))
    with (tmp_path / "log").open("w", encoding="ascii") as log:
        monkeypatch.setattr(sys, "stdout", log)
        assert main(command(own_images, tmp_path / "out", "--epochs", "1")) == 0
    (tmp_path / "out" / "predictions.csv").read_text(encoding="utf-8")


def test_without_out_a_run_gets_a_new_folder(images, tmp_path, monkeypatch, without_figures):
    monkeypatch.chdir(tmp_path)
    options = DetectOptions(data=str(images), size=16, epochs=1, batch_size=8, workers=0)
    assert detect(options).folder.path.name == "detect-1"


def test_the_example_is_the_same_command(images, command, tmp_path, request):
    script = request.config.rootpath / "examples" / "detect_tumor.py"
    flags = command(images, tmp_path / "out", "--epochs", "1")[1:]
    result = subprocess.run(
        [sys.executable, str(script), *flags], capture_output=True, text=True, env=os.environ
    )
    assert result.returncode == 0, result.stderr
    assert f"results are in {tmp_path / 'out'}" in result.stdout
    assert result.stderr == ""  # no progress bar where stderr is no terminal
