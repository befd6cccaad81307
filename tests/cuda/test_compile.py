"""Every CUDA source compiles for the cards in use, without a warning; no card is needed.

``pytest -rP tests/cuda/test_compile.py`` shows the registers of every kernel.
"""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.cuda import nvrtc

KERNELS = Path(__file__).resolve().parents[2] / "nnmed" / "kernels"
SOURCES = sorted(KERNELS.rglob("*.cu"))
# Turing to Blackwell, the slowest first.
TARGETS = [
    ("sm_120", "float"), ("sm_80", "double"), ("sm_75", "float"), ("sm_80", "float"),
    ("sm_90", "float"),
]  # fmt: skip
# Bytes of a thread that may be kept outside of its registers, in float. The compiler of CUDA 13 is
# a few registers short for this kernel, on Turing and on Ampere's A100.
SPILLS = {"weight_grad_middle": 44}


def require(version):
    """Skip where a compiler is absent; fail where CI says that it must be there."""
    if nvrtc.library(version) is None:
        if os.environ.get("NNMED_REQUIRE_ORACLES") == "1":
            pytest.fail(f"the compiler of CUDA {version} is required here and is not installed")
        pytest.skip(f"oracle NVRTC of CUDA {version} is not installed")


@pytest.fixture(scope="module")
def processes():
    """Two processes, as compilers take turns within one."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        yield pool


def compile_for(target, version, source):
    card, real = target
    options = f"-I{source.parents[1]}", "-std=c++17", "-ftz=true", f"-arch={card}", f"-DREAL={real}"
    return nvrtc.compile_to_machine_code(version, source, *options)


@pytest.mark.parametrize("version", nvrtc.LIBRARIES)
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_compiles_without_a_warning_and_without_spills(source, version, processes):
    require(version)
    compiled = processes.map(partial(compile_for, version=version, source=source), TARGETS)
    for (card, real), (complaints, kernels) in zip(TARGETS, compiled):
        assert not complaints, f"{card}, {real}: {complaints}"
        assert kernels
        for kernel in kernels:
            print(f"{card:7}{real:7}{kernel.name:32}{kernel.registers:4} registers")
            allowed = SPILLS.get(kernel.name, 0) if real == "float" else kernel.spilled
            assert kernel.spilled <= allowed, (card, kernel)


@pytest.mark.parametrize("version", nvrtc.LIBRARIES)
def test_what_the_check_is_to_notice(version, tmp_path):
    require(version)
    source = tmp_path / "kernels.cu"
    source.write_text('extern "C" __global__ void k(float *a) { int unused; a[0] = 1; }')
    complaints, _ = nvrtc.compile_to_machine_code(version, source, "-arch=sm_90")
    assert "never referenced" in complaints
    source.write_text('extern "C" __global__ void k(float *a) { a[0] = nothing; }')
    complaints, _ = nvrtc.compile_to_machine_code(version, source, "-arch=sm_90")
    assert "undefined" in complaints
    source.write_text(
        """extern "C" __global__ void __launch_bounds__(1024) k(float *a) {
               float v[200];
               for (int i = 0; i < 200; i++) v[i] = a[i * 1024 + threadIdx.x];
               __syncthreads();
               for (int i = 0; i < 200; i++) a[i * 1024 + threadIdx.x] = v[199 - i];
           }"""
    )
    complaints, (kernel,) = nvrtc.compile_to_machine_code(version, source, "-arch=sm_90")
    assert not complaints
    assert kernel.spilled > 0
    assert kernel.registers == 64
