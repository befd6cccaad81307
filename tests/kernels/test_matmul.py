"""Products of matrices and einsum on the GPU: by cuBLAS, and by our own kernels."""

from __future__ import annotations

import numpy as np
import pytest

from nnmed.backend import precision
from nnmed.backend.arrays import to_device
from nnmed.kernels import matmul as module
from nnmed.kernels.einsum import einsum
from nnmed.kernels.matmul import matmul
from tests.kernels.test_conv_gpu_formats import FORMATS, rounded

TOLERANCE = {np.float32: dict(rtol=3e-5, atol=3e-5), np.float64: dict(rtol=1e-12, atol=1e-12)}
# Shapes of the left and the right operand.
SHAPES = [
    ((1, 1), (1, 1)), ((5, 7), (7, 3)), ((40, 36), (36, 68)), ((3, 600), (600, 2)),
    ((1, 9), (9, 4)), ((9, 1), (1, 4)), ((4, 5, 7), (4, 7, 3)), ((2, 3, 8, 4), (2, 3, 4, 12)),
    ((0, 3), (3, 4)), ((2, 0), (0, 4)), ((0, 2, 3), (0, 3, 4)),
]  # fmt: skip


def draw(shape, dtype=np.float32):
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(dtype)


def on(gpu, array, is_flipped):
    """Return the array on the card; `is_flipped`: as the transpose of one in C order."""
    if is_flipped:
        return to_device(array.swapaxes(-1, -2).copy(), gpu).swapaxes(-1, -2)
    return to_device(array, gpu)


@pytest.fixture
def captured(gpu):
    """Return a function that captures a call, launches the graph, and returns the result."""
    import cupy

    def captured(function):
        stream, pool = cupy.cuda.Stream(non_blocking=True), cupy.cuda.MemoryPool()
        with stream, cupy.cuda.using_allocator(pool.malloc):
            stream.begin_capture()
            y = function()
            graph = stream.end_capture()
        graph.launch(stream)
        stream.synchronize()
        return y.get()

    return captured


@pytest.mark.parametrize("flipped", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_matmul_eager_and_captured(shapes, flipped, dtype, gpu, captured):
    left, right = (draw(shape, dtype) for shape in shapes)
    a, b = (on(gpu, array, flip) for array, flip in zip((left, right), flipped))
    expected = left.astype(np.float64) @ right
    for y in (matmul(a, b).get(), captured(lambda: matmul(a, b))):
        assert y.dtype == dtype
        np.testing.assert_allclose(y, expected, **TOLERANCE[dtype])


@pytest.mark.parametrize("flipped", [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("shapes", [((40, 36), (36, 68)), ((4, 5, 7), (4, 7, 3))], ids=str)
@pytest.mark.parametrize("form", FORMATS)
def test_matmul_rounds_as_the_thread_says(form, shapes, flipped, gpu):
    left, right = map(draw, shapes)
    a, b = (on(gpu, array, flip) for array, flip in zip((left, right), flipped))
    with precision.multiplying_in(form):
        y = matmul(a, b).get()
    expected = rounded(left, form).astype(np.float64) @ rounded(right, form)
    np.testing.assert_allclose(y, expected, **TOLERANCE[np.float32])


def test_float64_and_integers_are_not_rounded(gpu):
    left, right = draw((5, 7), np.float64), draw((7, 3), np.float64)
    with precision.multiplying_in("float16"):
        y = matmul(to_device(left, gpu), to_device(right, gpu))
        np.testing.assert_allclose(y.get(), left @ right, rtol=1e-14)
        whole = np.arange(6).reshape(2, 3) + 5000
        y = matmul(to_device(whole, gpu), to_device(whole.T, gpu))
    np.testing.assert_array_equal(y.get(), whole @ whole.T)


@pytest.mark.parametrize("flip", [False, True])
def test_a_stack_of_more_matrices_than_a_launch_takes(flip, gpu, captured, monkeypatch):
    monkeypatch.setattr(module, "MOST", 2)
    left, right = draw((5, 3, 4)), draw((5, 4, 2))
    a, b = on(gpu, left, flip), to_device(right, gpu)
    y = captured(lambda: matmul(a, b))
    np.testing.assert_allclose(y, left @ right, **TOLERANCE[np.float32])


EQUATIONS = [
    ("ij,jk->ik", (2, 3), (3, 4)), ("ij,kj->ki", (2, 3), (4, 3)), ("i,i->", (7,), (7,)),
    ("bij,bjk->kbi", (2, 3, 4), (2, 4, 5)), ("bij,kj->bk", (2, 3, 4), (5, 4)),
    ("i,j->ji", (2,), (3,)), ("ij,ij->ij", (2, 3), (2, 3)), ("ij,k->i", (2, 3), (4,)),
    ("ij->ji", (2, 3)), ("ij->ij", (2, 3)), ("ij->", (2, 3)), (",i->i", (), (3,)),
    ("bi,oij,bj->bo", (2, 3), (4, 3, 5), (2, 5)), ("ia,ib,ic->abc", (3, 2), (3, 4), (3, 5)),
]  # fmt: skip


@pytest.mark.parametrize(("equation", "shapes"), [(e, shapes) for e, *shapes in EQUATIONS])
def test_einsum_eager_and_captured(equation, shapes, gpu, captured):
    arrays = [draw(shape, np.float64) for shape in shapes]
    terms, _, output = equation.partition("->")
    there = [to_device(array, gpu) for array in arrays]
    expected = np.einsum(equation, *arrays)
    y = einsum(terms.split(","), output, *there)
    np.testing.assert_allclose(y.get(), expected, rtol=1e-12, atol=1e-12)
    assert y.data.ptr != there[0].data.ptr
    y = captured(lambda: einsum(terms.split(","), output, *there))
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)


def test_einsum_rounds_as_the_thread_says(gpu):
    left, right = draw((2, 3, 4)), draw((2, 4, 5))
    expected = np.einsum(
        "bij,bjk->bik", *(rounded(a, "bfloat16").astype(np.float64) for a in (left, right))
    )
    for device in ("cpu", gpu):
        with precision.multiplying_in("bfloat16"):
            y = einsum(["bij", "bjk"], "bik", to_device(left, device), to_device(right, device))
        np.testing.assert_allclose(to_device(y, "cpu"), expected, **TOLERANCE[np.float32])
