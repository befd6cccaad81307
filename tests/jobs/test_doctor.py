"""nnmed doctor: it tells what is there, and how to mend what is not."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

from nnmed.backend import cuda
from nnmed.cli import main
from nnmed.errors import DeviceError
from nnmed.jobs.doctor import CODECS, LIBRARIES


@pytest.fixture
def cupy(gpu):
    """CuPy, or its stand-in."""
    return sys.modules["cupy"]


def test_on_this_machine(capsys):
    assert main(["doctor"]) == 0
    said = capsys.readouterr().out
    for subject in ("nnmed", "Python", "numpy", "BLAS", "processors", "codec PIL", "CuPy"):
        assert f"  {subject} " in said


def test_columns_are_aligned(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gdcm", None)
    main(["doctor"])
    lines = capsys.readouterr().out.splitlines()
    column = next(line for line in lines if "Python" in line).index("3.")
    assert {line[:4] for line in lines} <= {"ok  ", "--  ", "    "}
    assert all(line[column - 2 : column] == "  " for line in lines)
    assert all(line[column] != " " for line in lines)


def test_as_a_module_and_as_json():
    command = [sys.executable, "-m", "nnmed", "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    findings = json.loads(done.stdout)
    assert {finding["kind"] for finding in findings} == {"cpu", "codec", "gpu"}
    assert all(set(finding) == {"kind", "subject", "found", "remedy"} for finding in findings)


@pytest.mark.parametrize("module", LIBRARIES[1:])
def test_without_a_library(module, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, module, None)
    assert main(["doctor"]) == 1
    assert f"{sys.executable} -m pip install {module}\n" in capsys.readouterr().out


@pytest.mark.parametrize("module", CODECS)
def test_without_a_codec(module, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, module, None)
    assert main(["doctor"]) == 0
    images, package = CODECS[module]
    said = capsys.readouterr().out
    assert f"fails: no {images}" in said
    assert f"-m pip install {package}\n" in said


@pytest.mark.parametrize("module", [*LIBRARIES[1:], "PIL", "pydicom"])
def test_nothing_that_is_missing_from_the_start_gives_a_traceback(module):
    script = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from nnmed.cli import main\nsys.exit(main(['doctor']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr == ""
    assert f"import of {module} halted" in done.stdout


def test_without_cupy(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert main(["doctor"]) == 0
    assert main(["doctor", "--device", "gpu"]) == 1
    assert "pip install 'cupy-cuda12x[ctk]'" in capsys.readouterr().out


def test_all_who_name_the_package_name_the_same(monkeypatch):
    config = configparser.ConfigParser(interpolation=None)
    config.read(Path(__file__).parents[2] / "setup.cfg")
    assert config["options.extras_require"]["gpu"].startswith(cuda.PACKAGE)
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(DeviceError, match=re.escape(f"pip install '{cuda.PACKAGE}'")):
        cuda.cupy()


def test_without_a_card(monkeypatch, capsys):
    absent = types.SimpleNamespace(is_available=lambda: False)
    empty = types.SimpleNamespace(__version__="14.2.0", cuda=absent)
    monkeypatch.setitem(sys.modules, "cupy", empty)
    assert main(["doctor"]) == 0
    assert main(["doctor", "--device", "gpu"]) == 1
    assert "NVIDIA's driver" in capsys.readouterr().out


def test_with_a_card(gpu, capsys):
    assert main(["doctor", "--device", gpu]) == 0
    said = capsys.readouterr().out
    assert said.count("equals the CPU's") == 2
    for text in ("compute capability", "GiB free", "driver for CUDA", "runtime CUDA"):
        assert text in said


@pytest.mark.parametrize(
    ("module", "function"),
    [
        ("runtime", "driverGetVersion"),
        ("runtime", "getDeviceProperties"),
        (None, "Device"),
    ],
)
def test_a_driver_that_fails(module, function, cupy, capsys, monkeypatch):
    def fail(*_):
        raise cupy.cuda.runtime.CUDARuntimeError("cudaErrorUnknown: unknown error")

    place = getattr(cupy.cuda, module) if module else cupy.cuda
    monkeypatch.setattr(place, function, fail)
    assert main(["doctor", "--device", "gpu"]) == 1
    said = capsys.readouterr().out
    assert "fails: cudaErrorUnknown" in said
    assert "NVIDIA's driver" in said


def test_without_headers(cupy, capsys, monkeypatch):
    monkeypatch.setattr("nnmed.jobs.doctor.CUDA_RUNTIMES", ())
    monkeypatch.setattr(cupy.cuda, "get_cuda_path", lambda: None)
    assert main(["doctor", "--device", "gpu"]) == 1
    assert "fails: no package" in capsys.readouterr().out


def _without_compiler(x):
    raise RuntimeError("no compiler\nfound")


@pytest.mark.parametrize(
    ("silu", "message"),
    [(lambda x: x, "it is wrong by"), (_without_compiler, "fails: no compiler\n")],
)
def test_a_broken_card(silu, message, gpu, capsys, monkeypatch):
    monkeypatch.setattr("nnmed.kernels.activation.gpu.silu", silu)
    assert main(["doctor", "--device", gpu]) == 1
    assert message in capsys.readouterr().out


def test_a_wrong_number_of_threads(monkeypatch, capsys):
    monkeypatch.setattr("nnmed.backend.threads._num_threads", None)
    monkeypatch.setenv("NNMED_NUM_THREADS", "many")
    assert main(["doctor"]) == 1
    assert "unset NNMED_NUM_THREADS" in capsys.readouterr().out
