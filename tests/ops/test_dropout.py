"""dropout: every op test, and masks that depend on the key and the shape alone."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed.backend import random
from nnmed.errors import UsageError
from nnmed.kernels.activation import cpu, reference
from nnmed.kernels.activation import dropout as kernel
from nnmed.ops.dropout import dropout
from tests.op_case import OpCase, op_tests


def same_mask_dropout(input, p):
    """Restart the random streams, so that every call draws the same mask."""
    random.seed(3)
    return dropout(input, p)


CASES = [
    OpCase(same_mask_dropout, dict(input=(2, 3, 4, 5)), dict(p=0.3), oracle=False),
    OpCase(same_mask_dropout, dict(input=(7, 5)), dict(p=0.5), oracle=False),
    OpCase(same_mask_dropout, dict(input=()), dict(p=0.5), oracle=False),
    OpCase(same_mask_dropout, dict(input=(4, 3)), dict(p=1.0), oracle=False),
]
TestDropout = op_tests(CASES, family="activation")


def test_share_of_kept_elements_and_scale():
    x = nnmed.Tensor(np.ones((100, 1000), np.float32), requires_grad=True)
    y = dropout(x, 0.2)
    values = np.unique(y.numpy())
    np.testing.assert_array_equal(values, np.float32([0, 1.25]))
    assert abs((y.numpy() > 0).mean() - 0.8) < 0.005  # four standard deviations
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), y.numpy())


def test_every_call_draws_anew_and_a_seed_repeats_all():
    x = nnmed.Tensor(np.ones(64, np.float32))
    random.seed(5)
    first, second = dropout(x).numpy(), dropout(x).numpy()
    other = dropout(x, stream=random.new_stream()).numpy()
    random.seed(5)
    np.testing.assert_array_equal(dropout(x).numpy(), first)
    np.testing.assert_array_equal(dropout(x).numpy(), second)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_mask_follows_shape_not_memory():
    x = np.random.default_rng(0).standard_normal((2, 3, 50, 70)).astype(np.float32)
    last = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)
    rows, bits = cpu.dropout(x, 0.4, (1, 2))
    moved, moved_bits = cpu.dropout(last, 0.4, (1, 2))
    np.testing.assert_array_equal(rows, moved)
    np.testing.assert_array_equal(bits, moved_bits)
    assert moved.strides == last.strides


def test_element_i_belongs_to_word_i():
    """What a CUDA kernel must do, spelled out element by element."""
    x, key, p = np.ones((2, 3, 4, 5), np.float32), (11, 12), 0.25
    y, _ = cpu.dropout(x, p, key)
    for n, c, h, w in np.ndindex(2, 3, 4, 5):
        i = ((n * 4 + h) * 5 + w) * 3 + c
        word = random.philox_uint32(key, i // 8 * 8, 8)[i % 8]
        assert (y[n, c, h, w] > 0) == (word >= round(p * 2**32))


@pytest.mark.parametrize("size", [1, 7, 8, 9, kernel._DRAW + 3])
def test_chunk_borders(size):
    x = np.ones(size, np.float32)
    y, bits = cpu.dropout(x, 0.5, (1, 2))
    words = random.philox_uint32((1, 2), 0, size)
    np.testing.assert_array_equal(y > 0, words >= 2**31)
    np.testing.assert_array_equal(cpu.dropout_grad(x, bits, 0.5), y)
    assert reference.dropout(x[:50], 0.5, (1, 2))[0].tolist() == y[:50].tolist()


def test_nothing_happens_outside_training_or_at_p_0():
    x = nnmed.Tensor([1.0, 2.0])
    before = random.get_state()
    assert dropout(x, 0.5, training=False) is x
    assert dropout(x, 0.0) is x
    assert random.get_state() == before


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_bad_probability(p):
    with pytest.raises(UsageError, match="p must lie"):
        dropout(nnmed.Tensor([1.0]), p)
