"""The detection job from files to results, on good and on bad input."""

from __future__ import annotations

import csv
import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from nnmed.cli import main
from nnmed.jobs.detect import detect
from nnmed.jobs.options import DetectOptions
from nnmed.training import load_checkpoint

QUICK = ["--size", "16", "--epochs", "2", "--batch-size", "8", "--workers", "0"]
FIGURES = ["training", "roc_pr", "confusion", "reliability", "worst_errors", "grad_cam"]


def command(data, out, *flags):
    return ["detect", "--data", str(data), "--out", str(out), *QUICK, *flags]


@pytest.fixture(scope="module")
def run(images, tmp_path_factory):
    """One finished run, for many looks at it."""
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
    assert metrics["threshold"]["method"] == "youden"
    assert metrics["threshold"]["n"] == metrics["val"]["n"]
    assert metrics["synthetic"] is False
    assert metrics["environment"]["packages"]["numpy"] == np.__version__
    assert metrics["wall_time_seconds"] > 0
    assert len(metrics["baselines_test"]) == 2


def test_predictions_follow_from_probability_and_threshold(run):
    metrics = json.loads((run / "metrics.json").read_text())
    with (run / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["case", "patient", "split", "label", "probability", "decision"]
    test = [row for row in rows if row["split"] == "test"]
    assert len(test) == metrics["test"]["n"]
    for row in rows:
        decided = float(row["probability"]) >= metrics["threshold"]["value"]
        assert int(row["decision"]) == decided
    right = np.mean([row["label"] == row["decision"] for row in test])
    assert right == pytest.approx(metrics["test"]["scores"]["accuracy"]["value"])


def test_the_same_seed_gives_the_same_result_on_any_number_of_threads(images, run, tmp_path):
    flags = ["--threads", "1", "--workers", "2"]
    assert main(command(images, tmp_path / "again", *flags)) == 0
    first, second = (load_checkpoint(p / "last.safetensors") for p in (run, tmp_path / "again"))
    for name, array in first.model.items():
        np.testing.assert_array_equal(array, second.model[name], err_msg=name)
    assert (run / "predictions.csv").read_text() == (
        tmp_path / "again" / "predictions.csv"
    ).read_text()


def test_a_finished_run_is_not_overwritten_unless_told(images, run, tmp_path, capsys):
    assert main(command(images, run)) == 2
    assert "--overwrite" in capsys.readouterr().err
    out = tmp_path / "out"
    assert main(command(images, out, "--epochs", "1")) == 0
    (out / "stray.txt").write_text("old")
    assert main(command(images, out, "--epochs", "1", "--overwrite")) == 0
    assert not (out / "stray.txt").exists()


def test_overwrite_spares_folders_that_are_no_runs(images, tmp_path, capsys):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    assert main(command(images, tmp_path / "thesis", "--overwrite")) == 2
    assert "no run of nnmed" in capsys.readouterr().err
    assert (tmp_path / "thesis" / "chapter.tex").exists()


def test_resume_refuses_other_settings_and_other_images(own_images, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(command(own_images, out)) == 0
    assert main(command(own_images, out, "--resume", "--lr", "0.1")) == 2
    assert "lr was 0.002 and is 0.1" in capsys.readouterr().err
    (own_images / "benign" / "0.png").unlink()
    assert main(command(own_images, out, "--resume")) == 2
    assert "images was" in capsys.readouterr().err


KILLED = """
import sys
from nnmed.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("number", range(3))
def test_kill_and_resume_end_with_the_same_weights(images, tmp_path, number):
    """A run of several epochs is killed at random moments, then goes on."""
    flags = ["--epochs", "6", "--threads", "1"]
    assert main(command(images, tmp_path / "whole", *flags)) == 0
    broken = tmp_path / "broken"
    wait = random.Random(number)
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, *command(images, broken, *flags, "--resume")],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        epochs = len(history(broken))
        while len(history(broken)) == epochs and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(wait.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert main(command(images, broken, *flags, "--resume")) == 0
    whole, resumed = (load_checkpoint(p / "last.safetensors") for p in (tmp_path / "whole", broken))
    for name, array in whole.model.items():
        np.testing.assert_array_equal(array, resumed.model[name], err_msg=name)
    assert len(history(broken)) == 6


def history(folder):
    path = folder / "history.csv"
    return path.read_text().splitlines()[1:] if path.exists() else []


def test_interrupting_says_how_to_go_on(images, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, *command(images, tmp_path / "out", "--epochs", "500")],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while len(history(tmp_path / "out")) < 2:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume" in errors
    assert "Traceback" not in errors


# -- bad input -------------------------------------------------------------------------


def truncated_dicom(folder, table):
    from pydicom import examples

    data = (examples.get_path("ct") if hasattr(examples, "get_path") else None).read_bytes()
    (folder / "malignant" / "broken.dcm").write_bytes(data[: len(data) // 2])


def nan_pixels(folder, table):
    image = np.zeros((24, 24), np.float32)
    image[3, 4] = np.nan
    np.save(folder / "malignant" / "nan.npy", image)


def truncated_png(folder, table):
    path = folder / "malignant" / "0.png"
    path.write_bytes(path.read_bytes()[:-200])


def one_pixel(folder, table):
    Image.fromarray(np.array([[7]], np.uint8)).save(folder / "benign" / "one_pixel.png")


def no_image(folder, table):
    (folder / "malignant" / "0.png").write_text("this is no image")


def empty_class(folder, table):
    for path in (folder / "malignant").iterdir():
        path.unlink()


def missing_file(folder, table):
    table[3]["file"] = "benign/nowhere.png"


def empty_label(folder, table):
    table[5]["label"] = ""


def unknown_split(folder, table):
    for row in table:
        row["split"] = "train"
    table[7]["split"] = "sometimes"


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (truncated_dicom, ["broken.dcm"]),
        (nan_pixels, ["nan.npy", "row 3, column 4"]),
        (truncated_png, ["0.png"]),
        (no_image, ["0.png"]),
        (one_pixel, ["one_pixel.png", "1 x 1"]),
        (empty_class, ["malignant"]),
        (missing_file, ["labels.csv", "row 5", "nowhere.png"]),
        (empty_label, ["labels.csv", "row 7"]),
        (unknown_split, ["labels.csv", "row 9", "sometimes"]),
    ],
)
def test_bad_data_is_named_without_a_traceback(own_images, tmp_path, capsys, spoil, named):
    paths = sorted(own_images.rglob("*.png"))
    table = [{"file": str(p.relative_to(own_images)), "label": p.parent.name} for p in paths]
    spoil(own_images, table)
    if any("labels.csv" in text for text in named):
        with (own_images / "labels.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(table[0]))
            writer.writeheader()
            writer.writerows(table)
    assert main(command(own_images, tmp_path / "out")) == 3
    captured = capsys.readouterr()
    for text in named:
        assert text in captured.err
    assert "Traceback" not in captured.err
    assert len(history(tmp_path / "out")) == 0  # found before training began


def test_a_test_side_of_one_class_is_scored_as_far_as_it_can_be(own_images, tmp_path):
    paths = sorted(own_images.rglob("*.png"))
    with (own_images / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "label", "split"])
        for number, path in enumerate(paths):
            side = "test" if number < 5 else ("train", "val")[number % 3 == 0]
            writer.writerow([path.relative_to(own_images), path.parent.name, side])
    assert main(command(own_images, tmp_path / "out")) == 0
    scores = json.loads((tmp_path / "out" / "metrics.json").read_text())["test"]["scores"]
    assert scores["roc_auc"]["value"] is None
    assert "positive" in scores["roc_auc"]["reason"]
    assert scores["specificity"]["value"] is not None


def test_odd_but_good_images_are_taken(own_images, tmp_path):
    ramp = np.linspace(0, 65535, 24 * 24).reshape(24, 24)
    Image.fromarray(ramp.astype(np.uint16)).save(own_images / "benign" / "sixteen_bits.png")
    Image.fromarray(np.zeros((40, 11), np.uint8)).save(own_images / "malignant" / "narrow.png")
    assert main(command(own_images, tmp_path / "out", "--epochs", "1")) == 0


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--positive", "melanoma"], "melanoma"),
        (["--labels", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_names_that_the_data_lack_are_data_errors(images, tmp_path, capsys, flags, named):
    assert main(command(images, tmp_path / "out", *flags)) == 3
    assert named in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags",
    [
        ["--epochs", "0"], ["--size", "3"], ["--lr", "-1"], ["--batch-size", "1"],
        ["--seed", "-1"], ["--threads", "0"], ["--workers", "-1"], ["--device", "gpu"],
        ["--resume", "--overwrite"],
    ],
)  # fmt: skip
def test_senseless_options_are_usage_errors(images, tmp_path, capsys, flags):
    assert main(command(images, tmp_path / "out", *flags)) == 2
    assert "error:" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_damaged_checkpoint_is_a_model_error(images, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(command(images, out, "--epochs", "1")) == 0
    (out / "last.safetensors").write_bytes(b"\xff" * 100)
    assert main(command(images, out, "--epochs", "1", "--resume")) == 4
    assert "last.safetensors" in capsys.readouterr().err


def test_without_out_each_run_gets_a_new_folder(images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = dict(data=str(images), size=16, epochs=1, batch_size=8, workers=0)
    folders = [detect(DetectOptions(**options)).folder.path.name for _ in range(2)]
    assert folders == ["detect-1", "detect-2"]


def test_the_example_is_the_same_command(images, tmp_path, request):
    script = request.config.rootpath / "examples" / "detect_tumor.py"
    flags = command(images, tmp_path / "out", "--epochs", "1")[1:]
    result = subprocess.run(
        [sys.executable, str(script), *flags], capture_output=True, text=True, env=os.environ
    )
    assert result.returncode == 0, result.stderr
    assert f"results are in {tmp_path / 'out'}" in result.stdout
    assert result.stderr == ""  # no progress bar where stderr is no terminal
