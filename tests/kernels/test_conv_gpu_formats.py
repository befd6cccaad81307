"""CUDA convolution in fewer bits: the loops' results for rounded operands, in every tile."""

from __future__ import annotations

import numpy as np
import pytest

from nnmed.backend import cuda, precision
from nnmed.backend.arrays import to_device
from nnmed.kernels.conv import gpu as on_card
from nnmed.kernels.conv import (
    gpu_direct,
    gpu_few_channels,
    gpu_product,
    gpu_winograd,
    reference,
)
from tests.cuda.test_tensor_cores import to_tf32
from tests.kernels.test_conv_gpu import LAYERS, ONE, case, run

FORMATS = "tfloat32", "bfloat16", "float16"
CLOSE = dict(rtol=3e-5, atol=3e-5)


def rounded(array, form):
    if form == "tfloat32":
        return to_tf32(array)
    with precision.multiplying_in(form):
        return precision.rounded(array)


def check(layer, form, gpu):
    """Compare with the loops; they get numbers that were rounded, and compute in float64."""
    _, _, _, size, kernel, *windows = layer
    arrays = [array.astype(np.float32) for array in case(layer)[0]]
    x, weight, dy = (rounded(arrays[i], form).astype(np.float64) for i in (0, 1, 3))
    expected = run(reference, x, weight, arrays[2], dy, size, kernel, windows)
    with precision.multiplying_in(form):
        arrays = [to_device(array, gpu) for array in arrays]
        results = run(on_card, *arrays, size, kernel, windows)
    for key, result in results.items():
        assert result.dtype == np.float32
        np.testing.assert_allclose(result.get(), expected[key], err_msg=key, **CLOSE)


@pytest.mark.parametrize(("channels", "outputs"), [(4, 40), (3, 33)])
@pytest.mark.parametrize("tile", gpu_direct.TILES, ids=lambda tile: tile.name)
@pytest.mark.parametrize("form", FORMATS)
def test_every_tile(channels, outputs, tile, form, gpu, monkeypatch):
    monkeypatch.setattr(gpu_direct, "_tiles", lambda rows, columns: [tile])
    check((2, channels, outputs, (7, 5), (3, 3), (1, 1), ONE, (1, 1), 1), form, gpu)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", ["one pixel", "uneven", "groups of twelve", "1x1", "volume"])
def test_equals_the_loops(name, form, gpu, monkeypatch):
    monkeypatch.setattr(gpu_few_channels, "pays", lambda *sizes: False)
    check(LAYERS[name], form, gpu)


def result(layer, form, dtype, gpu):
    _, _, _, size, kernel, *windows = layer
    arrays = [to_device(array.astype(dtype), gpu) for array in case(layer)[0]]
    with precision.multiplying_in(form):
        results = run(on_card, *arrays, size, kernel, windows)
    return np.concatenate([result.get().ravel() for result in results.values()])


@pytest.mark.parametrize(
    ("name", "dtype"), [("quads everywhere", np.float64), ("depthwise", np.float32)]
)
def test_float64_and_groups_of_few_channels_are_not_rounded(name, dtype, gpu):
    plain, again = (result(LAYERS[name], form, dtype, gpu) for form in ("float32", "bfloat16"))
    np.testing.assert_array_equal(plain, again)


def test_the_format_may_change_at_any_time_and_bits_repeat(gpu):
    """Each has a module of its own."""
    layer = LAYERS["quads everywhere"]
    first, again = ([result(layer, f, np.float32, gpu) for f in FORMATS] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (first[0] != first[1]).any()
    assert (first[1] != first[2]).any()


def test_what_is_too_large_for_float16_becomes_infinite(gpu):
    x = to_device(np.full((1, 8, 2, 2), 7e4, np.float32), gpu)
    weight = to_device(np.ones((8, 8, 1, 1), np.float32), gpu)
    plain = (1, 1), ((0, 0), (0, 0)), (1, 1), 1
    with precision.multiplying_in("float16"):
        assert np.isposinf(on_card.conv2d(x, weight, None, *plain).get()).all()
    with precision.multiplying_in("bfloat16"):
        np.testing.assert_allclose(on_card.conv2d(x, weight, None, *plain).get(), 56e4, rtol=4e-3)


@pytest.mark.parametrize(
    ("dtype", "channels", "kernel", "form"),
    [
        (np.float32, 64, (1, 1), gpu_product), (np.float32, 64, (3, 3), gpu_winograd),
        (np.float64, 64, (1, 1), gpu_product),
    ],
)  # fmt: skip
def test_only_float32_goes_another_way(dtype, channels, kernel, form, gpu):
    array = to_device(np.zeros((8, channels, 56, 56), dtype), gpu)
    padding = ((kernel[0] // 2,) * 2,) * 2
    choose = (array, array, kernel, (1, 1), padding, (1, 1), 1)
    assert on_card._form(*choose) is form
    with precision.multiplying_in("float16"):
        expected = gpu_direct if dtype is np.float32 else form
        assert on_card._form(*choose) is expected


def test_allow_tf32_is_for_the_whole_process(gpu):
    assert cuda.uses_cublas(np.dtype(np.float32))
    precision.allow_tf32()
    try:
        assert cuda.product_format(np.dtype(np.float32)) == "tfloat32"
        assert not cuda.uses_cublas(np.dtype(np.float32))
        assert cuda.uses_cublas(np.dtype(np.float64))
    finally:
        precision.allow_tf32(False)
