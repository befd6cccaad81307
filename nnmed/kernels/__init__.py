"""Array functions, a family a folder, each in several forms with the same signatures.

``reference`` spells the formula as loops; ``cpu`` is fast NumPy; ``gpu`` launches the CUDA
kernels of the ``.cu`` files beside it, on arrays that live there. Convolution has two fast
forms on the CPU, ``im2col`` and ``winograd``, between which its ``cpu`` chooses. An op asks
:func:`select` for the form to use, so a test or a student can swap one for another::

    with nnmed.use_kernels(conv="reference"):
        loss.backward()
"""

from __future__ import annotations

import importlib

import numpy as np

from nnmed.backend.arrays import device_of
from nnmed.errors import UsageError

FAMILIES = (
    "conv", "pooling", "normalization", "activation", "loss", "optimizer", "resample",
)  # fmt: skip
FORMS = dict.fromkeys(FAMILIES, ("cpu", "reference"))
FORMS["conv"] += ("im2col", "winograd")

_chosen = dict.fromkeys(FAMILIES, "cpu")
_modules: dict[tuple[str, str], object] = {}


def select(family: str, *arrays):
    """Return the kernel module of `family` for `arrays`: on a GPU its CUDA form."""
    form = _chosen[family]
    for array in arrays:
        if type(array) is not np.ndarray and device_of(array) == "gpu":
            form = "gpu"
    key = family, form
    module = _modules.get(key)
    if module is None:
        module = _modules[key] = importlib.import_module(f"nnmed.kernels.{family}.{key[1]}")
    return module


class use_kernels:
    """Choose the form of kernel families, from now on or for a ``with`` block.

    Parameters
    ----------
    **forms
        Family and form, such as ``conv="reference"``. The choice holds for the process.

    Raises
    ------
    UsageError
        If a family or a form is unknown.
    """

    def __init__(self, **forms: str):
        for family, form in forms.items():
            if family not in FAMILIES:
                raise UsageError(f"unknown kernel family {family!r}: one of {', '.join(FAMILIES)}")
            if form not in FORMS[family]:
                known = ", ".join(FORMS[family])
                raise UsageError(f"unknown form {form!r} of {family}: one of {known}")
        self._before = {family: _chosen[family] for family in forms}
        _chosen.update(forms)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        _chosen.update(self._before)
