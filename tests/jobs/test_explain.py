"""``nnmed explain``: a page for one image, and words for what it cannot read."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from nnmed.cli import main
from nnmed.jobs.saved_run import open_run


@pytest.fixture(scope="module")
def saved(images, command, tmp_path_factory):
    """A finished run, without its figures."""
    from nnmed.jobs import detect_report

    out = tmp_path_factory.mktemp("run") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detect_report, "_draw", lambda *arguments: None)
        assert main(command(images, out)) == 0
    return out


@pytest.fixture
def image(images):
    return next(path for path in sorted(images.rglob("*.png")))


def page_data(page):
    text = page.read_text(encoding="utf-8")
    (data,) = re.findall(r'<script id="data" type="application/json">(.*?)</script>', text)
    return json.loads(data)


def test_the_page_shows_the_loss_of_the_networks_own_class(saved, image, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert main(["explain", str(saved), str(image), "-o", str(page)]) == 0
    run = open_run(saved)
    probabilities = np.exp(run.model(_tensor(run.read(image))).numpy()[0])
    probabilities /= probabilities.sum()
    loss = -np.log(probabilities.max())
    assert (
        f"L = {loss:.4f} for class {run.classes[probabilities.argmax()]}" in capsys.readouterr().out
    )
    data = page_data(page)
    assert image.name in data["title"]
    (steps,) = [each["steps"] for each in data["runs"]]
    assert {step["check"]["verdict"] for step in steps} == {"passed"}
    assert any(tensor["name"] == "image" for tensor in data["runs"][0]["tensors"].values())


def _tensor(array):
    import nnmed

    return nnmed.Tensor(array)


def test_another_class_and_a_second_run(saved, image, tmp_path, capsys):
    page, classes = tmp_path / "page.html", open_run(saved).classes
    flags = ["--label", classes[0], "--beside", str(saved), "-o", str(page)]
    assert main(["explain", str(saved), str(image), *flags]) == 0
    assert f"for class {classes[0]}" in capsys.readouterr().out
    first, second = page_data(page)["runs"]
    assert first["arrays"] == second["arrays"]
    assert first["trail"] == second["trail"]


def test_the_way_of_a_pixel(saved, image, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert main(["explain", str(saved), str(image), "-o", str(page), "--pixel", "3,5"]) == 0
    assert "the way of pixel 3,5 to the loss is worked out" in capsys.readouterr().out
    (run,) = page_data(page)["runs"]
    assert run["trail"]["index"] == [0, 0, 3, 5]  # one channel
    assert run["tensors"][run["trail"]["tensor"]]["name"] == "image"
    last = run["trail"]["passages"]["0"]["part"]
    assert last == pytest.approx(run["trail"]["gradient"], rel=1e-3)


def test_without_a_pixel_it_is_the_one_with_the_largest_gradient(saved, image, tmp_path):
    page = tmp_path / "page.html"
    assert main(["explain", str(saved), str(image), "-o", str(page)]) == 0
    (run,) = page_data(page)["runs"]
    gradient = run["arrays"]["g" + run["trail"]["tensor"]]["statistics"]
    largest = max(abs(gradient["min"]), abs(gradient["max"]))
    assert abs(run["trail"]["gradient"]) == pytest.approx(largest, rel=1e-6)  # one channel


def test_a_grey_image_serves_a_network_of_colours_and_no_other_way_round(saved, tmp_path, capsys):
    colours = tmp_path / "colours.png"
    Image.fromarray(np.zeros((20, 24, 3), np.uint8)).save(colours)
    assert main(["explain", str(saved), str(colours)]) == 3
    assert "the image has 3 channels, the network was trained on 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "status", "words"),
    [
        (["--label", "nothing"], 2, "the classes are"),
        (["--frame", "3"], 2, "has 1"),
        (["--pixel", "3,900"], 2, "--pixel 3,900: the network sees"),
        (["-o", "missing/page.html"], 3, "the page cannot be written"),
    ],
)
def test_mistakes_are_named(flags, status, words, saved, image, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["explain", str(saved), str(image), *flags]) == status
    assert words in capsys.readouterr().err


def test_what_is_no_run_or_a_damaged_one_is_named(saved, image, tmp_path, capsys):
    assert main(["explain", str(tmp_path), str(image)]) == 3
    assert "holds no config.json" in capsys.readouterr().err
    spoilt = tmp_path / "spoilt"
    shutil.copytree(saved, spoilt)
    (spoilt / "best.safetensors").write_bytes(b"nothing")
    assert main(["explain", str(spoilt), str(image)]) == 4
    (spoilt / "config.json").write_text("{}")
    assert main(["explain", str(spoilt), str(image)]) == 3
    assert "lacks 'options'" in capsys.readouterr().err
    assert main(["explain", str(saved), str(tmp_path / "no.png")]) == 3
