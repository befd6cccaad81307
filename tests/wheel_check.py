"""A quick test of an installed wheel, with nnmed's core dependencies alone and no checkout.

    python wheel_check.py [nnmed-*.whl]

CI copies this file out of the checkout and runs it there. With the wheel's path it also
checks what the wheel holds.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

import nnmed
from nnmed import functional as F
from nnmed import models
from nnmed.data import open_dataset, read_image
from nnmed.data.phantoms import make_phantom, write_phantoms
from nnmed.optim import Adam


def check_contents(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert tops == {"nnmed", f"nnmed-{nnmed.__version__}.dist-info"}, tops
    here = Path(nnmed.__file__).parent.parent
    missing = [n for n in names if n.startswith("nnmed/") and not (here / n).is_file()]
    assert not missing, missing
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names), "no licence"


def check_place():
    folder = Path(nnmed.__file__).resolve().parent
    assert folder.is_relative_to(Path(sys.prefix).resolve()), f"nnmed comes from {folder}"
    assert not (folder.parent / "setup.cfg").exists(), "nnmed comes from a checkout"
    for name in ("tests", "examples", "benchmarks"):
        assert importlib.util.find_spec(name) is None, f"the wheel installs {name}"


def check_imports():
    for name in nnmed.__all__:
        assert getattr(nnmed, name) is not None, name
    for module in pkgutil.walk_packages(nnmed.__path__, "nnmed."):
        importlib.import_module(module.name)
    for name in ("torch", "sklearn", "pytest", "cupy"):
        assert name not in sys.modules, f"nnmed imports {name}"


def check_training():
    nnmed.seed(0)
    labels = nnmed.Tensor([0, 1] * 4)
    images = np.random.default_rng(0).standard_normal((8, 1, 12, 12)).astype(np.float32)
    images[1::2, :, 3:8, 3:8] += 2
    model = models.SmallCNN(1, 2, widths=(4,))
    optimizer = Adam(model.parameters(), lr=0.05)
    losses = []
    for _ in range(20):
        loss = F.cross_entropy(model(nnmed.Tensor(images)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0], losses


def check_gradient():
    rng = np.random.default_rng(0)
    x, w = (nnmed.Tensor(rng.standard_normal(s), True) for s in ((1, 2, 5, 5), (3, 2, 3, 3)))
    assert nnmed.gradcheck(F.conv2d, [x, w])


def check_dicom(folder):
    write_phantoms(folder, 8)
    (sample,) = read_image(folder / "images" / "phantom-000000.dcm")
    pixels = make_phantom(0).pixels
    assert sample.image.shape == (1, *pixels.shape)
    # Not equal: the file asks for a window, which cuts off the extremes.
    assert np.corrcoef(sample.image.ravel(), pixels.ravel())[0, 1] > 0.95
    assert len(open_dataset(folder, positive="nodule")) == 8


def check_command(folder):
    script = Path(sys.executable).parent / "nnmed"
    for arguments, expected in (
        (["--version"], f"nnmed {nnmed.__version__}"),
        (["detect", "--help"], "--group-column"),
    ):
        result = subprocess.run([script, *arguments], capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
        assert expected in result.stdout
    command = [script, "detect", "--data", folder / "absent", "--out", folder / "run"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 3, (result.returncode, result.stderr)
    assert "Traceback" not in result.stderr


def main():
    check_place()
    for wheel in sys.argv[1:]:
        check_contents(wheel)
    check_imports()
    check_training()
    check_gradient()
    with tempfile.TemporaryDirectory() as folder:
        check_dicom(Path(folder) / "phantoms")
        check_command(Path(folder))
    print(f"the wheel of nnmed {nnmed.__version__} works")


if __name__ == "__main__":
    main()
