"""Samples and data sets: read images, split them, check for leaks, load batches.

Names are imported on first use, so that ``import nnmed`` stays fast.
"""

from __future__ import annotations

import importlib

_HOMES = {
    "Sample": "sample",
    "Dataset": "datasets",
    "open_dataset": "datasets",
    "read_image": "readers",
    "read_header": "readers",
    "split_by_group": "splits",
    "complete_split": "splits",
    "grouped_k_fold": "splits",
    "check_leakage": "leakage",
    "LeakageReport": "leakage",
    "Batch": "loader",
    "DataLoader": "loader",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__():
    return __all__
