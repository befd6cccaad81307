"""Convolution kernels: the fast form equals the loops, and PyTorch, for any geometry."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnmed.backend.arrays import as_channels_last, is_channels_last
from nnmed.backend.threads import get_num_threads, set_num_threads
from nnmed.kernels.conv import blocks, cpu, few_pixels, merged_groups, reference

PAIR = st.tuples(st.integers(1, 3), st.integers(1, 3))
PADDING = st.tuples(st.integers(-1, 3), st.integers(-1, 3))


@st.composite
def layers(draw):
    """Sizes and arguments of a convolution whose output has at least one pixel."""
    groups, per_group, outputs = draw(st.tuples(*[st.integers(1, 3)] * 3))
    kernel, stride, dilation = draw(st.tuples(PAIR, PAIR, PAIR))
    padding = draw(st.tuples(PADDING, PADDING))
    size = tuple(
        max(dilation[axis] * (kernel[axis] - 1) + 1 - sum(padding[axis]), 3)
        + draw(st.integers(0, 4))
        for axis in (0, 1)
    )
    x = (draw(st.integers(0, 3)), groups * per_group, *size)
    weight = (groups * outputs, per_group, *kernel)
    return x, weight, stride, padding, dilation, groups


def run(kernels, arrays, stride, padding, dilation, groups):
    x, weight, bias, dy = arrays
    arguments = stride, padding, dilation, groups
    return {
        "y": kernels.conv2d(x, weight, bias, *arguments),
        "dx": kernels.conv2d_input_grad(dy, weight, x.shape[2:], *arguments),
        "dweight": kernels.conv2d_weight_grad(dy, x, weight.shape[2:], *arguments),
    }


def draw_arrays(x, weight, stride, padding, dilation, groups, dtype=np.float64):
    """Return x, weight, bias and dy."""
    size = [
        (x[a + 2] + sum(padding[a]) - dilation[a] * (weight[a + 2] - 1) - 1) // stride[a] + 1
        for a in (0, 1)
    ]
    rng = np.random.default_rng(0)
    shapes = x, weight, weight[:1], (x[0], weight[0], *size)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


@pytest.mark.parametrize("few", [True, False], ids=["few pixels", "many pixels"])
@given(layers())
@settings(max_examples=60, deadline=None)
def test_cpu_equals_reference(few, layer):
    arrays = draw_arrays(*layer)
    before = [a.copy() for a in arrays]
    with pytest.MonkeyPatch.context() as patch:
        if not few:  # these pictures are all so small that they would take that way
            patch.setattr(few_pixels, "applies", lambda *_: False)
        fast, slow = (run(kernels, arrays, *layer[2:]) for kernels in (cpu, reference))
    for name, expected in slow.items():
        assert fast[name].shape == expected.shape
        np.testing.assert_allclose(fast[name], expected, rtol=1e-11, atol=1e-11, err_msg=name)
    for array, copy in zip(arrays, before):
        np.testing.assert_array_equal(array, copy)


# (N, C, H, W), (O, C/groups, kh, kw), stride, padding, dilation, groups: sizes at which the
# work is cut into several blocks, of rows and of images.
LARGE = {
    "first layer": ((3, 1, 70, 65), (16, 1, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    "colour": ((2, 3, 64, 62), (24, 3, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    "colour, 7x7, stride 2": ((2, 3, 90, 61), (8, 3, 7, 7), (2, 2), ((3, 3), (3, 3)), (1, 1), 1),
    "thin": ((3, 16, 50, 47), (16, 16, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    "wide": ((2, 64, 30, 33), (48, 64, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    "small maps": ((40, 64, 8, 8), (32, 64, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1),
    "dilated": ((3, 16, 40, 47), (24, 16, 3, 3), (1, 1), ((2, 2), (2, 2)), (2, 2), 1),
    "stride 2": ((3, 16, 51, 64), (24, 16, 3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1), 1),
    "pointwise": ((5, 16, 40, 40), (24, 16, 1, 1), (1, 1), ((0, 0), (0, 0)), (1, 1), 1),
    "pointwise, stride 2": ((5, 16, 40, 40), (24, 16, 1, 1), (2, 2), ((0, 0), (0, 0)), (1, 1), 1),
    "groups": ((3, 32, 40, 28), (32, 8, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 4),
    "narrow groups": ((3, 12, 40, 41), (18, 2, 3, 3), (2, 1), ((1, 1), (2, 0)), (1, 2), 6),
    "few pixels": ((2, 40, 6, 7), (130, 40, 3, 3), (2, 2), ((1, 1), (1, 0)), (1, 1), 1),
    "few pixels, dilated": ((3, 70, 5, 8), (65, 70, 3, 2), (1, 2), ((2, 1), (0, 3)), (2, 3), 1),
    "depthwise": ((3, 32, 60, 60), (32, 1, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 32),
    "depthwise, two each": ((3, 16, 60, 60), (32, 1, 3, 3), (2, 2), ((1, 1), (1, 1)), (1, 1), 16),
}


@pytest.mark.parametrize("name", LARGE)
def test_blocks_fit_together(name):
    """Without PyTorch: y tap by tap, and S = <dy, y> = <dx, x> = <dweight, weight>."""
    layer = LARGE[name]
    x, weight, bias, dy = draw_arrays(*layer)
    got = run(cpu, (x, weight, 0 * bias, dy), *layer[2:])
    np.testing.assert_allclose(got["y"], tap_by_tap(x, weight, *layer[2:]), atol=1e-11)
    total = np.sum(dy * got["y"])
    np.testing.assert_allclose(np.sum(got["dx"] * x), total, rtol=1e-10)
    np.testing.assert_allclose(np.sum(got["dweight"] * weight), total, rtol=1e-10)
    with_bias = cpu.conv2d(x, weight, bias, *layer[2:])
    np.testing.assert_allclose(with_bias, got["y"] + bias[:, None, None], atol=1e-11)


def tap_by_tap(x, weight, stride, padding, dilation, groups):
    padded = np.pad(x, ((0, 0), (0, 0), *padding))
    split = padded.reshape(len(x), groups, -1, *padded.shape[2:])
    grouped = weight.reshape(groups, -1, *weight.shape[1:])
    reach = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:])]
    y = 0
    for u, v in np.ndindex(weight.shape[2:]):
        rows = split[:, :, :, u * dilation[0] :][:, :, :, : split.shape[3] - reach[0]]
        seen = rows[..., v * dilation[1] :][..., : split.shape[4] - reach[1]]
        seen = seen[:, :, :, :: stride[0], :: stride[1]]
        y = y + np.einsum("ngcij,goc->ngoij", seen, grouped[..., u, v], optimize=True)
    return y.reshape(len(x), -1, *y.shape[3:])


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LARGE)
def test_equals_pytorch(torch, name, dtype):
    layer = LARGE[name]
    arrays = draw_arrays(*layer, dtype=dtype)
    ours = run(cpu, arrays, *layer[2:])
    theirs = run_torch(torch, arrays, *layer[2:])
    tolerance = 2e-5 if dtype == np.float32 else 1e-12
    for key, expected in theirs.items():
        assert ours[key].dtype == dtype
        np.testing.assert_allclose(
            ours[key], expected, rtol=0, atol=tolerance * abs(expected).max(), err_msg=key
        )


def run_torch(torch, arrays, stride, padding, dilation, groups):
    x, weight, bias, dy = map(torch.from_numpy, arrays)
    for tensor in (x, weight):
        tensor.requires_grad_()
    (top, bottom), (left, right) = padding
    padded = torch.nn.functional.pad(x, (left, right, top, bottom))
    y = torch.nn.functional.conv2d(padded, weight, bias, stride, 0, dilation, groups)
    y.backward(dy)
    results = {"y": y.detach(), "dx": x.grad, "dweight": weight.grad}
    return {name: tensor.numpy() for name, tensor in results.items()}


@pytest.mark.parametrize("name", LARGE)
def test_the_number_of_threads_changes_no_bit(name):
    layer = LARGE[name]
    arrays = draw_arrays(*layer, dtype=np.float32)
    before = get_num_threads()
    try:
        results = []
        for threads in (1, 3):
            set_num_threads(threads)
            results.append(run(cpu, arrays, *layer[2:]))
    finally:
        set_num_threads(before)
    for key in results[0]:
        np.testing.assert_array_equal(results[0][key], results[1][key], err_msg=key)


@pytest.mark.parametrize("name", LARGE)
def test_memory_order_of_inputs_does_not_matter(name):
    layer = LARGE[name]
    arrays = draw_arrays(*layer, dtype=np.float32)
    reordered = [np.asarray(a, order="F") for a in arrays]
    expected, got = (run(cpu, a, *layer[2:]) for a in (arrays, reordered))
    for key in expected:
        np.testing.assert_array_equal(got[key], expected[key], err_msg=key)
    assert is_channels_last(got["y"])
    assert is_channels_last(got["dx"])


def test_the_ways_for_small_work_are_reached():
    for name in ("few pixels", "few pixels, dilated"):
        _, weight, _, dy = (a.shape for a in draw_arrays(*LARGE[name]))
        assert few_pixels.applies((dy[0], *dy[2:]), weight, 1)
        assert min(weight[:2]) > few_pixels.MIN_CHANNELS  # more than one range
    assert merged_groups.merged(6, 2, 3) == 3  # "narrow groups"
    assert merged_groups.merged(4, 8, 8) == 2  # "groups"
    assert merged_groups.merged(5, 4, 4) == 1  # no number of groups from 2 to 4 divides 5


@pytest.mark.parametrize("name", ["few pixels", "few pixels, dilated", "narrow groups", "groups"])
def test_nan_is_not_hidden(name):
    layer = LARGE[name]
    x, *_, dy = arrays = draw_arrays(*layer)
    x[1, 1, 3, 4] = dy[1, 2, 1, 1] = np.nan
    fast, slow = (run(kernels, arrays, *layer[2:]) for kernels in (cpu, reference))
    for key, expected in slow.items():
        hidden = np.isnan(expected) & ~np.isnan(fast[key])
        assert np.isnan(expected).any()
        assert not hidden.any(), key
        assert np.isfinite(fast[key]).any(), key


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 16, 64])
def test_scratch_is_a_small_part_of_what_im2col_of_the_batch_would_take(channels, dtype):
    layer = (32, channels, 64, 64), (16, channels, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1
    arrays = draw_arrays(*layer, dtype=dtype)
    arrays = [as_channels_last(a) if a.ndim == 4 else a for a in arrays]
    before = get_num_threads()
    set_num_threads(1)  # which starts without scratch
    vars(blocks._scratch).clear()
    tracemalloc.start()
    try:
        results = run(cpu, arrays, *layer[2:])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        set_num_threads(before)
    kept = sum(array.nbytes for array in results.values())
    assert peak - kept < 9 * arrays[0].nbytes / 2
    assert peak - kept < 16 << 20


def test_scratch_is_kept_while_it_is_small(monkeypatch):
    monkeypatch.setattr(blocks, "KEPT_BYTES", 4000)
    small = blocks.scratch("of this test", (10, 100), np.float32)
    assert np.shares_memory(blocks.scratch("of this test", (5, 7), np.float64), small)
    large = blocks.scratch("of this test", (1001,), np.float32)
    assert not np.shares_memory(large, small)
    assert not np.shares_memory(blocks.scratch("of this test", (1001,), np.float32), large)
    assert vars(blocks._scratch).pop("of this test").nbytes == 4000


def test_input_gradient_where_no_window_looks():
    # Stride 3 skips rows 2 and 5; the last row has no window at all.
    dy, weight = np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2))
    dx = cpu.conv2d_input_grad(dy, weight, (7, 6), (3, 3), ((0, 0), (0, 0)), (1, 1), 1)
    seen = np.array([1, 1, 0, 1, 1, 0])
    np.testing.assert_array_equal(dx[0, 0], np.outer([*seen, 0], seen))
