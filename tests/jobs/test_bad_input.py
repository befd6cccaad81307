"""The detection job on bad data and senseless options: a message, and nothing is harmed."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from nnmed.cli import main

pytestmark = pytest.mark.usefixtures("without_figures")


def truncated_dicom(folder, table):
    from pydicom import examples

    data = examples.get_path("ct").read_bytes()
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
    table[4][0] = "benign/nowhere.png"


def empty_label(folder, table):
    table[6][1] = ""


def unknown_split(folder, table):
    for row in table[1:]:
        row[2] = "train"
    table[8][2] = "sometimes"


def damaged_row(folder, table):
    path = folder / table[9][0]
    path.write_bytes(path.read_bytes()[:-200])


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
        (damaged_row, ["row 10", ".png"]),
    ],
)
def test_bad_data_is_named_without_a_traceback(
    own_images, tmp_path, capsys, command, write_table, spoil, named
):
    paths = sorted(own_images.rglob("*.png"))
    table = [["file", "label", "split"]]
    table += [[str(p.relative_to(own_images)), p.parent.name, ""] for p in paths]
    spoil(own_images, table)
    if any(text.startswith(("labels.csv", "row 10")) for text in named):
        if not table[1][2]:
            table = [row[:2] for row in table]
        write_table(own_images, table)
    out = tmp_path / "out"
    assert main(command(own_images, out)) == 3
    captured = capsys.readouterr()
    for text in named:
        assert text in captured.err
    assert "Traceback" not in captured.err
    assert not out.exists()  # found before anything was written


def test_bad_data_leave_the_earlier_run_alone(own_images, command, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(command(own_images, out, "--epochs", "1")) == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    (own_images / "benign" / "0.png").write_text("this is no image")
    assert main(command(own_images, out, "--overwrite")) == 3
    assert main(command(own_images, out, "--resume")) == 3
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_all_bad_images_are_named_at_once(own_images, command, tmp_path, capsys):
    for spoil in (nan_pixels, truncated_dicom, truncated_png, one_pixel):
        spoil(own_images, None)
    assert main(command(own_images, tmp_path / "out")) == 3
    errors = capsys.readouterr().err
    for name in ("nan.npy", "broken.dcm", "0.png", "one_pixel.png"):
        assert name in errors


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--positive", "melanoma"], "melanoma"),
        (["--labels", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_names_that_the_data_lack_are_data_errors(images, command, tmp_path, capsys, flags, named):
    assert main(command(images, tmp_path / "out", *flags)) == 3
    assert named in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags",
    [
        ["--epochs", "0"], ["--size", "3"], ["--lr", "-1"], ["--batch-size", "1"],
        ["--seed", "-1"], ["--threads", "0"], ["--workers", "-1"], ["--device", "gpu"],
        ["--resume", "--overwrite"], ["--device", "cpu", "--cuda-graph", "on"],
    ],
)  # fmt: skip
def test_senseless_options_are_usage_errors(images, command, tmp_path, capsys, flags):
    assert main(command(images, tmp_path / "out", *flags)) == 2
    assert "error:" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_columns_need_data(capsys):
    assert main(["detect", "--group-column", "patient"]) == 2
    assert "--group-column" in capsys.readouterr().err


def test_memory_and_files_of_the_system_fail_with_a_message(capsys):
    from nnmed.jobs.command import run_command

    def no_memory():
        raise MemoryError("512 GiB")

    def full_disk():
        raise OSError(28, "No space left on device", "images/0.dcm")

    assert run_command(no_memory) == 1
    assert "512 GiB" in capsys.readouterr().err
    assert run_command(full_disk) == 3
    assert "images/0.dcm" in capsys.readouterr().err
