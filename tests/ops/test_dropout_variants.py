"""Dropout of channels and alpha dropout: every op test, which parts drop, mean and variance."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed import functional as F
from nnmed.backend import random
from nnmed.errors import ShapeError, UsageError
from tests.op_case import OpCase, op_tests

OF_CHANNELS = [
    (F.dropout1d, (4, 6, 5), 2),
    (F.dropout1d, (6, 5), 1),
    (F.dropout2d, (4, 6, 5, 3), 2),
    (F.dropout2d, (4, 6, 5), 2),
    (F.dropout3d, (4, 6, 5, 3, 2), 2),
    (F.dropout3d, (6, 5, 3, 2), 1),
    (F.feature_alpha_dropout, (4, 6, 5, 3), 2),
    (F.feature_alpha_dropout, (4, 6), 2),
]
EVERY = (F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout)


def same_mask(input, function, p):
    """Restart the random streams, so that every call draws the same mask."""
    random.seed(3)
    return function(input, p, True)


CASES = [
    *[
        OpCase(same_mask, dict(input=shape), dict(function=f, p=0.4), oracle=False)
        for f, shape, _ in OF_CHANNELS
    ],
    OpCase(same_mask, dict(input=(3, 5)), dict(function=F.alpha_dropout, p=0.3), oracle=False),
    OpCase(same_mask, dict(input=()), dict(function=F.alpha_dropout, p=0.3), oracle=False),
    OpCase(same_mask, dict(input=(3, 5)), dict(function=F.alpha_dropout, p=1.0), oracle=False),
]
TestDropoutVariants = op_tests(CASES, family="activation")


@pytest.mark.parametrize(("function", "shape", "leading"), OF_CHANNELS)
def test_whole_channels_drop(function, shape, leading):
    x = np.random.default_rng(0).standard_normal((*shape[:leading], *shape[leading:])) + 5
    random.seed(1)
    y = function(nnmed.Tensor(x), 0.5, True).numpy()
    rest = tuple(range(leading, len(shape)))
    lowest = y.min(rest, keepdims=True)
    dropped = np.broadcast_to(np.ptp(y, rest) == 0 if rest else y < 0, shape[:leading])
    assert 0 < dropped.sum() < dropped.size
    kept = np.broadcast_to(~dropped.reshape(lowest.shape), shape)
    if function is F.feature_alpha_dropout:
        a = np.sqrt(1 / (0.5 * (1 + 0.5 * 1.7580993408473766**2)))
        np.testing.assert_allclose(y[kept], a * x[kept] + 0.5 * a * 1.7580993408473766)
        np.testing.assert_allclose(y[~kept], -0.5 * a * 1.7580993408473766)
    else:
        np.testing.assert_allclose(y[kept], 2 * x[kept])
        np.testing.assert_array_equal(y[~kept], 0)


@pytest.mark.parametrize("function", [F.alpha_dropout, F.feature_alpha_dropout])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_alpha_dropout_keeps_mean_and_variance(function, p):
    x = np.random.default_rng(0).standard_normal((1000, 500)).astype(np.float32)
    random.seed(1)
    y = function(nnmed.Tensor(x), p, True).numpy()
    assert y.dtype == np.float32
    assert abs(y.mean()) < 0.01
    assert abs(y.var() - 1) < 0.02


@pytest.mark.oracle
@pytest.mark.parametrize("p", [0.2, 0.7])
def test_alpha_dropouts_two_maps_are_pytorchs(torch, p):
    ones = np.ones(1000)
    ours = np.unique(F.alpha_dropout(nnmed.Tensor(ones), p, True).numpy())
    theirs = torch.nn.functional.alpha_dropout(torch.tensor(ones), p, True).unique().numpy()
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.parametrize("function", EVERY)
def test_nothing_happens_outside_training_or_at_p_0(function):
    x = nnmed.Tensor(np.ones((2, 3, 4, 5) if function is not F.dropout1d else (2, 3, 4)))
    before = random.get_state()
    assert function(x, 0.5, training=False) is x
    assert function(x, 0.0, training=True) is x
    assert random.get_state() == before


@pytest.mark.parametrize("function", EVERY)
def test_p_1_drops_all(function):
    x = nnmed.Tensor(np.ones((2, 3, 4, 5) if function is not F.dropout1d else (2, 3, 4)))
    np.testing.assert_array_equal(function(x, 1.0, training=True).numpy(), 0)


def test_channels_last_memory_is_kept():
    x = nnmed.Tensor(np.ones((2, 4, 5, 3), np.float32)).numpy().transpose(0, 3, 1, 2)
    for function in (F.dropout2d, F.alpha_dropout, F.feature_alpha_dropout):
        assert function(nnmed.from_numpy(x), 0.5, True).numpy().strides == x.strides


@pytest.mark.parametrize("function", EVERY)
def test_bad_arguments(function):
    with pytest.raises(UsageError, match=f"{function.__name__}: p must lie"):
        function(nnmed.Tensor([[1.0]]), 1.5)
    with pytest.raises(UsageError, match="p must be a number"):
        function(nnmed.Tensor([[1.0]]), "0.5")
    with pytest.raises(UsageError, match="inplace"):
        function(nnmed.Tensor([[1.0]]), inplace=True)
    if function is not F.alpha_dropout:
        with pytest.raises(ShapeError, match=function.__name__):
            function(nnmed.Tensor([1.0]), 0.5, True)
