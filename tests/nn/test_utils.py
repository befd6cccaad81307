"""Gradient clipping: equal to PyTorch, and nothing shared is overwritten."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nnmed.autograd.tensor import Tensor
from nnmed.errors import GradientError, UsageError
from nnmed.nn.utils import clip_grad_norm_, clip_grad_value_


def make():
    rng = np.random.default_rng(0)
    parameters = []
    for shape in [(3, 4), (), (2, 5, 1, 1), (7,)]:
        parameter = Tensor(np.zeros(shape, np.float32), requires_grad=True)
        parameter.grad = Tensor(np.array(rng.standard_normal(shape), np.float32))
        parameters.append(parameter)
    parameters[-1].grad = None
    return parameters


def to_torch(torch, parameters):
    result = []
    for parameter in parameters:
        other = torch.nn.Parameter(torch.from_numpy(parameter.numpy().copy()))
        if parameter.grad is not None:
            other.grad = torch.from_numpy(parameter.grad.numpy().copy())
        result.append(other)
    return result


def compare(ours, theirs):
    for parameter, other in zip(ours, theirs):
        if other.grad is None:
            assert parameter.grad is None
        else:
            assert parameter.grad.dtype == np.float32
            np.testing.assert_allclose(parameter.grad.numpy(), other.grad.numpy(), rtol=1e-6)


@pytest.mark.oracle
@pytest.mark.parametrize("p", [2.0, 1.0, 3.5, math.inf])
@pytest.mark.parametrize("max_norm", [0.5, 100])
def test_norm_equals_pytorch(torch, max_norm, p):
    ours = make()
    theirs = to_torch(torch, ours)
    norm = clip_grad_norm_(ours, max_norm, norm_type=p)
    expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type=p)
    assert norm.shape == ()
    assert float(norm) == pytest.approx(expected.item(), rel=1e-6)
    compare(ours, theirs)


@pytest.mark.oracle
def test_value_equals_pytorch(torch):
    ours = make()
    theirs = to_torch(torch, ours)
    clip_grad_value_(ours, 0.3)
    torch.nn.utils.clip_grad_value_(theirs, 0.3)
    compare(ours, theirs)


def test_a_gradient_that_is_held_elsewhere_keeps_its_values():
    for clip in (clip_grad_norm_, clip_grad_value_):
        parameter = make()[0]
        held, before = parameter.grad, parameter.grad.numpy().copy()
        clip(parameter, 0.1)
        assert parameter.grad is not held
        np.testing.assert_array_equal(held.numpy(), before)


def test_a_norm_above_the_range_of_float32_is_still_scaled():
    parameter = make()[0]
    parameter.grad = Tensor(np.full((3, 4), 1e30, np.float32))
    clip_grad_norm_(parameter, 1.0)
    assert np.linalg.norm(parameter.grad.numpy()) == pytest.approx(1, rel=1e-5)


def test_norms_that_are_not_finite():
    parameters = make()
    parameters[1].grad = Tensor(np.array(np.nan, np.float32))
    with pytest.raises(GradientError, match="nan"):
        clip_grad_norm_(parameters, 1.0, error_if_nonfinite=True)
    assert np.isfinite(parameters[0].grad.numpy()).all()
    for p in (2.0, math.inf):
        assert math.isnan(float(clip_grad_norm_(make()[:1] + parameters[1:2], 1.0, norm_type=p)))
    clip_grad_norm_(parameters, 1.0)
    assert np.isnan(parameters[0].grad.numpy()).all()


def test_nothing_to_clip():
    assert float(clip_grad_norm_([], 1.0)) == 0
    assert float(clip_grad_norm_(make()[-1:], 1.0, norm_type=math.inf)) == 0
    with pytest.raises(UsageError, match="norm_type"):
        clip_grad_norm_(make(), 1.0, norm_type=0)
