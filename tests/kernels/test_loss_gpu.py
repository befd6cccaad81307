"""CUDA losses: what the host does not look at must do no harm."""

from __future__ import annotations

import numpy as np
import pytest

from nnmed.backend.arrays import to_device
from nnmed.kernels.loss import gpu as on_card

WEIGHT = np.array([0.5, 2.0, 1.0], np.float32)


@pytest.mark.parametrize("wrong", [-1, 3, 10**6, -(10**12)])
@pytest.mark.parametrize("reduction", ["none", "mean"])
@pytest.mark.parametrize(
    ("name", "settings"),
    [("cross_entropy", (0.1,)), ("nll_loss", ()), ("focal_loss", (2.0,))],
)
def test_a_label_that_is_no_class_gives_nan(name, settings, reduction, wrong, gpu):
    x = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    labels = np.array([0, wrong, -100, 2])
    arrays = (to_device(a, gpu) for a in (x, labels, WEIGHT))
    loss, dx = getattr(on_card, name)(*arrays, -100, *settings, reduction, True)[:2]
    rows = np.isnan(dx.get()).any(1)
    assert rows[1]
    if reduction == "none":
        np.testing.assert_array_equal(np.isnan(loss.get()), [False, True, False, False])
        np.testing.assert_array_equal(rows, [False, True, False, False])
        assert not dx.get()[2].any()
    else:
        assert np.isnan(loss.get())
