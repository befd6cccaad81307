"""Work and bytes of each pass; of real times only that they are there."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

import nnmed
from nnmed import functional as F
from nnmed.autograd import op as op_module
from nnmed.errors import GradientError, UsageError
from nnmed.explain import Ceilings, measure_ceilings, roofline
from nnmed.ops.elementwise import Exp

CEILINGS = Ceilings(flops=1e9, bytes=1e8)
module = importlib.import_module("nnmed.explain.roofline")  # the package has the function


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


def test_what_an_op_saves_beside_its_output_is_written_and_read():
    x = nnmed.Tensor(np.ones((1, 1, 4, 4), np.float32), requires_grad=True)
    roof = roofline(lambda: F.dropout(x, 0.5).sum(), CEILINGS)
    forward, backward = [point for point in roof.points if point.op == "Dropout"]
    assert forward.nbytes == backward.nbytes == 64 + 64 + 2  # a bit an element


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


@pytest.fixture
def work(gpu, monkeypatch):
    """Return a function that lets others take seconds of a clock, on a stream that is waited for.

    The clock stands still until then.
    """
    cuda = importlib.import_module("tests.cuda.cupy_on_cpu").cuda
    if importlib.import_module("cupy").cuda is not cuda:
        pytest.skip("a real card has a clock of its own")
    now, stream = [0.0], cuda.Stream(non_blocking=True)

    def tick(seconds):
        now[0] += seconds

    def lasting(seconds, function):
        def call(*args, **kwargs):
            result = function(*args, **kwargs)
            cuda.get_current_stream().add(lambda: tick(seconds))
            return result

        return call

    for each in (module, op_module):
        monkeypatch.setattr(each, "perf_counter", lambda: now[0])
    with stream:
        yield lasting


def test_the_ceilings_of_a_gpu_are_measured_until_it_has_finished(work, monkeypatch):
    cupy = importlib.import_module("cupy")
    monkeypatch.setattr(module, "_SIZE", 64)
    monkeypatch.setattr(module, "_COPIED", 1024)
    monkeypatch.setattr(cupy, "matmul", work(2, cupy.matmul))
    monkeypatch.setattr(cupy, "copyto", work(4, cupy.copyto))
    assert measure_ceilings("gpu") == Ceilings(2 * 64**3 / 2, 2 * 4 * 1024 / 4)


def test_on_a_gpu_an_op_lasts_until_its_kernels_have_finished(work, monkeypatch):
    monkeypatch.setattr(Exp, "forward", work(8, Exp.forward))
    x = nnmed.Tensor(np.ones(9, np.float32)).to("gpu").requires_grad_()
    exp, total, *_ = roofline(lambda: nnmed.exp(x).sum(), CEILINGS).points
    assert (exp.op, exp.seconds, total.op, total.seconds) == ("Exp", 8, "Sum", 0)


def test_text_and_plot(product, tmp_path):
    assert "GFLOP/s" in str(product)
    assert "test_roofline.py" in str(product)
    path = product.plot(tmp_path / "roof.png", product)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_bad_use():
    with pytest.raises(UsageError, match="must return the loss, got NoneType"):
        roofline(lambda: None, CEILINGS)
    with pytest.raises(GradientError, match="does not depend on any tensor"):
        roofline(lambda: nnmed.Tensor(1.0), CEILINGS)
