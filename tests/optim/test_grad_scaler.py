"""Loss scaling, beside PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest

import nnmed
from nnmed import optim
from nnmed.errors import ModelError, UsageError
from nnmed.kernels.optimizer import reference


def _numbers(scale):
    return np.array([scale, 1, 0], np.float32)


@pytest.mark.parametrize("bad", [None, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_unscaled_gradients(device, dtype, bad, gpu):
    from nnmed.kernels import select

    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in [(5000,), (3, 4), (1,)]]
    if bad is not None:
        arrays[1][2, 3] = bad
    expected_numbers, numbers = _numbers(1024), _numbers(1024)
    expected = reference.unscaled(arrays, expected_numbers)
    tensors = [nnmed.from_numpy(a).to(device) for a in [*arrays, numbers]]
    *given, on_device = [t._array for t in tensors]
    results = select("optimizer", given[0]).unscaled(given, on_device)
    for result, wanted in zip(results, expected):
        np.testing.assert_array_equal(nnmed.Tensor._wrap(result).to("cpu").numpy(), wanted)
    np.testing.assert_array_equal(tensors[-1].to("cpu").numpy(), expected_numbers)
    assert expected_numbers[2] == (bad is not None)


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_scale_and_parameters_follow_pytorchs(device, torch, gpu):
    options = {"init_scale": 64.0, "growth_interval": 2, "growth_factor": 4.0}
    start = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    ours = nnmed.Tensor(start).to(device).requires_grad_()
    theirs = torch.tensor(start, requires_grad=True)
    steps = (
        optim.AdamW([ours], lr=0.1), optim.GradScaler(**options),
    ), (torch.optim.AdamW([theirs], lr=0.1), torch.amp.GradScaler("cpu", **options))  # fmt: skip
    for factor in [1.0, 2.0, 3e38, -1.0, 1.0, np.nan, 0.5, 1.0, 2.0]:
        for parameter, (optimizer, scaler) in zip((ours, theirs), steps):
            optimizer.zero_grad()
            scaler.scale((parameter * parameter * factor).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
        assert steps[0][1].get_scale() == steps[1][1].get_scale()
        np.testing.assert_allclose(
            ours.detach().to("cpu").numpy(), theirs.detach().numpy(), rtol=1e-6, atol=1e-6
        )
    assert steps[0][1].state_dict() == steps[1][1].state_dict()


def test_gradients_may_be_clipped_between():
    x = nnmed.Tensor([3.0, 4.0], requires_grad=True)
    optimizer, scaler = optim.SGD([x], lr=1.0), optim.GradScaler(init_scale=8.0)
    scaler.scale((x * nnmed.Tensor([3.0, 4.0])).sum()).backward()
    scaler.unscale_(optimizer)
    assert nnmed.nn.utils.clip_grad_norm_([x], 1.0).item() == 5
    scaler.step(optimizer)
    np.testing.assert_allclose(x.numpy(), [2.4, 3.2], rtol=1e-6)
    with pytest.raises(UsageError, match="twice"):
        scaler.unscale_(optimizer)
    scaler.update()
    scaler.unscale_(optimizer)


def test_a_scaler_that_is_not_enabled_does_nothing():
    x = nnmed.Tensor([1.0], requires_grad=True)
    optimizer, scaler = optim.SGD([x], lr=1.0), optim.GradScaler(enabled=False)
    loss = (x * 2).sum()
    assert scaler.scale(loss) is loss
    loss.backward()
    scaler.step(optimizer)
    scaler.update()
    assert (x.item(), scaler.get_scale(), scaler.state_dict()) == (-1, 1, {})


def test_state_goes_to_another_scaler():
    scaler = optim.GradScaler(init_scale=4.0, growth_interval=1)
    scaler.update()
    other = optim.GradScaler()
    other.load_state_dict(scaler.state_dict())
    assert other.state_dict() == scaler.state_dict()
    assert other.get_scale() == 8
    with pytest.raises(ModelError, match="GradScaler"):
        other.load_state_dict({"scale": 1.0})
    assert other.get_scale() == 8


@pytest.mark.parametrize(
    "options",
    [{"init_scale": 0.0}, {"growth_factor": 1.0}, {"backoff_factor": 1.0}, {"growth_interval": 0}],
)
def test_bad_options_are_refused(options):
    with pytest.raises(UsageError, match="GradScaler"):
        optim.GradScaler(**options)


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_an_overflow_of_one_optimizer_leaves_the_other_alone(device, gpu):
    a, b = (nnmed.Tensor(np.ones(3, np.float32)).to(device).requires_grad_() for _ in range(2))
    optimizers = [optim.Adam([parameter], lr=0.1) for parameter in (b, a)]
    scaler = optim.GradScaler(4.0)
    scaler.scale(a.sum() + (b * np.float32(1e38)).sum()).backward()
    for optimizer in optimizers:
        scaler.step(optimizer)
    scaler.update()
    np.testing.assert_array_equal(b.numpy(), 1)
    np.testing.assert_allclose(a.numpy(), 0.9, rtol=1e-6)
    assert [values.get("step") for values in optimizers[1].state.values()] == [1]
    assert scaler.get_scale() == 2


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_a_step_that_was_left_out_leaves_no_state(device, gpu):
    x = nnmed.Tensor(np.ones(3, np.float32)).to(device).requires_grad_()
    optimizer = optim.SGD([x], lr=0.1, momentum=0.9, dampening=0.5)
    scaler = optim.GradScaler(4.0)
    for factor in (1e38, 1.0, 1.0):
        optimizer.zero_grad()
        scaler.scale((x * np.float32(factor)).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
    np.testing.assert_allclose(x.numpy(), 0.76, rtol=1e-6)


def test_a_scaler_that_is_not_enabled_notes_nothing():
    optimizer = optim.SGD([nnmed.Tensor([1.0], requires_grad=True)], lr=1.0)
    scaler = optim.GradScaler(enabled=False)
    for _ in range(3):
        scaler.before_step(optimizer)
    assert not scaler._states
