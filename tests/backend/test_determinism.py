"""The switch, and what an index may do."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed.backend import determinism


@pytest.fixture(autouse=True)
def switched_back():
    yield
    nnmed.deterministic(False)


def test_a_block_and_from_now_on():
    assert not determinism.is_required()
    with nnmed.deterministic(True):
        with nnmed.deterministic(False):
            assert not determinism.is_required()
        assert determinism.is_required()
    assert not determinism.is_required()
    nnmed.deterministic(True)
    assert determinism.is_required()


def test_an_error_switches_it_back():
    with pytest.raises(KeyError), nnmed.deterministic(True):
        raise KeyError
    assert not determinism.is_required()


@pytest.mark.parametrize(
    "index", [3, np.int64(3), slice(2), None, ..., [True, False], np.array(True), (1, ..., None)]
)
def test_indices_that_name_each_place_once(index):
    assert not determinism.may_repeat(index)


@pytest.mark.parametrize("index", [[0, 0], np.array([0]), (slice(None), [1, 1]), (0, np.array(1))])
def test_indices_that_may_repeat(index):
    assert determinism.may_repeat(index)
