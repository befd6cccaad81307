"""CUDA losses against the loops, and that what the host does not look at does no harm."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from nnmed.backend.arrays import is_channels_last, to_device
from nnmed.kernels.loss import cpu, gpu_sums, reference
from nnmed.kernels.loss import gpu as on_card

CLOSE = {np.float32: {"rtol": 2e-5, "atol": 2e-6}, np.float64: {"rtol": 1e-12, "atol": 1e-14}}
dtypes = pytest.mark.parametrize("dtype", [np.float32, np.float64])
hows = pytest.mark.parametrize(
    "how", [("none", True), ("mean", True), ("sum", True), ("none", False), ("mean", False)]
)
# One number, packs of four and others, several blocks, nothing
SHAPES = [(), (1,), (7,), (8,), (2, 3, 5, 4), (3, 1, 19, 21), (0, 3)]
# (N, C, ...): one class, few, those of a warp and more, several blocks, no pixel
LOGITS = [
    (1, 1),
    (3, 2),
    (5, 3, 4, 5),
    (40, 33),
    (9, 32),
    (2, 40, 3, 3),
    (300, 2),
    (0, 3),
    (2, 3, 0),
]


@pytest.fixture(params=[None, 1], ids=["many-blocks", "one-block"])
def most_blocks(request, monkeypatch):
    """Sums have as many parts as usual, or one of all numbers."""
    if request.param:
        monkeypatch.setattr(gpu_sums, "_BLOCKS", request.param)


def on_gpu(name, *arguments):
    given = [to_device(a, "gpu") if isinstance(a, np.ndarray) else a for a in arguments]
    return getattr(on_card, name)(*given)


def check(name, *arguments, dtype):
    """Hold a function beside the loops, which compute in float64."""
    arguments = [np.asarray(a) if isinstance(a, np.generic) else a for a in arguments]
    exact = [
        a.astype(np.float64) if isinstance(a, np.ndarray) and a.dtype == dtype else a
        for a in arguments
    ]
    with np.errstate(all="ignore"):
        pairs = zip(on_gpu(name, *arguments), getattr(reference, name)(*exact), strict=True)
    for got, expected in pairs:
        if expected is None or isinstance(got, float):
            assert got == expected
            continue
        assert got.shape == np.shape(expected)
        assert got.dtype == (np.float64 if isinstance(expected, float) else dtype)
        np.testing.assert_allclose(to_device(got, "cpu"), expected, err_msg=name, **CLOSE[dtype])


def arrays(dtype, *shape, layout="rows"):
    """Return x, target, two weights: of one shape, in rows, channels-last or with gaps."""
    made = np.random.default_rng(1).uniform(0.02, 0.98, (4, *shape)).astype(dtype)
    if layout == "channels last" and len(shape) > 2:
        made = np.moveaxis(np.ascontiguousarray(np.moveaxis(made, 2, -1)), -1, 2)
    if layout == "gaps" and len(shape) > 1:
        made = np.repeat(made, 2, axis=-1)[..., ::2]
    return [np.asarray(a) for a in made]


def labels(classes, *shape):
    return np.random.default_rng(2).integers(0, classes, shape)


def test_all_functions_have_the_same_signatures():
    assert on_card.__all__ == cpu.__all__
    for name in cpu.__all__:
        ours, theirs = (inspect.signature(getattr(m, name)) for m in (on_card, reference))
        assert ours == theirs, name


@dtypes
@hows
@pytest.mark.parametrize("shape", SHAPES)
def test_pairs(shape, how, dtype, most_blocks, gpu):
    for layout in ("rows", "channels last", "gaps"):
        x, t, weight, positives = arrays(dtype, *shape, layout=layout)
        check("mse_loss", x, t, *how, dtype=dtype)
        check("l1_loss", x, t, *how, dtype=dtype)
        check("smooth_l1_loss", x, t, 0.3, *how, dtype=dtype)
        check("binary_cross_entropy", x, t, None, *how, dtype=dtype)
        check("binary_cross_entropy", x, np.round(t), weight, *how, dtype=dtype)
        check("binary_cross_entropy_with_logits", 9 * x - 4, t, None, None, *how, dtype=dtype)
        check("binary_cross_entropy_with_logits", -x, t, weight, positives, *how, dtype=dtype)


@dtypes
def test_pairs_at_the_edges_of_the_formulas(dtype, gpu):
    tiny, huge = np.finfo(dtype).tiny, np.finfo(dtype).max
    x = np.array([tiny, -tiny, huge, -huge, 0, np.inf, -np.inf, np.nan], dtype)
    loss, dx = on_gpu("l1_loss", x, np.zeros_like(x), "none", True)
    np.testing.assert_array_equal(loss.get(), np.abs(x))
    np.testing.assert_array_equal(dx.get(), [1, -1, 1, -1, 0, 1, -1, np.nan])
    far, t = np.array([800, -800, 800, -800, np.nan], dtype), np.array([1, 0, 0, 1, 1], dtype)
    loss, dx = on_gpu("binary_cross_entropy_with_logits", far, t, None, None, "none", True)
    np.testing.assert_array_equal(loss.get(), [0, 0, 800, 800, np.nan])
    np.testing.assert_array_equal(dx.get(), [0, 0, 1, -1, np.nan])
    sure = np.array([1, 0, 0, 0, np.nan], dtype)
    loss, dx = on_gpu("binary_cross_entropy", sure, t, None, "none", True)
    np.testing.assert_array_equal(loss.get(), [0, 0, 0, np.inf, np.nan])
    np.testing.assert_array_equal(dx.get(), [-1, 1, 1, -np.inf, np.nan])


@dtypes
def test_a_pair_that_begins_anywhere_in_memory(dtype, gpu):
    """Four numbers at once must begin at multiples of 16 bytes."""
    x, t, *_ = arrays(dtype, 9)
    got = on_card.mse_loss(to_device(x, gpu)[1:], to_device(t, gpu)[:-1], "none", True)
    expected = reference.mse_loss(x[1:], t[:-1], "none", True)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a.get(), b, **CLOSE[dtype])


@dtypes
@hows
@pytest.mark.parametrize("shape", LOGITS)
def test_rows(shape, how, dtype, most_blocks, gpu):
    weight = np.random.default_rng(3).uniform(0.5, 2, shape[1]).astype(dtype)
    target = labels(shape[1], shape[0], *shape[2:])
    target[:1] = -100
    for layout, w in (("rows", None), ("channels last", weight), ("gaps", weight)):
        x, q, *_ = arrays(dtype, *shape, layout=layout)
        x = 20 * x - 10
        check("cross_entropy", x, target, w, -100, 0.0, *how, dtype=dtype)
        check("cross_entropy", x, target, w, -100, 0.1, *how, dtype=dtype)
        check("soft_cross_entropy", x, q, w, 0.1, *how, dtype=dtype)
        check("nll_loss", x, target, w, -100, *how, dtype=dtype)
        for gamma in (0.0, 0.5, 2.0):
            check("focal_loss", x, target, w, -100, gamma, *how, dtype=dtype)


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.int64])
def test_labels_of_any_integers(kind, gpu):
    x, target = arrays(np.float32, 3, 4, 5)[0], labels(4, 3, 5)
    expected = reference.cross_entropy(x, target, None, 2, 0.0, "mean", True)
    got = on_gpu("cross_entropy", x, target.astype(kind), None, 2, 0.0, "mean", True)
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a.get(), b, **CLOSE[np.float32])


@hows
def test_a_batch_of_ignored_rows(how, gpu):
    x, target = arrays(np.float64, 3, 4)[0], np.full(3, 7)
    for name, settings in (("cross_entropy", (0.1,)), ("nll_loss", ()), ("focal_loss", (2.0,))):
        check(name, x, target, None, 7, *settings, *how, dtype=np.float64)


@pytest.mark.parametrize("wrong", [-1, 3, 10**6, -(10**12)])
@pytest.mark.parametrize("reduction", ["none", "mean"])
@pytest.mark.parametrize(
    ("name", "settings"),
    [("cross_entropy", (0.1,)), ("nll_loss", ()), ("focal_loss", (2.0,))],
)
def test_a_label_that_is_no_class_gives_nan(name, settings, reduction, wrong, gpu):
    x = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    weight, target = np.array([0.5, 2.0, 1.0], np.float32), np.array([0, wrong, -100, 2])
    loss, dx = on_gpu(name, x, target, weight, -100, *settings, reduction, True)[:2]
    rows = np.isnan(dx.get())
    assert rows[1].all()
    if reduction == "none":
        np.testing.assert_array_equal(np.isnan(loss.get()), [False, True, False, False])
        np.testing.assert_array_equal(rows.any(1), [False, True, False, False])
        assert not dx.get()[2].any()
    else:
        assert np.isnan(loss.get())


@dtypes
@pytest.mark.parametrize(
    "shape", [(2, 1, 5, 6), (3, 3, 7, 5), (2, 40, 4, 3), (1, 2, 1, 1), (0, 2, 3)]
)
@pytest.mark.parametrize("kind", [np.uint8, np.int64])
def test_overlap(shape, kind, dtype, gpu):
    dy = arrays(dtype, 2, *shape[:2])[0]
    target = labels(max(shape[1], 2), shape[0], *shape[2:]).astype(kind)
    kept = np.random.default_rng(4).random(target.shape) > 0.3
    for layout in ("rows", "channels last", "gaps"):
        p = arrays(dtype, *shape, layout=layout)[0]
        for squared, counted in ((False, None), (True, kept)):
            arguments = p, target, counted, squared
            for name, given in (("overlap", arguments), ("overlap_grad", (dy, *arguments))):
                got = on_gpu(name, *given)
                assert got.dtype == dtype
                assert name == "overlap" or is_channels_last(got)
                expected = getattr(reference, name)(*given)
                np.testing.assert_allclose(to_device(got, "cpu"), expected, **CLOSE[dtype])


@dtypes
@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (2, 700), (2, 0), (0, 5)])
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_lovasz_weights(shape, share, dtype, gpu):
    rng = np.random.default_rng(5)
    errors, truth = rng.standard_normal(shape).round(1).astype(dtype), rng.random(shape) < share
    for kept in (np.ones(shape, bool), rng.random(shape) < 0.7, np.zeros(shape, bool)):
        got = on_gpu("lovasz_weights", errors, truth, kept)
        assert got.dtype == dtype
        expected = cpu.lovasz_weights(errors, truth, kept)
        np.testing.assert_allclose(got.get(), expected, rtol=1e-6, atol=1e-7)
        if errors.size < 200:
            expected = reference.lovasz_weights(errors, truth, kept)
            np.testing.assert_allclose(got.get(), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("layout", ["rows", "channels last"])
@pytest.mark.parametrize("shape", [(), (2, 1, 5, 4), (2, 3, 5, 4)])
@pytest.mark.parametrize("number", [1.0, -2.5])
def test_times(number, shape, layout, gpu):
    dx = arrays(np.float32, 2, 3, 5, 4, layout=layout)[0]
    dy = np.asarray(number * (arrays(np.float32, *shape)[0] if shape else 1), np.float32)
    given = to_device(dx, gpu)
    assert on_card.times(given, to_device(dy, gpu)) is given
    np.testing.assert_allclose(to_device(given, "cpu"), dx * dy, rtol=1e-6)
    assert is_channels_last(given) == (layout != "rows")
