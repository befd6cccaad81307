"""Group and instance normalisation."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed.backend.arrays import is_channels_last
from nnmed.errors import DTypeError, ShapeError, UsageError
from nnmed.ops.group_normalization import group_norm, instance_norm
from tests.op_case import OpCase, op_tests
from tests.ops.test_normalization import far, statistics

AFFINE = dict(weight=(6,), bias=(6,))
LOOSE = dict(rtol=1e-3, atol=1e-4)


def with_statistics(input, weight=None, bias=None):
    """Instance norm by running statistics of the input's dtype."""
    mean, var = (nnmed.from_numpy(s).to(input.device) for s in statistics(input.dtype))
    return instance_norm(input, mean, var, weight, bias, use_input_stats=False)


def torch_with_statistics(torch, inputs, kwargs):
    dtype = inputs["input"].detach().numpy().dtype
    mean, var = (torch.tensor(s) for s in statistics(dtype))
    return torch.nn.functional.instance_norm(
        running_mean=mean, running_var=var, use_input_stats=False, **inputs
    )


def torch_bias(torch, inputs, kwargs):
    """PyTorch takes no bias without a weight."""
    ones = torch.ones_like(inputs["bias"])
    return torch.nn.functional.group_norm(weight=ones, **inputs, **kwargs)


CASES = [
    OpCase(group_norm, dict(input=(2, 6, 3, 4), **AFFINE), dict(num_groups=2)),
    OpCase(group_norm, dict(input=(2, 6, 3, 4)), dict(num_groups=3, eps=0.1)),
    OpCase(group_norm, dict(input=(2, 6, 5), weight=(6,)), dict(num_groups=1)),
    OpCase(group_norm, dict(input=(2, 6, 5), bias=(6,)), dict(num_groups=6), oracle=torch_bias),
    OpCase(group_norm, dict(input=(3, 6), **AFFINE), dict(num_groups=2)),
    OpCase(group_norm, dict(input=(2, 6, 2, 2, 3), **AFFINE), dict(num_groups=2)),
    OpCase(
        group_norm,
        dict(input=far(2, 6, 3, 4), **AFFINE),
        dict(num_groups=2),
        label="far",
        float32=LOOSE,
    ),
    OpCase(instance_norm, dict(input=(2, 6, 3, 4), **AFFINE)),
    OpCase(instance_norm, dict(input=(2, 6, 7))),
    OpCase(instance_norm, dict(input=(2, 3, 2, 3, 2)), dict(eps=0.1)),
    OpCase(with_statistics, dict(input=(2, 3, 4, 2), weight=(3,)), oracle=torch_with_statistics),
]

TestGroupNorm = op_tests(CASES, family="normalization")


@pytest.mark.oracle
@pytest.mark.parametrize("momentum", [0.1, 1.0])
def test_running_statistics_as_in_pytorch(momentum, torch):
    x = np.random.default_rng(0).standard_normal((4, 3, 5, 6)).astype(np.float32) * 3 + 1
    ours = nnmed.Tensor(np.zeros(3, np.float32)), nnmed.Tensor(np.ones(3, np.float32))
    theirs = torch.zeros(3), torch.ones(3)
    for _ in range(2):
        instance_norm(nnmed.Tensor(x), *ours, momentum=momentum)
        torch.nn.functional.instance_norm(torch.tensor(x), *theirs, momentum=momentum)
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6)


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("mean", [0.0, 100.0, -3000.0])
def test_float32_stays_accurate_far_from_zero(mean, groups):
    x = (np.random.default_rng(0).standard_normal((3, 6, 16, 16)) + mean).astype(np.float32)
    exact = x.astype(np.float64).reshape(3, groups, -1)
    exact = (exact - exact.mean(2, keepdims=True)) / exact.std(2, keepdims=True)
    y = group_norm(nnmed.Tensor(x), groups, eps=0.0)
    np.testing.assert_allclose(y.numpy(), exact.reshape(x.shape), atol=5e-6)


def test_a_channel_of_weight_zero_still_feels_its_group():
    """dx must not be computed as a multiple of the channel's own weight."""
    x = nnmed.Tensor(np.random.default_rng(0).standard_normal((2, 4, 3, 3)), requires_grad=True)
    weight = nnmed.Tensor(np.array([0.0, 1.0, 0.0, 0.0]))
    (group_norm(x, 2, weight) ** 2).sum().backward()
    assert (abs(x.grad.numpy()[:, 0]) > 1e-6).all()
    assert (x.grad.numpy()[:, 2:] == 0).all()


def test_constant_group_gives_the_bias():
    x = nnmed.Tensor(np.full((2, 4, 3, 3), 7.3, np.float32), requires_grad=True)
    y = group_norm(x, 2, bias=nnmed.Tensor([1.0, 2.0, 3.0, 4.0]))
    np.testing.assert_allclose(y.numpy()[0, :, 0, 0], [1, 2, 3, 4], atol=1e-4)
    y.sum().backward()
    assert np.isfinite(x.grad.numpy()).all()


def test_nan_stays_in_its_group():
    x = np.random.default_rng(0).standard_normal((2, 4, 3, 3))
    x[1, 2, 0, 0] = np.nan
    bad = np.isnan(group_norm(nnmed.Tensor(x), 2).numpy())
    np.testing.assert_array_equal(bad.all((2, 3)), [[False] * 4, [False, False, True, True]])
    np.testing.assert_array_equal(bad.any((2, 3)), bad.all((2, 3)))


@pytest.mark.parametrize("function", [lambda x: group_norm(x, 3), instance_norm])
def test_empty_batch(function):
    x = nnmed.Tensor(np.zeros((0, 3, 4, 4), np.float32), requires_grad=True)
    y = function(x)
    y.sum().backward()
    assert y.shape == x.grad.shape == x.shape


def test_output_and_gradient_are_channels_last():
    x = nnmed.Tensor(np.random.default_rng(0).standard_normal((2, 4, 3, 5)), requires_grad=True)
    y = group_norm(x * 1.0, 2)
    (y * y).sum().backward()
    assert is_channels_last(y._array)
    assert is_channels_last(x.grad._array)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x, s: group_norm(x, 2), ShapeError, "3 channels .* 2 groups"),
        (lambda x, s: group_norm(x, 0), UsageError, "num_groups"),
        (lambda x, s: group_norm(x, 3, eps="0"), UsageError, "eps must be a number"),
        (lambda x, s: instance_norm(x, momentum=None), UsageError, "momentum must be a number"),
        (lambda x, s: group_norm(x[:1, :, 0, 0], 3), ShapeError, "single value"),
        (lambda x, s: group_norm(x[0, 0, 0], 1), ShapeError, "input must be"),
        (lambda x, s: group_norm(x, 3, s[:2]), ShapeError, "weight must have shape"),
        (lambda x, s: group_norm(x, 3, s.double()), DTypeError, "one dtype"),
        (lambda x, s: instance_norm(x[:, :, :1, :1]), ShapeError, "single value"),
        (lambda x, s: instance_norm(x[0, 0]), ShapeError, "input must be"),
        (lambda x, s: instance_norm(x, use_input_stats=False), UsageError, "running_mean"),
        (lambda x, s: instance_norm(x, s[:2], s[:2]), ShapeError, "running_mean"),
    ],
)
def test_bad_arguments_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call(nnmed.Tensor(np.zeros((2, 3, 4, 4), np.float32)), nnmed.Tensor([1.0, 1.0, 1.0]))
