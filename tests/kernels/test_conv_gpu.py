"""CUDA convolution against the loops, where tiles, groups, parts and borders meet."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from nnmed.backend.arrays import to_device, zeros_channels_last
from nnmed.kernels.conv import gpu as on_card
from nnmed.kernels.conv import gpu_direct, gpu_product, gpu_winograd, reference

ONE = ((1, 1), (1, 1))
# (N, C, O, size, kernel, stride, padding, dilation, groups)
LAYERS = {
    "one pixel": (1, 1, 1, (1, 1), (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    "more outputs than a tile": (2, 5, 131, (5, 6), (3, 3), (1, 1), ONE, (1, 1), 1),
    "thin tiles, several": (1, 3, 33, (13, 12), (3, 3), (1, 1), ONE, (1, 1), 1),
    "several tiles of pixels": (3, 4, 6, (11, 13), (3, 3), (2, 2), ONE, (1, 1), 1),
    "quads everywhere": (2, 8, 12, (7, 9), (3, 3), (1, 1), ONE, (1, 1), 1),
    "7x7": (2, 3, 8, (15, 14), (7, 7), (2, 2), ((3, 3), (3, 3)), (1, 1), 1),
    "uneven": (2, 4, 6, (9, 8), (3, 2), (2, 3), ((2, 0), (1, 3)), (2, 1), 2),
    "cropped": (2, 3, 4, (9, 8), (3, 3), (1, 1), ((-2, 1), (0, -1)), (1, 1), 1),
    "steps over pixels": (2, 3, 4, (9, 8), (2, 1), (3, 4), ((0, 1), (2, 0)), (1, 1), 1),
    "stride and dilation share a factor": (2, 3, 4, (13, 15), (3, 3), (4, 6), ONE, (2, 4), 1),
    "window of padding": (1, 2, 3, (3, 4), (2, 3), (1, 2), ((3, 2), (4, 1)), (1, 1), 1),
    "signal": (2, 3, 5, (19, 1), (4, 1), (2, 1), ((1, 2), (0, 0)), (2, 1), 1),
    "depthwise": (2, 24, 24, (7, 6), (3, 3), (1, 1), ONE, (1, 1), 24),
    "depthwise, two outputs": (2, 10, 20, (7, 6), (3, 3), (2, 2), ONE, (1, 1), 10),
    "depthwise signal": (2, 3, 3, (19, 1), (5, 1), (1, 1), ((2, 2), (0, 0)), (1, 1), 3),
    "groups of two": (3, 66, 99, (5, 4), (4, 3), (1, 2), ((0, 2), (1, 1)), (2, 1), 33),
    "groups of twelve": (2, 24, 36, (7, 6), (3, 3), (1, 1), ONE, (1, 1), 2),
    "many pixels, several parts": (6, 2, 3, (17, 16), (3, 3), (1, 1), ONE, (1, 1), 1),
    "1x1": (2, 7, 9, (5, 6), (1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    "1x1, every second pixel": (2, 7, 9, (5, 6), (1, 1), (2, 2), ((0, 0), (0, 0)), (1, 1), 1),
    "empty batch": (0, 3, 4, (5, 6), (3, 3), (1, 1), ONE, (1, 1), 1),
    "volume": (2, 3, 5, (5, 6, 4), (3, 2, 3), (2, 1, 1), (*ONE, (0, 1)), (1, 2, 1), 1),
    "depthwise volume": (1, 9, 9, (3, 5, 6), (2, 3, 3), (1, 2, 1), (*ONE, (1, 0)), (1, 1, 2), 9),
}
WINOGRAD = {
    "one tile": (1, 1, 1, (2, 2), (3, 3), (1, 1), ONE, (1, 1), 1),
    "parts of tiles": (2, 5, 3, (7, 9), (3, 3), (1, 1), ONE, (1, 1), 1),
    "all ends": (2, 4, 8, (6, 5), (3, 3), (1, 1), ((0, 2), (2, 1)), (1, 1), 1),
    "no padding": (1, 4, 4, (12, 3), (3, 3), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
}
TOLERANCE = {np.float32: dict(rtol=1e-4, atol=1e-4), np.float64: dict(rtol=1e-11, atol=1e-11)}


def run(kernels, x, weight, bias, dy, size, kernel, windows):
    dims = f"{len(size)}d"
    return {
        "y": getattr(kernels, f"conv{dims}")(x, weight, bias, *windows),
        "dx": getattr(kernels, f"conv{dims}_input_grad")(dy, weight, size, *windows),
        "dweight": getattr(kernels, f"conv{dims}_weight_grad")(dy, x, kernel, *windows),
    }


@lru_cache
def case(layer):
    """Return x, weight, bias and dy of a layer, and what the loops make of them."""
    n, channels, outputs, size, kernel, *windows = layer
    draw = np.random.default_rng(0).standard_normal
    x, weight = draw((n, channels, *size)), draw((outputs, channels // windows[-1], *kernel))
    bias = draw(outputs)
    dy = draw(reference.conv2d(x, weight, bias, *windows).shape)
    return (x, weight, bias, dy), run(reference, x, weight, bias, dy, size, kernel, windows)


def check(layer, dtype, gpu, tolerance=None):
    _, _, _, size, kernel, *windows = layer
    arrays, expected = case(layer)
    arrays = [to_device(array.astype(dtype), gpu) for array in arrays]
    for key, result in run(on_card, *arrays, size, kernel, windows).items():
        assert result.dtype == dtype
        np.testing.assert_allclose(
            to_device(result, "cpu"), expected[key], err_msg=key, **tolerance or TOLERANCE[dtype]
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LAYERS)
def test_equals_the_loops(name, dtype, gpu):
    check(LAYERS[name], dtype, gpu)


@pytest.mark.parametrize(("channels", "outputs"), [(4, 40), (3, 33)])
@pytest.mark.parametrize("tile", gpu_direct.TILES, ids=lambda tile: tile.name)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_tile(channels, outputs, tile, dtype, gpu, monkeypatch):
    monkeypatch.setattr(gpu_direct, "_tiles", lambda rows, columns: [tile])
    check((2, channels, outputs, (9, 11), (3, 3), (1, 1), ONE, (1, 1), 1), dtype, gpu)


@pytest.mark.parametrize("numbers", [1, 2000, 1 << 25])  # a tile, some tiles, all at a time
@pytest.mark.parametrize("m", [2, 4])
@pytest.mark.parametrize("name", WINOGRAD)
def test_winograd(name, m, numbers, gpu, monkeypatch):
    monkeypatch.setattr(gpu_winograd, "pays", lambda *sizes: True)
    monkeypatch.setattr(gpu_winograd, "SIZES", (m,))
    monkeypatch.setattr(gpu_winograd, "NUMBERS", numbers)
    check(WINOGRAD[name], np.float32, gpu, dict(rtol=2e-4, atol=2e-4))


def test_winograd_is_chosen_for_many_channels():
    assert gpu_winograd.pays((8, 56, 56), 64, 64)
    assert not gpu_winograd.pays((8, 56, 56), 16, 16)
    assert not gpu_winograd.pays((8, 1, 1), 512, 512)


@pytest.mark.parametrize("stride", [1, 2])
def test_arrays_that_begin_anywhere_in_memory(stride, gpu):
    """Four numbers at once must begin at multiples of 16 bytes."""
    layer = (2, 8, 8, (6, 5), (3, 3), (stride, stride), ONE, (1, 1), 1)
    _, _, _, size, kernel, *windows = layer
    arrays, expected = case(layer)
    moved = []
    for array in arrays:
        flat = to_device(np.append(0, np.moveaxis(array, 1, -1) if array.ndim > 1 else array), gpu)
        flat = flat.astype(np.float32)[1:]
        if array.ndim > 1:
            n, channels, *rest = array.shape
            flat = flat.reshape(n, *rest, channels).transpose(0, 3, 1, 2)
        moved.append(flat)
    for key, result in run(on_card, *moved, size, kernel, windows).items():
        np.testing.assert_allclose(
            to_device(result, "cpu"), expected[key], err_msg=key, **TOLERANCE[np.float32]
        )


def test_a_graph_is_captured_without_cublas(gpu):
    """The products of 1x1 windows are made by gather.cu then, and later runs see new numbers."""
    import cupy

    plain = (1, 1), ((0, 0), (0, 0)), (1, 1), 1
    x, weight = (
        to_device(np.random.default_rng(0).standard_normal(shape), gpu)
        for shape in ((2, 7, 5, 6), (9, 7, 1, 1))
    )
    expected = on_card.conv2d(x, weight, None, *plain)
    assert gpu_product.applies(np.float64, (1, 1), *plain[:2], 1)
    later = zeros_channels_last(x.shape, x.dtype, cupy)
    stream, pool = cupy.cuda.Stream(non_blocking=True), cupy.cuda.MemoryPool()
    with stream, cupy.cuda.using_allocator(pool.malloc):
        stream.begin_capture()
        assert not gpu_product.applies(np.float64, (1, 1), *plain[:2], 1)
        y = on_card.conv2d(later, weight, None, *plain)
        graph = stream.end_capture()
    later[...] = x
    graph.launch(stream)
    stream.synchronize()
    np.testing.assert_allclose(y.get(), expected.get(), rtol=1e-12, atol=1e-12)


def test_the_weight_gradient_has_the_same_bits_again(gpu):
    rng = np.random.default_rng(0)
    x, dy = (to_device(rng.standard_normal((8, c, 20, 20)).astype(np.float32), gpu) for c in (3, 4))
    windows = (3, 3), (1, 1), ONE, (1, 1), 1
    first, again = (on_card.conv2d_weight_grad(dy, x, *windows) for _ in range(2))
    np.testing.assert_array_equal(first.get(), again.get())
