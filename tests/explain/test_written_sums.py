"""Sums over indices, written out number by number."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed import functional as F


def numbers_of(loss, name):
    (step,) = nnmed.explain(loss)[name]
    return step.numbers.splitlines()


def test_sum_and_mean():
    x = nnmed.Tensor([[1.0, 2.0], [3.0, -4.0]], requires_grad=True)
    forward, backward = numbers_of((x * x).mean(), "Mean")
    assert forward.endswith("= 1/4 * (1 + 4 + 9 + 16) = 7.5")
    assert "[[1/4 * 1, 1/4 * 1], [1/4 * 1, 1/4 * 1]] = [[0.25, 0.25], [0.25, 0.25]]" in backward
    forward, backward = numbers_of(nnmed.exp(x.sum(0) * 0).mean(), "Sum")
    assert forward.endswith("= [1 + 3, 2 + (-4)] = [4, -2]")


def test_the_index_that_is_summed_over_is_that_of_the_dimension():
    x = nnmed.Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    rows = nnmed.explain((x.sum(1) * 2.0).sum())["Sum"][1].numbers.splitlines()[0]
    assert rows == "y2_j = sum_i x_ji = [1 + 2, 3 + 4] = [3, 7]"
    columns = nnmed.explain((x.sum(0) * 2.0).sum())["Sum"][1].numbers.splitlines()[0]
    assert columns == "y2_j = sum_i x_ij = [1 + 3, 2 + 4] = [4, 6]"


def test_softmax():
    x = nnmed.Tensor([1.0, 2.0], requires_grad=True)
    forward, backward = numbers_of(F.softmax(x, 0)[0], "Softmax")
    assert "[e^1/(e^1 + e^2), e^2/(e^1 + e^2)] = [0.2689414, 0.7310" in forward
    assert "0.2689414 * (1 - (1 * 0.2689414 + 0 * 0.7310586))" in backward.replace("85", "86")


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_cross_entropy(reduction):
    x = nnmed.Tensor([[1.0, 2.0], [0.0, -1.0]], requires_grad=True)
    loss = F.cross_entropy(x, nnmed.Tensor([1, 0]), reduction=reduction)
    targets, probabilities, forward, backward = numbers_of(loss, "CrossEntropy")
    assert "[[e^1/(e^1 + e^2), e^2/(e^1 + e^2)], [e^0/(e^0 + e^(-1))," in probabilities
    assert targets.endswith("= [[0, 1], [1, 0]]")
    total = "-ln(0.7310586) - ln(0.7310586)"
    share = "1/2 * " if reduction == "mean" else ""
    shown = f"1/2 * ({total})" if share else total
    assert forward.endswith(f"= {shown} = {loss.item():.7g}")
    assert f"[[{share}1 * 0.2689414, {share}1 * (0.7310586 - 1)]" in backward


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.softmax(x.sum(), 0),
        lambda x: x[:0].sum(),
    ],
)
def test_what_is_not_spelt_out_has_its_result(function):
    x = nnmed.Tensor(np.array([1.0, 2.0], np.float32), requires_grad=True)
    assert all(step.numbers or 0 in step.shape for step in nnmed.explain(function(x))[-1:])


def test_convolution():
    x = nnmed.Tensor([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]], requires_grad=True)
    weight = nnmed.Tensor([[[[1.0, -1.0]]]], requires_grad=True)
    bias = nnmed.Tensor([0.5], requires_grad=True)
    y = F.conv2d(x, weight, bias, padding=(0, 1), stride=(1, 2))
    forward, by_x, by_weight, by_bias = numbers_of(y.sum(), "Conv")
    assert "[[[[0.5 + (-1) * 1, 0.5 + 1 * 2 + (-1) * 3], [0.5 + (-1) * 4," in forward
    assert forward.endswith("= [[[[-0.5, -0.5], [-3.5, -0.5]]]]")
    assert "[[[[1 * (-1), 1 * 1, 1 * (-1)]," in by_x
    assert by_x.endswith("= [[[[-1, 1, -1], [-1, 1, -1]]]]")
    assert "[[[[1 * 2 + 1 * 5, 1 * 1 + 1 * 3 + 1 * 4 + 1 * 6]]]] = [[[[7, 14]]]]" in by_weight
    assert by_bias.endswith("[1 + 1 + 1 + 1] = [4]")


def test_a_grouped_convolution_in_one_dimension():
    x = nnmed.Tensor([[[1.0, 2.0], [3.0, 4.0]]], requires_grad=True)
    weight = nnmed.Tensor([[[5.0]], [[6.0]]], requires_grad=True)
    forward, by_x, _ = numbers_of(F.conv2d(x[..., None], weight[..., None], groups=2).sum(), "Conv")
    assert "[[[[5 * 1], [5 * 2]], [[6 * 3], [6 * 4]]]]" in forward
    assert "[[[[1 * 5], [1 * 5]], [[1 * 6], [1 * 6]]]]" in by_x


def test_windows_and_the_entry_that_won():
    x = nnmed.Tensor([[[[1.0, 5.0, 2.0, 3.0]]]], requires_grad=True)
    forward, backward = numbers_of((F.max_pool2d(x, (1, 2), 1) * 2).sum(), "MaxPool2d")
    assert forward.endswith("= [[[[max(1, 5), max(5, 2), max(2, 3)]]]] = [[[[5, 5, 3]]]]")
    assert backward.endswith("= [[[[0, 2 + 2, 0, 2]]]] = [[[[0, 4, 0, 2]]]]")


def test_averages_and_what_several_windows_bring():
    x = nnmed.Tensor([[[[1.0, 5.0, 2.0]]]], requires_grad=True)
    forward, backward = numbers_of((F.avg_pool2d(x, (1, 2), 1) * 3).sum(), "AvgPool2d")
    assert forward.endswith("= [[[[1/2 * (1 + 5), 1/2 * (5 + 2)]]]] = [[[[3, 3.5]]]]")
    assert backward.endswith("= [[[[1/2 * 3, 1/2 * 3 + 1/2 * 3, 1/2 * 3]]]] = [[[[1.5, 3, 1.5]]]]")


def test_batch_normalization_with_its_mean_variance_and_three_terms():
    x = nnmed.Tensor([[1.0], [3.0]], requires_grad=True)
    loss = (
        F.batch_norm(x, None, None, training=True, eps=0.0) * nnmed.Tensor([[1.0], [2.0]])
    ).sum()
    mean, variance, normal, _, bias, weight, by_x = numbers_of(loss, "BatchNorm")
    assert mean.endswith("= 1/2 * sum_{n,i} y4_nci = [1/2 * (1 + 3)] = [2]")
    assert variance.startswith("sigma_c^2 = ")
    assert variance.endswith("= [1/2 * ((1 - 2)^2 + (3 - 2)^2)] = [1]")
    assert normal.endswith("= [[[(1 - 2)/sqrt(1)]], [[(3 - 2)/sqrt(1)]]] = [[[-1]], [[1]]]")
    assert bias.endswith("= [1 + 2] = [3]")
    assert weight.endswith("= [(-1) * 1 + 1 * 2] = [1]")
    assert "[[[[1/sqrt(1) * (1 - 1/2 * 3 - (-1)/2 * 1)]]]," in by_x


def test_a_reduced_loss_has_a_term_for_each_entry():
    x = nnmed.Tensor([1.0, 2.0], requires_grad=True)
    forward, backward = numbers_of(F.mse_loss(x, nnmed.Tensor([0.0, -1.0])), "MSELoss")
    assert forward.endswith("= 1/2 * ((1 - 0)^2 + (2 - (-1))^2) = 5")
    assert backward.endswith("= [1/2 * 1 * 2 * (1 - 0), 1/2 * 1 * 2 * (2 - (-1))] = [1, 3]")


def test_the_mean_of_nothing():
    x = nnmed.Tensor([[2.0, 0.0]], requires_grad=True)
    lines = numbers_of(F.cross_entropy(x, nnmed.Tensor(np.array([-100]))), "CrossEntropy")
    assert lines[-2] == "L = 1/n * sum_i (-sum_c q_ic * ln(p_ic)) = 1/0 * 0 = nan"
    assert lines[-1].startswith("dL/dleaf 0_ic = 1/n * dL/dL * ")
    assert lines[-1].endswith("= [[0, 0]]")
