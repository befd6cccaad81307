"""Batch normalisation in training and with running statistics."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed.errors import DTypeError, GradientError, ShapeError, UsageError
from nnmed.ops.normalization import batch_norm
from tests.op_case import OpCase, op_tests

AFFINE = dict(weight=(3,), bias=(3,))
NO_STATISTICS = dict(running_mean=None, running_var=None, training=True)


def with_statistics(input, weight=None, bias=None, eps=1e-5, relu=False):
    """Batch norm outside training, with statistics of the input's dtype."""
    mean, var = (nnmed.from_numpy(s).to(input.device) for s in statistics(input.dtype))
    return batch_norm(input, mean, var, weight, bias, eps=eps, relu=relu)


def statistics(dtype):
    rng = np.random.default_rng(5)
    return rng.standard_normal(3).astype(dtype), rng.uniform(0.5, 2, 3).astype(dtype)


def torch_and_relu(torch, inputs, kwargs):
    kwargs = {name: value for name, value in kwargs.items() if name != "relu"}
    if "running_mean" in kwargs:
        return torch.relu(torch.nn.functional.batch_norm(**inputs, **kwargs))
    return torch.relu(torch_with_statistics(torch, inputs, kwargs))


def torch_with_statistics(torch, inputs, kwargs):
    dtype = inputs["input"].detach().numpy().dtype
    mean, var = (torch.tensor(s) for s in statistics(dtype))
    return torch.nn.functional.batch_norm(running_mean=mean, running_var=var, **inputs, **kwargs)


def far(*shape):
    """Values whose mean is large against their spread."""
    return lambda rng: rng.standard_normal(shape) + 50


CASES = [
    OpCase(batch_norm, dict(input=(4, 3, 5, 6), **AFFINE), NO_STATISTICS),
    OpCase(batch_norm, dict(input=(4, 3, 5, 6)), NO_STATISTICS),
    OpCase(batch_norm, dict(input=(4, 3, 5, 6), weight=(3,)), dict(NO_STATISTICS, eps=0.1)),
    OpCase(batch_norm, dict(input=(4, 3, 5, 6), bias=(3,)), NO_STATISTICS),
    OpCase(batch_norm, dict(input=(5, 3), **AFFINE), NO_STATISTICS),
    OpCase(batch_norm, dict(input=(2, 3, 7), **AFFINE), NO_STATISTICS),
    OpCase(batch_norm, dict(input=(2, 3, 2, 2, 3), **AFFINE), NO_STATISTICS),
    OpCase(
        batch_norm,
        dict(input=far(4, 3, 5, 6), **AFFINE),
        NO_STATISTICS,
        label="far",
        float32=dict(rtol=1e-3, atol=1e-4),
    ),
    *(
        OpCase(with_statistics, inputs, oracle=torch_with_statistics)
        for inputs in (
            dict(input=(4, 3, 5, 6), **AFFINE),
            dict(input=(5, 3)),
            dict(input=(2, 3, 7), bias=(3,)),
            dict(input=far(2, 3, 4, 4), **AFFINE),
        )
    ),
    *(
        OpCase(function, inputs, dict(options, relu=True), torch_and_relu, label="relu")
        for function, options in ((batch_norm, NO_STATISTICS), (with_statistics, {}))
        for inputs in (dict(input=(4, 3, 5, 6), **AFFINE), dict(input=(5, 3)))
    ),
]

TestBatchNorm = op_tests(CASES, family="normalization")


@pytest.mark.oracle
@pytest.mark.parametrize("momentum", [0.1, 1.0])
def test_running_statistics_as_in_pytorch(momentum, torch):
    x = np.random.default_rng(0).standard_normal((4, 3, 5, 6)).astype(np.float32) * 3 + 1
    mean, var = nnmed.Tensor(np.zeros(3, np.float32)), nnmed.Tensor(np.ones(3, np.float32))
    torch_mean, torch_var = torch.zeros(3), torch.ones(3)
    for _ in range(2):
        batch_norm(nnmed.Tensor(x), mean, var, training=True, momentum=momentum)
        torch.nn.functional.batch_norm(
            torch.tensor(x), torch_mean, torch_var, training=True, momentum=momentum
        )
    np.testing.assert_allclose(mean.numpy(), torch_mean.numpy(), rtol=1e-6)
    np.testing.assert_allclose(var.numpy(), torch_var.numpy(), rtol=1e-6)
    assert mean.dtype == var.dtype == np.float32


def test_update_raises_the_version_of_the_running_statistics():
    x = nnmed.Tensor(np.random.default_rng(0).standard_normal((4, 3)), requires_grad=True)
    mean, var = nnmed.Tensor(np.zeros(3)), nnmed.Tensor(np.ones(3))
    used = mean * x[0]  # keeps `mean`
    batch_norm(x, mean, var, training=True)
    with pytest.raises(GradientError, match="changed in place"):
        used.sum().backward()


def test_backward_uses_the_statistics_of_forward():
    x = nnmed.Tensor(np.ones((2, 3)), requires_grad=True)
    mean, var = nnmed.Tensor(np.zeros(3)), nnmed.Tensor(np.full(3, 4.0))
    y = batch_norm(x, mean, var, eps=0.0)
    var.data = np.full(3, 100.0)
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 0.5)


@pytest.mark.parametrize("mean", [0.0, 100.0, -3000.0])
def test_float32_stays_accurate_far_from_zero(mean):
    x = (np.random.default_rng(0).standard_normal((8, 3, 16, 16)) + mean).astype(np.float32)
    exact = x.astype(np.float64)
    exact = (exact - exact.mean((0, 2, 3), keepdims=True)) / exact.std((0, 2, 3), keepdims=True)
    y = batch_norm(nnmed.Tensor(x), None, None, training=True, eps=0.0)
    np.testing.assert_allclose(y.numpy(), exact, atol=5e-6)


def test_weight_and_bias_may_be_arrays():
    x, weight = nnmed.Tensor(np.random.default_rng(0).standard_normal((2, 3, 4))), np.arange(3.0)
    y = batch_norm(x, None, None, weight, weight + 1, training=True)
    expected = batch_norm(x, None, None, training=True).numpy() * weight[:, None]
    np.testing.assert_allclose(y.numpy(), expected + weight[:, None] + 1, atol=1e-12)


def test_constant_channel_gives_the_bias():
    x = nnmed.Tensor(np.full((2, 3, 4, 4), 7.3, np.float32), requires_grad=True)
    bias = nnmed.Tensor([1.0, 2.0, 3.0])
    y = batch_norm(x, None, None, bias=bias, training=True)
    np.testing.assert_allclose(y.numpy()[0, :, 0, 0], [1, 2, 3], atol=1e-4)
    y.sum().backward()
    assert np.isfinite(x.grad.numpy()).all()


@pytest.mark.parametrize("training", [True, False])
def test_empty_batch(training):
    x = nnmed.Tensor(np.zeros((0, 3, 4, 4), np.float32), requires_grad=True)
    mean, var = nnmed.Tensor([1.0, 2.0, 3.0]), nnmed.Tensor([1.0, 1.0, 1.0])
    batch_norm(x, mean, var, training=training).sum().backward()
    assert x.grad.shape == x.shape
    assert mean.tolist() == [1, 2, 3]


def test_output_and_gradient_are_channels_last():
    x = nnmed.Tensor(np.random.default_rng(0).standard_normal((2, 3, 4, 4)), requires_grad=True)
    y = batch_norm(x * 1.0, None, None, training=True)
    assert nnmed.backend.arrays.is_channels_last(y._array)


@pytest.mark.parametrize("training", [True, False])
def test_relu_inside_is_relu_behind(training):
    """To the last bit, forward and backward."""
    x, dy = np.random.default_rng(3).standard_normal((2, 4, 3, 9, 8)).astype(np.float32)
    results = []
    for inside in (True, False):
        given = [nnmed.Tensor(a, requires_grad=True) for a in (x, x[0, :, 0, 0], x[1, :, 0, 0])]
        mean, var = nnmed.Tensor([0.0] * 3), nnmed.Tensor([1.0] * 3)
        y = batch_norm(given[0], mean, var, *given[1:], training=training, relu=inside)
        y = y if inside else nnmed.functional.relu(y)
        y.backward(nnmed.Tensor(dy))
        results.append([y, mean, var, *(tensor.grad for tensor in given)])
    for inside, behind in zip(*results):
        np.testing.assert_array_equal(inside.numpy(), behind.numpy())


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x, s: batch_norm(x[:1, :, 0, 0], None, None, training=True), ShapeError, "more"),
        (lambda x, s: batch_norm(x, None, s), UsageError, "running_mean"),
        (lambda x, s: batch_norm(x, s.numpy(), s), UsageError, "running_mean must be a Tensor"),
        (lambda x, s: batch_norm(x, s, s, weight=s[:2]), ShapeError, "weight must have shape"),
        (lambda x, s: batch_norm(x, s.double(), s, weight=s.double()), DTypeError, "one dtype"),
        (lambda x, s: batch_norm(x[0, 0, 0], s, s), ShapeError, "input must be"),
        (lambda x, s: batch_norm(x, s.requires_grad_(), s), GradientError, "detach"),
    ],
)
def test_bad_arguments_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call(nnmed.Tensor(np.zeros((2, 3, 4, 4), np.float32)), nnmed.Tensor([1.0, 1.0, 1.0]))


@pytest.mark.parametrize("mean", [0.0, 3.9])
def test_a_map_whose_pixels_have_no_divisors(mean):
    # 509 is prime: sums must not become one chain of 259,081 additions in float32.
    x = (np.random.default_rng(4).standard_normal((1, 3, 509, 509)) + mean).astype(np.float32)
    y = batch_norm(nnmed.from_numpy(x), **NO_STATISTICS).numpy()
    double = x.astype(np.float64)
    centred = double - double.mean((0, 2, 3), keepdims=True)
    exact = centred / np.sqrt(double.var((0, 2, 3), keepdims=True) + 1e-5)
    np.testing.assert_allclose(y, exact, rtol=2e-6, atol=2e-6)
