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
# Turing to Blackwell, the slowest first: card, real, and the format of products.
TARGETS = [
    ("sm_120", "float", "float32"), ("sm_80", "double", "float32"), ("sm_75", "float", "float32"),
    ("sm_80", "float", "float32"), ("sm_90", "float", "float32"),
]  # fmt: skip
PRODUCTS = {"gather.cu", "weight_grad.cu"}
FORMATS = [
    (card, "float", product)
    for card in ("sm_120", "sm_75", "sm_80", "sm_90")
    for product in ("float16", "bfloat16", "tfloat32")
]


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
    card, real, product = target
    defined = f"-DREAL={real}", f"-DPRODUCT={product}"
    options = f"-I{KERNELS}", "-std=c++17", "-ftz=true", f"-arch={card}", *defined
    return nvrtc.compile_to_machine_code(version, source, *options)


@pytest.mark.parametrize("version", nvrtc.LIBRARIES)
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_compiles_without_a_warning_and_without_spills(source, version, processes):
    require(version)
    targets = TARGETS + FORMATS if source.name in PRODUCTS else TARGETS
    compiled = processes.map(partial(compile_for, version=version, source=source), targets)
    for target, (complaints, kernels) in zip(targets, compiled):
        assert not complaints, f"{target}: {complaints}"
        assert kernels
        for kernel in kernels:
            print(*target, f"{kernel.name:32}{kernel.registers:4} registers")
            assert kernel.spilled == 0 or "double" in target, (target, kernel)


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
