"""``python -m benchmarks``: every command on tiny sizes, what it writes, and what it refuses.

No duration is asserted anywhere.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.__main__ import COMMANDS, main
from benchmarks.cases import CASES
from benchmarks.subjects.bare_calls import LIMITS, BareCalls
from nnmed.backend import threads
from nnmed.kernels.activation import cpu as activation
from nnmed.kernels.conv import cpu as conv

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments) -> int:
    return main([str(argument) for argument in arguments])


def table_head(output: str) -> list[str]:
    line = next(line for line in output.splitlines() if line.startswith("| "))
    return [cell.strip() for cell in line.strip("| ").split("|")]


def test_kernels_writes_table_json_and_roofline(tmp_path, capsys):
    file, plot = tmp_path / "kernels.json", tmp_path / "roofline.png"
    status = run("kernels", "--quick", "--family", "conv,optimizer", "--against", "none",
                 "--json", file, "--plot", plot)  # fmt: skip
    output = capsys.readouterr().out
    assert status == 0
    assert "sgemm" in output
    assert "left out" in output
    assert table_head(output)[:4] == ["kernel", "form", "pass", "ms"]
    document = json.loads(file.read_text())
    assert document["schema"] == 1
    assert document["arguments"]["family"] == ["conv", "optimizer"]
    assert {"cpu", "cores", "caches", "blas", "packages", "threads"} <= set(document["machine"])
    assert set(document["ceilings"]["cpu"]) == {"sgemm", "copy"}
    rows = document["rows"]
    assert {row["form"] for row in rows} >= {"cpu", "reference"}
    assert {row["pass"] for row in rows} == {"forward", "backward", "both", "step"}
    for row in rows:
        assert row["lower_s"] <= row["median_s"] <= row["upper_s"]
        assert row["flops"] > 0
        assert row["bytes"] > 0
        assert row["ratio_better"] is None
        assert row["wrong"] is None
    with Image.open(plot) as picture:
        assert picture.format == "PNG"
        assert len(np.unique(picture)) > 20


def test_a_roofline_may_be_svg(tmp_path):
    plot = tmp_path / "roofline.svg"
    assert run("kernels", "--quick", "--family", "loss", "--against", "none", "--plot", plot) == 0
    assert plot.read_text().count("cross_entropy") >= 2


@pytest.mark.oracle
def test_kernels_stand_beside_pytorch(torch, tmp_path):
    file = tmp_path / "kernels.json"
    assert run("kernels", "--quick", "--family", "pooling", "--json", file) == 0
    document = json.loads(file.read_text())
    assert document["machine"]["pytorch"] == torch.__version__
    for row in document["rows"]:
        assert set(row["pytorch_s"]) == set(row["ratios"]) == {"default", "channels_last"}
        assert row["ratio_default"] > 0
        assert row["better_layout"] in row["ratios"]


def test_without_pytorch_the_column_says_so(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    for command in ("kernels", "gradients"):
        assert run(command, "--quick", "--family", "normalization") == 0
        assert "not installed" in capsys.readouterr().out


def test_the_number_of_threads_is_put_back():
    before = threads.get_num_threads()
    assert run("gradients", "--quick", "--family", "loss", "--threads", before + 1,
               "--against", "none") == 0  # fmt: skip
    assert threads.get_num_threads() == before


def slightly_wrong(function):
    def wrong(*arguments):
        result = function(*arguments)
        result[..., -1] *= 1.01
        return result

    return wrong


@pytest.mark.parametrize("command", ["kernels", "gradients"])
def test_a_wrong_kernel_is_caught(command, monkeypatch, capsys):
    monkeypatch.setattr(activation, "relu_grad", slightly_wrong(activation.relu_grad))
    monkeypatch.setattr(conv, "conv2d", slightly_wrong(conv.conv2d))
    assert run(command, "--quick", "--family", "activation", "--against", "none") == 1
    captured = capsys.readouterr()
    assert "(WRONG)" in captured.out
    assert "relu" in captured.err
    assert "gradient of input" in captured.err
    assert run(command, "--quick", "--family", "conv", "--against", "none") == 1
    assert "output" in capsys.readouterr().err


def test_training_gives_images_a_second_and_memory(tmp_path, capsys):
    file = tmp_path / "training.json"
    status = run("training", "--quick", "--networks", "unet", "--against", "none", "--json", file)
    assert status == 0
    assert table_head(capsys.readouterr().out)[:3] == ["network", "pass", "batch"]
    rows = json.loads(file.read_text())["rows"]
    assert [row["pass"] for row in rows] == ["training", "inference"]
    for row in rows:
        assert row["images_per_s"] == pytest.approx(row["batch"] / row["median_s"])
        assert row["peak_bytes"]["nnmed"] >= 0


@pytest.mark.oracle
def test_training_checks_against_pytorch(torch, tmp_path, monkeypatch, capsys):
    from benchmarks import memory

    monkeypatch.setattr(memory, "alone", lambda *about, **more: {"peak_bytes": 1})
    file = tmp_path / "training.json"
    flags = ["--quick", "--networks", "detector", "--json", file]
    assert run("training", *flags) == 0
    rows = json.loads(file.read_text())["rows"]
    assert set(rows[0]["pytorch_images_per_s"]) == {"default", "channels_last"}
    assert rows[0]["better_layout"] in rows[0]["pytorch_images_per_s"]
    monkeypatch.setattr(conv, "conv2d", slightly_wrong(conv.conv2d))
    assert run("training", *flags) == 1
    assert "loss differs from PyTorch's" in capsys.readouterr().err


def test_scaling_fits_exponents(tmp_path, capsys):
    file = tmp_path / "scaling.json"
    status = run("scaling", "--quick", "--axis", "size", "--against", "none", "--json", file)
    assert status == 0
    document = json.loads(file.read_text())
    small, large = document["rows"]
    assert (small["value"], large["value"]) == (16, 32)
    assert large["flops"] == pytest.approx(4 * small["flops"], rel=0.01)
    (fit,) = document["fits"]
    assert (fit["axis"], fit["against"], fit["side"]) == ("size", "flops", "nnmed")
    assert fit["time_exponent"] == pytest.approx(
        np.log(large["median_s"] / small["median_s"]) / np.log(large["flops"] / small["flops"])
    )


def test_limits_stand_beside_nnmed(tmp_path, capsys):
    file = tmp_path / "limits.json"
    assert run("limits", "--quick", "--against", "none", "--json", file) == 0
    assert "bare calls ms" in table_head(capsys.readouterr().out)
    rows = json.loads(file.read_text())["rows"]
    assert len(rows) >= 2
    for row in rows:
        assert row["calls_s"] > 0
        assert row["nnmed_s"] > 0
        assert row["ratio_calls"] is None


@pytest.mark.parametrize("key", LIMITS, ids=" ".join)
def test_bare_calls_run_for_the_case_that_they_are_named_after(key):
    (case,) = [case for case in CASES if (case.family, case.name) == key]
    for step in BareCalls(case).steps:
        step()


def test_gradients_come_near_float64(tmp_path):
    file = tmp_path / "gradients.json"
    flags = ["--quick", "--against", "none", "--only", "4 at 16", "--family", "conv"]
    assert run("gradients", *flags, "--json", file) == 0
    rows = json.loads(file.read_text())["rows"]
    gradients = {"output", "gradient of input", "gradient of weight", "gradient of bias"}
    assert {row["result"] for row in rows} == gradients
    for row in rows:
        assert 0 < row["mean_error"] <= row["max_error"] < 1e-5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required"),
        (["speed"], "invalid choice"),
        (["kernels", "--family", "convolution"], "choose of conv"),
        (["kernels", "--only", "no such layer"], "has 'no such layer' in its name"),
        (["kernels", "--device", "tpu"], "choose of cpu,gpu"),
        (["kernels", "--plot", "roofline.jpg"], ".png or .svg"),
        (["kernels", "--threads", "0"], "positive integer"),
        (["kernels", "--repeat", "1.5"], "positive integer"),
        (["kernels", "--against", "tensorflow"], "invalid choice"),
        (["training", "--batch", "8,x"], "positive integer"),
        (["training", "--networks", "vgg"], "choose of detector"),
        (["scaling", "--axis", "depth"], "choose of batch"),
        (["gradients", "--repeat", "2"], "unrecognized"),
        (["limits", "--threads", "2"], "one thread"),
    ],
)
def test_bad_options_have_status_2(arguments, message, capsys):
    try:
        status = run(*arguments)
    except SystemExit as stop:  # argparse's own way
        status = stop.code
    assert status == 2
    assert message in capsys.readouterr().err


def test_a_gpu_that_is_not_there_is_named(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cupy", None)
    for command, device in (("kernels", "cpu,gpu"), ("gradients", "gpu"), ("training", "gpu")):
        assert run(command, "--quick", "--device", device) == 2
        assert "needs CuPy, which cannot be imported" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_has_status_3(tmp_path, capsys):
    file = tmp_path / "missing" / "figures.json"
    flags = ["--quick", "--family", "loss", "--against", "none"]
    assert run("gradients", *flags, "--json", file) == 3
    assert "missing" in capsys.readouterr().err


def test_help_lists_the_commands():
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0
    for name in COMMANDS:
        assert name in result.stdout
