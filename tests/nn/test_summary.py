"""The summary table: shapes, parameters and operations of each module."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from nnmed import nn
from nnmed.autograd.op import observers
from nnmed.errors import NnmedError


def test_rows_and_totals():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2, bias=False)).train()
    model[0].bias.requires_grad = False
    summary = model.summary((5, 4))
    names = [(row.name, row.kind, row.output_shape, row.parameters) for row in summary.rows]
    assert names == [
        ("", "Sequential", (5, 2), 0),
        ("0", "Linear", (5, 3), 15),
        ("1", "ReLU", (5, 3), 0),
        ("2", "Linear", (5, 2), 6),
    ]
    assert summary.parameters == 21
    assert summary.trainable == 18
    assert summary.flops == sum(row.flops for row in summary.rows)
    assert summary.rows[3].flops == 2 * 5 * 3 * 2
    assert summary.input_shape == (5, 4)


def test_it_prints_as_a_table():
    lines = str(nn.Linear(4, 3).summary((5, 4))).splitlines()
    assert lines[0].split() == ["module", "output", "shape", "parameters", "FLOPs"]
    assert "Linear" in lines[2]
    assert "15 parameters (15 trainable)" in lines[-1]
    assert len({len(line) for line in lines[:-1]}) == 1


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).double().train()
    model[1].eval()
    mean = model[1].running_mean.numpy().copy()
    model.summary((5, 4))
    assert model.training
    assert not model[1].training
    np.testing.assert_array_equal(model[1].running_mean.numpy(), mean)
    with pytest.raises(NnmedError):
        model.summary((5, 9))
    assert model.training
    assert not observers
    assert not model._forward_hooks
    assert not model[0]._forward_pre_hooks


def test_operations_after_a_failed_branch_count_for_the_module_that_runs():
    class Careful(nn.Module):
        def __init__(self):
            super().__init__()
            self.fitting, self.other = nn.Linear(4, 3), nn.Linear(9, 3)

        def forward(self, x):
            with contextlib.suppress(NnmedError):
                self.other(x)
            return self.fitting(x) * 2

    rows = {row.name: row for row in Careful().summary((5, 4)).rows}
    assert rows[""].flops == 15
    assert rows[""].output_shape == (5, 3)
    assert (rows["other"].flops, rows["other"].output_shape) == (0, None)


def test_a_module_called_twice_counts_its_parameters_once():
    layer = nn.Linear(3, 3)
    summary = nn.Sequential(layer, layer).summary((2, 3))
    assert [row.parameters for row in summary.rows] == [0, 12, 0]
    assert summary.parameters == 12
