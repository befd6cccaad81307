"""How long to train: on a card in earnest, on the stand-in for it only to try the tests."""

from __future__ import annotations

import importlib

import pytest


@pytest.fixture
def is_card(gpu) -> bool:
    """Whether the device is a real card."""
    return importlib.import_module("cupy").__name__ == "cupy"


@pytest.fixture
def card(gpu, is_card) -> str:
    """The device "gpu", where it is a real card."""
    if not is_card:
        pytest.skip("there is no card here")
    return gpu
