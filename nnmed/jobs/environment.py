"""What a result depends on besides data and options: versions, machine, revision."""

from __future__ import annotations

import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import nnmed
from nnmed.backend.threads import get_num_threads

PACKAGES = ("numpy", "scipy", "pillow", "pydicom", "safetensors")


def describe_environment() -> dict:
    """Return versions, threads and the git revision of nnmed, if it runs from a checkout."""
    return {
        "nnmed": nnmed.__version__,
        "revision": git_revision(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "machine": platform.machine(),
        "system": platform.system(),
        "threads": get_num_threads(),
    }


def git_revision() -> str | None:
    """Return the commit that nnmed's checkout stands on, with ``+`` where files are changed."""
    root = Path(nnmed.__file__).resolve().parents[1]
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return None
    try:
        commit, changes = (
            subprocess.run(
                [git, "-C", str(root), *arguments],
                capture_output=True, text=True, timeout=10, check=True,
            ).stdout.strip()
            for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+" if changes else "")
