"""Every CUDA source compiles for the cards in use, without a warning; no card is needed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cuda import nvrtc

KERNELS = Path(__file__).resolve().parents[2] / "nnmed" / "kernels"
SOURCES = sorted(KERNELS.glob("*/*.cu"))
CARDS = ["sm_75", "sm_80", "sm_90", "sm_120"]
OPTIONS = [f"-I{KERNELS}", "-std=c++17", "-ftz=true"]


@pytest.mark.parametrize("version", nvrtc.LIBRARIES)
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_compiles_without_a_warning(source, version):
    if nvrtc.library(version) is None:
        if os.environ.get("NNMED_REQUIRE_ORACLES") == "1":
            pytest.fail(f"the compiler of CUDA {version} is required here and is not installed")
        pytest.skip(f"oracle NVRTC of CUDA {version} is not installed")
    for card, real in [*((card, "float") for card in CARDS), ("sm_90", "double")]:
        said = nvrtc.complaints(version, source, *OPTIONS, f"-arch={card}", f"-DREAL={real}")
        assert not said, f"{card}, {real}: {said}"


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_register_spills(source, tmp_path):
    command = ["nvcc", "-cubin", "-arch=sm_90", "-Xptxas", "-v", f"-I{KERNELS}", "-std=c++17"]
    done = subprocess.run(
        [*command, "-o", str(tmp_path / "kernels.cubin"), str(source)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    spills = [int(n) for n in re.findall(r"(\d+) bytes spill", done.stderr)]
    assert spills
    assert not any(spills), done.stderr
