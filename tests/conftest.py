"""Fixtures shared by all tests: the oracles, the real images, a fresh seed."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from functools import lru_cache
from pathlib import Path

import pytest

REAL_IMAGES = Path(__file__).resolve().parents[2] / "shared" / "data"


def oracle(name: str):
    """Import an oracle; skip where it is absent, fail where CI says that it must be there."""
    try:
        return importlib.import_module(name)
    except ImportError:
        _leave_out(f"the oracle {name}")


def _leave_out(what: str) -> None:
    """Skip a test for which something is missing; fail where CI says that it must be there."""
    if os.environ.get("NNMED_REQUIRE_ORACLES") == "1":
        pytest.fail(f"{what} is required here, and missing")
    pytest.skip(f"{what} is not installed")


@pytest.fixture(scope="session")
def torch():
    module = oracle("torch")
    module.set_num_threads(1)
    return module


@pytest.fixture(scope="session")
def sklearn():
    return oracle("sklearn")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images that lies beside a development checkout."""
    if not REAL_IMAGES.is_dir():
        pytest.skip("the folder of real images is not here")
    return REAL_IMAGES


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium."""
    webdriver = oracle("selenium.webdriver")
    programs = [shutil.which("chromium"), shutil.which("chromedriver")]
    if not all(programs):
        _leave_out("Chromium with its driver")
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1500,1100"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(programs[1]))
    yield driver
    driver.quit()


@pytest.fixture
def gpu(monkeypatch) -> str:
    """The device "gpu": a real card, or where there is none (or NNMED_GPU=stand-in) an emulator.

    With NNMED_GPU=unpooled every array is an allocation of its own, whose borders
    compute-sanitizer watches.
    """
    if not _has_card():
        if sys.platform != "linux" or shutil.which("g++") is None:
            _leave_out("g++ on Linux, which runs CUDA sources,")
        from tests.cuda import cupy_on_cpu, cupyx_on_cpu

        monkeypatch.setitem(sys.modules, "cupy", cupy_on_cpu)
        monkeypatch.setitem(sys.modules, "cupyx", cupyx_on_cpu)
        monkeypatch.setitem(sys.modules, "cupyx.scipy", cupyx_on_cpu.scipy)
    elif os.environ.get("NNMED_GPU") == "unpooled":
        importlib.import_module("cupy").cuda.set_allocator(None)
    return "gpu"


@lru_cache
def _has_card() -> bool:
    if os.environ.get("NNMED_GPU") == "stand-in":
        return False
    try:
        return importlib.import_module("cupy").cuda.is_available()
    except ImportError:
        return False


@pytest.fixture(autouse=True)
def fresh_seed():
    from nnmed.backend import random

    random.seed(0)
    yield
    random.seed(0)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter):
    yield  # the list of skipped tests, which is long without the oracles
    skipped = terminalreporter.stats.get("skipped", [])
    oracles = sum("oracle" in str(report.longrepr) for report in skipped)
    if oracles:
        terminalreporter.write_line(
            f"{oracles} oracle tests were left out: PyTorch or scikit-learn is not installed"
        )
