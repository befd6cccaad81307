"""Runs that are killed, interrupted or resumed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from nnmed.cli import main
from nnmed.training import load_checkpoint

pytestmark = pytest.mark.usefixtures("without_figures")
# A shell lets what it runs in the background ignore SIGINT, and these tests with it.
START = """
import signal, sys
from nnmed.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main(sys.argv[1:]))
"""


def start(arguments, **streams):
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **streams}
    return subprocess.Popen([sys.executable, "-c", START, *arguments], text=True, **streams)


def wait_for_epoch(process, epochs_done, out, count):
    deadline = time.monotonic() + 60
    while epochs_done(out) < count and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_kill_and_resume_end_with_the_same_bits(images, command, epochs_done, tmp_path):
    """A run of several epochs is killed twice at random moments, and goes on."""
    flags = ["--epochs", "4", "--threads", "1"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert main(command(images, whole, *flags)) == 0
    wait = random.Random(0)
    for _ in range(2):
        process = start(command(images, broken, *flags, "--resume"))
        wait_for_epoch(process, epochs_done, broken, epochs_done(broken) + 1)
        time.sleep(wait.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert main(command(images, broken, *flags, "--resume")) == 0
    for name in ("last.safetensors", "best.safetensors"):
        first, second = (load_checkpoint(folder / name).model for folder in (whole, broken))
        for key, array in first.items():
            np.testing.assert_array_equal(array, second[key], err_msg=key)
    assert (whole / "predictions.csv").read_bytes() == (broken / "predictions.csv").read_bytes()
    assert epochs_done(broken) == 4
    assert not list(broken.glob(".*"))


def test_interrupting_says_how_to_go_on(images, command, epochs_done, tmp_path):
    out = tmp_path / "out"
    process = start(command(images, out, "--epochs", "500"), stderr=subprocess.PIPE)
    wait_for_epoch(process, epochs_done, out, 1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "--resume" in errors
    assert "Traceback" not in errors


def test_an_output_that_nobody_reads_is_no_success(images, command, tmp_path):
    process = start(
        command(images, tmp_path / "out"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 1
    assert errors == "error: stopped: nobody reads the output; --resume --out FOLDER goes on\n"


def test_resume_refuses_other_settings_and_other_images(own_images, command, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(command(own_images, out, "--epochs", "1")) == 0
    config = (out / "config.json").read_bytes()
    resume = command(own_images, out, "--epochs", "1", "--resume")
    assert main([*resume, "--lr", "0.1"]) == 2
    assert "lr was 0.002 and is 0.1" in capsys.readouterr().err
    assert (out / "config.json").read_bytes() == config
    first, second = (own_images / "benign" / name for name in ("0.png", "1.png"))
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    assert main(resume) == 2
    assert "images was" in capsys.readouterr().err
    first.write_bytes(content)
    assert main([*resume, "--threads", "1"]) == 0
    (out / "last.safetensors").write_bytes(b"\xff" * 100)
    assert main(resume) == 4
    assert "last.safetensors" in capsys.readouterr().err
