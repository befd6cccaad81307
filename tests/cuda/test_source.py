"""What is asked of CuPy for a source: its options, and what it may be given."""

from __future__ import annotations

import numpy as np
import pytest

from nnmed.backend import cuda
from nnmed.errors import DeviceError


def test_a_changed_header_makes_other_modules(tmp_path, monkeypatch):
    monkeypatch.setattr(cuda, "_INCLUDES", tmp_path)
    (tmp_path / "a.cuh").write_text("int a;")
    found = []
    for text in ("int a;", "int b;"):
        (tmp_path / "a.cuh").write_text(text)
        cuda._headers.cache_clear()
        found.append(cuda._headers())
    cuda._headers.cache_clear()
    assert found[0] != found[1]


def test_modules_are_told_the_headers(gpu, monkeypatch):
    given = []
    monkeypatch.setattr(cuda.cupy(), "RawModule", lambda code, options: given.append(options))
    cuda.Source(cuda._INCLUDES / "here", "arithmetic.cu")._compiled(np.dtype(np.float32), "float32")
    assert f"-DHEADERS={cuda._headers()}" in given[0]


@pytest.mark.parametrize("value", [2**31, -(2**31), np.broadcast_to(np.float32(0), 2**31)])
def test_a_kernel_counts_in_ints(value):
    with pytest.raises(DeviceError, match="at most 2147479552 elements, got 2147483648"):
        cuda._argument(value, np.float32)


@pytest.mark.parametrize(
    ("name", "status", "expected"),
    [
        ("CUDARuntimeError", 2, True), ("CUDADriverError", 2, True), ("CUBLASError", 3, True),
        ("CUDARuntimeError", 700, False), ("CUBLASError", 2, False), ("ValueError", None, False),
    ],
)  # fmt: skip
def test_memory_may_end_beside_the_pool(name, status, expected, gpu):
    error = type(name, (Exception,), dict(status=status))()
    assert cuda.is_out_of_memory(error) is expected
    assert cuda.is_out_of_memory(cuda.cupy().cuda.memory.OutOfMemoryError(1, 1))
