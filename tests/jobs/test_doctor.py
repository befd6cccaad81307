"""nnmed doctor: it tells what is there, and how to mend what is not."""

from __future__ import annotations

import sys
import types

import pytest

from nnmed.cli import main


def test_on_this_machine(capsys):
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    for subject in ("nnmed", "Python", "NumPy", "BLAS", "processors", "codec PIL", "CuPy"):
        assert subject in said


def test_without_cupy(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert main(["doctor"]) == 0
    assert main(["doctor", "--device", "gpu"]) == 1
    assert "nnmed[gpu]" in capsys.readouterr().out


def test_without_a_card(monkeypatch, capsys):
    empty = types.SimpleNamespace(cuda=types.SimpleNamespace(is_available=lambda: False))
    monkeypatch.setitem(sys.modules, "cupy", empty)
    assert main(["doctor", "--device", "gpu"]) == 1
    assert "driver" in capsys.readouterr().out


@pytest.mark.parametrize("module", ["gdcm", "openjpeg", "jpeg_ls"])
def test_without_a_codec(module, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, module, None)
    assert main(["doctor"]) == 0
    assert "nnmed[dicom]" in capsys.readouterr().out


def test_with_a_card(gpu, capsys):
    assert main(["doctor", "--device", gpu]) == 0
    said = capsys.readouterr().out
    assert "equals the CPU's" in said
    assert "compute capability" in said


@pytest.mark.parametrize(
    ("silu", "message"),
    [
        (lambda x: x, "is wrong by"),
        (lambda x: (_ for _ in ()).throw(RuntimeError("no compiler\nfound")), "fails: no compiler"),
    ],
)
def test_a_broken_card(silu, message, gpu, capsys, monkeypatch):
    monkeypatch.setattr("nnmed.kernels.activation.gpu.silu", silu)
    assert main(["doctor", "--device", gpu]) == 1
    assert message in capsys.readouterr().out
