"""Loss kernels: a walk over rows in any layout, and sums that do not depend on threads."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from nnmed.backend import threads
from nnmed.kernels.loss import cpu, reference
from nnmed.kernels.rows import Rows


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (4, 70, 3, 2), (6, 5), (2, 3, 4)])
@pytest.mark.parametrize("few", [1, 7, 10**6])
def test_rows_reads_back_what_it_wrote(shape, few, monkeypatch):
    """Whatever the memory order and the size of a block."""
    monkeypatch.setattr("nnmed.kernels.rows.CHUNK", few)
    numbers = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    for order in itertools.permutations(range(len(shape))):
        inverse = tuple(np.argsort(order))
        x = np.ascontiguousarray(numbers.transpose(order)).transpose(inverse)
        rows = Rows(x, 1)
        source, result = rows.view(x), rows.empty()
        assert np.shares_memory(source, x)
        target, firsts = rows.view(result), np.empty(rows.shape, np.float32)

        def task(_, block):
            values = rows.read(source, block)  # noqa: B023
            firsts[block] = np.take(values, 0, rows.axis).reshape(firsts[block].shape)  # noqa: B023
            rows.write(target, block, values)  # noqa: B023

        rows.for_blocks(task)
        np.testing.assert_array_equal(result, numbers)
        np.testing.assert_array_equal(rows.from_per_row(firsts), numbers[:, 0])
        np.testing.assert_array_equal(rows.view_per_row(numbers[:, 0]), firsts)
        assert result.strides == x.strides


@pytest.mark.parametrize("few", [1, 7])
def test_cross_entropy_does_not_depend_on_the_blocks(few, monkeypatch):
    rng = np.random.default_rng(0)
    x, target = rng.standard_normal((3, 4, 5, 6)), rng.integers(0, 4, (3, 5, 6))
    weight = rng.uniform(1, 2, 4)
    arguments = (target, weight, 2, 0.1, "mean", True)
    expected = reference.cross_entropy(x, *arguments)
    monkeypatch.setattr("nnmed.kernels.rows.CHUNK", few)
    for actual, value in zip(cpu.cross_entropy(x, *arguments), expected):
        np.testing.assert_allclose(actual, value, rtol=1e-10, atol=1e-14)


def test_a_long_loss_is_bit_identical_for_any_number_of_threads():
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((2, 300_001)).astype(np.float32)
    logits, target = rng.standard_normal((100_000, 3)), rng.integers(0, 3, 100_000)
    count, results = threads.get_num_threads(), []
    try:
        for number in (1, 2, 3):
            threads.set_num_threads(number)
            pair = cpu.mse_loss(x, t, "mean", True)
            rows = cpu.cross_entropy(
                logits.astype(np.float32), target, None, -100, 0.0, "mean", True
            )
            results.append([array.tobytes() for array in (*pair, *rows[:2])])
    finally:
        threads.set_num_threads(count)
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_l1_gradient_is_the_sign_of_the_smallest_and_largest_numbers(dtype):
    tiny, huge = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
    x = np.array([tiny, -tiny, huge, -huge, 0, np.inf, -np.inf, np.nan], dtype)
    _, dx = cpu.l1_loss(x, np.zeros_like(x), "sum", True)
    np.testing.assert_array_equal(dx, [1, -1, 1, -1, 0, 1, -1, np.nan])


def test_a_sum_beyond_float32_is_infinite():
    x = np.full(10, 1e19, np.float32)
    assert np.isinf(cpu.mse_loss(x, -x, "sum", False)[0])


def test_the_loss_alone_equals_the_loss_with_its_gradient():
    rng = np.random.default_rng(0)
    x, t = rng.uniform(0.1, 0.9, (2, 3, 4, 5))
    labels = rng.integers(0, 4, (3, 5))
    for reduction in ("mean", "none"):
        for function, arguments in (
            (cpu.mse_loss, (x, t)),
            (cpu.l1_loss, (x, t)),
            (cpu.smooth_l1_loss, (x, t, 0.3)),
            (cpu.binary_cross_entropy, (x, t, None)),
            (cpu.binary_cross_entropy_with_logits, (x, t, None, None)),
            (cpu.cross_entropy, (x, labels, None, -100, 0.1)),
            (cpu.soft_cross_entropy, (x, t, None, 0.1)),
            (cpu.nll_loss, (x, labels, None, -100)),
        ):
            alone, no_gradient, *_ = function(*arguments, reduction, False)
            both, gradient, *_ = function(*arguments, reduction, True)
            np.testing.assert_array_equal(alone, both)
            assert no_gradient is None
            assert gradient.shape == x.shape


def test_times_broadcasts_over_the_classes_in_any_layout():
    rng = np.random.default_rng(0)
    dx, dy = rng.standard_normal((2, 5, 6, 3)).transpose(0, 3, 1, 2), rng.standard_normal((2, 5, 6))
    expected = dx * dy[:, None]
    np.testing.assert_array_equal(reference.times(dx, dy[:, None]), expected)
    result = cpu.times(dx, dy[:, None])
    assert result is dx
    np.testing.assert_array_equal(dx, expected)


@pytest.mark.parametrize("classes", [1, 3, 40])
@pytest.mark.parametrize("few", [1, 7, 10**6])
def test_overlap_in_any_layout_and_blocks(classes, few, monkeypatch):
    rng = np.random.default_rng(0)
    numbers = rng.uniform(size=(2, classes, 5, 6))
    labels, kept = rng.integers(0, max(classes, 2), (2, 5, 6)), rng.uniform(size=(2, 5, 6)) > 0.3
    dy = rng.standard_normal((2, 2, classes))
    monkeypatch.setattr("nnmed.kernels.rows.CHUNK", few)
    for order in ((0, 1, 2, 3), (0, 2, 3, 1), (3, 2, 1, 0)):
        p = np.ascontiguousarray(numbers.transpose(order)).transpose(np.argsort(order))
        for squared, counted in ((False, None), (True, kept)):
            arguments = p, labels, counted, squared
            expected = reference.overlap(*arguments)
            np.testing.assert_allclose(cpu.overlap(*arguments), expected, rtol=1e-12)
            dp = cpu.overlap_grad(dy, *arguments)
            np.testing.assert_allclose(dp, reference.overlap_grad(dy, *arguments), rtol=1e-12)
            assert dp.strides == p.strides
    gaps = np.repeat(numbers, 2, axis=3)[..., ::2]
    np.testing.assert_allclose(cpu.overlap_grad(dy, gaps, labels, kept, True), dp)
