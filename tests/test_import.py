"""What importing nnmed brings with it, and what it does not."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ["scipy", "pydicom", "PIL", "matplotlib", "tqdm", "safetensors", "threadpoolctl", "cupy"]


def run(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_importing_nnmed_loads_no_heavy_module():
    loaded = run(f"import sys, nnmed; print([m for m in {HEAVY} if m in sys.modules])")
    assert loaded == "[]"


def test_every_public_name_exists():
    assert run("import nnmed; print(all(getattr(nnmed, n) is not None for n in nnmed.__all__))")


def test_the_network_half_needs_no_imaging_module():
    code = (
        "import sys, nnmed, nnmed.nn, nnmed.optim, nnmed.functional;"
        "print([m for m in ('scipy', 'pydicom', 'PIL', 'matplotlib') if m in sys.modules])"
    )
    assert run(code) == "[]"
