"""Work and bytes of each pass; times are only required to be there."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed.errors import UsageError
from nnmed.explain import Ceilings, measure_ceilings, roofline

CEILINGS = Ceilings(flops=1e9, bytes=1e8)


@pytest.fixture(scope="module")
def product():
    a = nnmed.Tensor(np.ones((8, 16), np.float32), requires_grad=True)
    b = nnmed.Tensor(np.ones((16, 4), np.float32), requires_grad=True)
    roof = roofline(lambda: (a @ b).sum(), CEILINGS)
    assert a.grad is None
    return roof


def test_flops_and_bytes_of_a_matrix_product(product):
    forward, backward = [point for point in product.points if point.op == "MatMul"]
    assert (forward.direction, backward.direction) == ("forward", "backward")
    assert forward.flops == 2 * 8 * 16 * 4
    assert backward.flops == 2 * forward.flops
    sizes = 8 * 16 + 16 * 4 + 8 * 4
    assert forward.nbytes == 4 * sizes
    assert backward.nbytes == 4 * (8 * 4 + 2 * (8 * 16 + 16 * 4))
    assert forward.seconds > 0
    assert forward.achieved == pytest.approx(forward.flops / forward.seconds)


def test_the_nearer_ceiling_counts(product):
    point = product.points[0]
    # 16 operations a byte and more lie under the flat part of this roof.
    slow = Ceilings(flops=1e9, bytes=1e3)
    assert point.share(slow) == pytest.approx(point.achieved / (point.intensity * 1e3))
    fast = Ceilings(flops=1e9, bytes=1e12)
    assert point.share(fast) == pytest.approx(point.achieved / 1e9)


def test_a_step_is_recorded_once():
    x = nnmed.Tensor(np.ones(9, np.float32), requires_grad=True)
    calls = []

    def step():
        calls.append(1)
        return nnmed.exp(x).sum()

    roof = roofline(step, CEILINGS)
    assert len(calls) == 2  # one to warm up
    assert [(p.op, p.direction) for p in roof.points] == [
        ("Exp", "forward"), ("Sum", "forward"), ("Sum", "backward"), ("Exp", "backward"),
    ]  # fmt: skip


def test_ceilings_are_measured():
    ceilings = measure_ceilings()
    assert ceilings.flops > 1e8
    assert ceilings.bytes > 1e7


def test_on_a_gpu_work_and_bytes_are_the_same(gpu, product):
    a = nnmed.Tensor(np.ones((8, 16), np.float32)).to(gpu).requires_grad_()
    b = nnmed.Tensor(np.ones((16, 4), np.float32)).to(gpu).requires_grad_()
    roof = roofline(lambda: (a @ b).sum(), CEILINGS)
    assert roof.device == "gpu"
    assert [(p.op, p.flops, p.nbytes) for p in roof.points] == [
        (p.op, p.flops, p.nbytes) for p in product.points
    ]


def test_text_and_plot(product, tmp_path):
    assert "GFLOP/s" in str(product)
    assert "test_roofline.py" in str(product)
    path = product.plot(tmp_path / "roof.png", product)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_bad_use():
    with pytest.raises(UsageError, match="must return the loss, got NoneType"):
        roofline(lambda: None, CEILINGS)
