"""What is measured: every case runs on both sides with one result, so do the networks."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import agreement, networks, training, work
from benchmarks.cases import CASES, FAMILIES
from benchmarks.kernels import found_wrong
from benchmarks.subjects.nnmed_networks import NnmedNetwork
from benchmarks.subjects.nnmed_ops import NnmedOp, applicable, forms
from nnmed import kernels
from nnmed.errors import UsageError

SHRUNK = [case.shrunk() for case in CASES]


def test_every_family_of_kernels_has_cases():
    assert sorted(FAMILIES) == sorted(kernels.FAMILIES)


def test_names_are_unique():
    assert len({str(case) for case in CASES}) == len(CASES)


def test_the_reference_is_measured_where_inputs_are_small():
    for family in FAMILIES:
        assert any("reference" in forms(case) for case in CASES if case.family == family), family
        large = max((c for c in CASES if c.family == family), key=lambda case: case.size)
        assert "reference" not in forms(large)


@pytest.mark.parametrize("listed", [("cpu", "fast"), dict.fromkeys(FAMILIES, ("cpu", "fast"))])
def test_forms_are_those_of_the_kernels(listed, monkeypatch):
    monkeypatch.setattr(kernels, "FORMS", listed)
    assert forms(CASES[0]) == ["cpu", "fast"]


def test_a_form_that_cannot_take_a_case_is_left_out(monkeypatch):
    def refuse(self):
        raise UsageError("only 3x3 kernels")

    case = CASES[0].shrunk()
    assert [op.name for op in applicable(case)] == forms(case)
    monkeypatch.setattr(NnmedOp, "chosen_form", refuse)
    assert applicable(case) == []


@pytest.mark.parametrize("case", SHRUNK, ids=str)
def test_work_is_counted(case):
    amounts = work.of(case)
    assert len(amounts) == len(NnmedOp(case).steps)
    for amount in amounts:
        assert amount.flops >= 0
        assert amount.moved > 0


def test_work_of_a_convolution():
    forward, backward = work.of(next(case for case in CASES if case.name == "4 at 16, small"))
    x, weight = 1 * 4 * 16 * 16, 4 * 4 * 3 * 3
    assert forward.flops == 2 * x * 4 * 9
    assert forward.moved == 4 * (x + weight + 4 + x)
    assert backward.flops == pytest.approx(2 * forward.flops, rel=0.02)  # and the bias
    assert backward.moved == 4 * (x + x + weight + x + weight + 4)


@pytest.mark.oracle
@pytest.mark.parametrize("case", SHRUNK, ids=str)
def test_every_form_agrees_with_pytorch_in_both_layouts(case, torch):
    from benchmarks.subjects.torch_ops import in_layouts

    theirs = [op.results() for op in in_layouts(case)]
    for op in applicable(case):
        assert op.results().keys() == theirs[0].keys()
    for expected in theirs:
        for op in applicable(case):
            assert found_wrong(op, expected) is None


@pytest.mark.oracle
@pytest.mark.parametrize("name", networks.NETWORKS)
def test_networks_equal_their_twins(name, torch):
    from benchmarks.subjects.torch_networks import TorchNetwork

    workload = networks.workload(name, 2, quick=True)
    ours = NnmedNetwork(workload, np.float64)
    twin = TorchNetwork(workload, state=ours.state())
    results, expected = ours.results(), twin.results()
    assert results.keys() == expected.keys()
    assert len(results) == 2 + len(list(ours.model.parameters()))
    assert training.found_wrong(results, expected, "largest", 1e-9) is None
    results["loss"] = results["loss"] * 1.0001
    assert "loss" in training.found_wrong(results, expected, "largest", 1e-9)


@pytest.mark.oracle
@pytest.mark.parametrize("name", networks.NETWORKS)
def test_one_step_of_training_equals_pytorchs(name, torch):
    from benchmarks.subjects.torch_networks import TorchNetwork

    workload = networks.workload(name, 2, quick=True)
    ours = NnmedNetwork(workload, np.float64)
    twin = TorchNetwork(workload, "channels_last", ours.state())
    for network in (ours, twin):
        network.steps["training"]()
    scores, expected = ours.infer().numpy(), twin.infer().numpy()
    assert agreement.error(scores, expected).largest < 1e-4  # AdamW divides by small gradients


def test_the_reference_networks():
    assert networks.workload("detector", 8).images().shape == (8, 1, 128, 128)
    assert networks.workload("resnet18", 8).images().shape == (8, 3, 64, 64)
    assert networks.workload("unet", 8).labels().shape == (8, 128, 128)
    assert sum(p.numel() for p in networks.workload("resnet18", 1).build().parameters()) > 11e6


def test_errors_are_relative_to_the_spread_of_the_truth():
    truth = np.array([0.0, 2.0, 4.0, 6.0])
    error = agreement.error(truth + np.array([0, 0, 0, 0.5]), truth)
    assert error.largest == pytest.approx(0.5 / truth.std())
    assert error.mean == pytest.approx(error.largest / 4)
    assert agreement.error(3.03, np.array(3.0)).largest == pytest.approx(0.01)
    assert agreement.error([np.nan, 1.0], [0.0, 1.0]).largest == np.inf
    assert agreement.error(np.zeros((0, 2)), np.zeros((0, 2))).largest == 0
    with pytest.raises(ValueError, match="shape"):
        agreement.error(np.zeros(3), np.zeros(4))


def test_a_training_step_on_a_gpu_is_a_graph(gpu):
    workload = networks.workload("unet", 1, quick=True)
    network = NnmedNetwork(workload, device=gpu)
    before = network.state()
    network.steps["training"]()
    assert any((before[name] != value).any() for name, value in network.state().items())
    assert network.infer().device == "gpu"
