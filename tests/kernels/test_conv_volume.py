"""3-d convolution kernels: slabs of 2-d convolutions equal the loops, and PyTorch."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnmed.backend.arrays import as_channels_last, is_channels_last
from nnmed.backend.threads import get_num_threads, set_num_threads
from nnmed.kernels.conv import cpu, reference, volume

THREE = st.tuples(*[st.integers(1, 3)] * 3)
PADDING = st.tuples(st.integers(-1, 3), st.integers(-1, 3))


@st.composite
def layers(draw):
    """Sizes and arguments of a convolution whose output has at least one voxel."""
    groups, per_group, outputs = draw(st.tuples(*[st.integers(1, 2)] * 3))
    kernel, stride, dilation = draw(st.tuples(THREE, THREE, THREE))
    padding = draw(st.tuples(PADDING, PADDING, PADDING))
    size = tuple(
        max(d * (k - 1) + 1 - sum(ends), 3) + draw(st.integers(0, 2))
        for d, k, ends in zip(dilation, kernel, padding)
    )
    x = (draw(st.integers(0, 2)), groups * per_group, *size)
    weight = (groups * outputs, per_group, *kernel)
    return x, weight, stride, padding, dilation, groups


def run(kernels, arrays, *arguments):
    x, weight, bias, dy = arrays
    return {
        "y": kernels.conv3d(x, weight, bias, *arguments),
        "dx": kernels.conv3d_input_grad(dy, weight, x.shape[2:], *arguments),
        "dweight": kernels.conv3d_weight_grad(dy, x, weight.shape[2:], *arguments),
    }


def draw_arrays(x, weight, stride, padding, dilation, groups, dtype=np.float64):
    """Return x, weight, bias and dy."""
    size = [
        (length + sum(ends) - d * (k - 1) - 1) // s + 1
        for length, ends, d, k, s in zip(x[2:], padding, dilation, weight[2:], stride)
    ]
    rng = np.random.default_rng(0)
    shapes = x, weight, weight[:1], (x[0], weight[0], *size)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


@given(layers(), st.sampled_from([1, 60, 400, 1 << 20]))
@settings(max_examples=80, deadline=None)
def test_cpu_equals_reference_however_it_is_cut(layer, numbers):
    arrays = draw_arrays(*layer)
    before = [a.copy() for a in arrays]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(volume, "SLAB_NUMBERS", numbers)
        fast = run(cpu, arrays, *layer[2:])
    for name, expected in run(reference, arrays, *layer[2:]).items():
        assert fast[name].shape == expected.shape
        np.testing.assert_allclose(fast[name], expected, rtol=1e-11, atol=1e-11, err_msg=name)
    for array, copy in zip(arrays, before):
        np.testing.assert_array_equal(array, copy)


def same(number):
    return (number,) * 3


# (N, C, D, H, W), (O, C/groups, kd, kh, kw), stride, padding, dilation, groups.
LARGE = {
    "first layer": ((2, 1, 20, 30, 31), (8, 1, 3, 3, 3), same(1), same((1, 1)), same(1), 1),
    "thin": ((2, 16, 16, 21, 20), (16, 16, 3, 3, 3), same(1), same((1, 1)), same(1), 1),
    "small volumes": ((9, 32, 4, 5, 4), (24, 32, 3, 3, 3), same(1), same((1, 1)), same(1), 1),
    "stride 2": ((2, 16, 15, 16, 18), (24, 16, 3, 3, 3), same(2), same((1, 1)), same(1), 1),
    "doubling": ((2, 12, 12, 16, 18), (16, 12, 2, 2, 2), same(2), same((0, 0)), same(1), 1),
    "large slices": ((1, 8, 3, 90, 100), (8, 8, 3, 3, 3), same(1), same((1, 1)), same(1), 1),
    "dilated": ((1, 8, 14, 16, 17), (12, 8, 3, 3, 3), same(1), same((2, 2)), same(2), 1),
    "pointwise": ((2, 16, 8, 12, 12), (24, 16, 1, 1, 1), same(1), same((0, 0)), same(1), 1),
    "flat": ((2, 8, 9, 20, 20), (8, 8, 1, 3, 3), same(1), ((0, 0), (1, 1), (1, 1)), same(1), 1),
    "groups": ((2, 16, 10, 12, 12), (16, 4, 3, 3, 3), same(1), same((1, 1)), same(1), 4),
    "depthwise": ((2, 16, 10, 12, 12), (16, 1, 3, 3, 3), same(1), same((1, 1)), same(1), 16),
}


@pytest.fixture(params=LARGE)
def large(request, monkeypatch):
    """A layer whose output is made in several slabs."""
    monkeypatch.setattr(volume, "SLAB_NUMBERS", 1 << 16)
    return LARGE[request.param]


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_pytorch(torch, large, dtype):
    arrays = draw_arrays(*large, dtype=dtype)
    ours = run(cpu, arrays, *large[2:])
    tolerance = 2e-5 if dtype == np.float32 else 1e-12
    for key, expected in run_torch(torch, arrays, *large[2:]).items():
        assert ours[key].dtype == dtype
        np.testing.assert_allclose(
            ours[key], expected, rtol=0, atol=tolerance * abs(expected).max(), err_msg=key
        )


def run_torch(torch, arrays, stride, padding, dilation, groups):
    x, weight, bias, dy = map(torch.from_numpy, arrays)
    for tensor in (x, weight):
        tensor.requires_grad_()
    assert all(before == after for before, after in padding)
    ends = [before for before, _ in padding]
    y = torch.nn.functional.conv3d(x, weight, bias, stride, ends, dilation, groups)
    y.backward(dy)
    results = {"y": y.detach(), "dx": x.grad, "dweight": weight.grad}
    return {name: tensor.numpy() for name, tensor in results.items()}


def test_three_sums_are_one(large):
    """Without PyTorch: S = <dy, y> = <dx, x> = <dweight, weight>."""
    x, weight, bias, dy = draw_arrays(*large)
    got = run(cpu, (x, weight, 0 * bias, dy), *large[2:])
    total = np.sum(dy * got["y"])
    np.testing.assert_allclose(np.sum(got["dx"] * x), total, rtol=1e-9)
    np.testing.assert_allclose(np.sum(got["dweight"] * weight), total, rtol=1e-9)


def test_the_number_of_threads_changes_no_bit(large):
    arrays = draw_arrays(*large, dtype=np.float32)
    before = get_num_threads()
    try:
        results = []
        for threads in (1, 3):
            set_num_threads(threads)
            results.append(run(cpu, arrays, *large[2:]))
    finally:
        set_num_threads(before)
    for key in results[0]:
        np.testing.assert_array_equal(results[0][key], results[1][key], err_msg=key)


def test_memory_order_of_inputs_does_not_matter(large):
    arrays = draw_arrays(*large, dtype=np.float32)
    reordered = [np.asarray(a, order="F") for a in arrays]
    expected, got = (run(cpu, a, *large[2:]) for a in (arrays, reordered))
    for key in expected:
        np.testing.assert_array_equal(got[key], expected[key], err_msg=key)
    assert is_channels_last(got["y"])
    assert is_channels_last(got["dx"])


@pytest.mark.parametrize("shape", [(2, 8, 32, 32, 32), (1, 8, 2, 256, 128)])
def test_scratch_does_not_grow_with_the_volume(shape, monkeypatch):
    monkeypatch.setattr(volume, "SLAB_NUMBERS", 1 << 16)
    layer = shape, (8, 8, 3, 3, 3), same(1), same((1, 1)), same(1), 1
    arrays = draw_arrays(*layer, dtype=np.float32)
    arrays = [as_channels_last(a) if a.shape[0] == shape[0] else a for a in arrays]
    tracemalloc.start()
    try:
        results = run(cpu, arrays, *layer[2:])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    kept = sum(array.nbytes for array in results.values())
    assert peak - kept < 4 << 20  # of which the 2-d kernels' patches take most
