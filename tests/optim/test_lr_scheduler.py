"""Schedules: equal to PyTorch's over 50 steps, stored and restored, chained, wrong arguments."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from nnmed import optim
from nnmed.autograd.tensor import Tensor
from nnmed.errors import ModelError, UsageError
from nnmed.optim import lr_scheduler

STEPS = 50


def step_lr(s, o):
    return s.StepLR(o, step_size=7, gamma=0.3)


def linear(s, o):
    return s.LinearLR(o, start_factor=0.1, end_factor=0.8, total_iters=12)


def cosine(s, o):
    return s.CosineAnnealingLR(o, T_max=9, eta_min=0.001)


def cosine_one_step(s, o):
    return s.CosineAnnealingLR(o, T_max=1)


def exponential(s, o):
    return s.ExponentialLR(o, gamma=0.9)


def multi_step(s, o):
    return s.MultiStepLR(o, milestones=[30, 5, 11, 11], gamma=0.4)


def polynomial(s, o):
    return s.PolynomialLR(o, total_iters=20, power=0.9)


def warm_restarts(s, o):
    return s.CosineAnnealingWarmRestarts(o, T_0=7, T_mult=2, eta_min=0.001)


def warm_restarts_alike(s, o):
    return s.CosineAnnealingWarmRestarts(o, T_0=7)


def lambda_lr(s, o):
    return s.LambdaLR(o, [lambda t: 0.95**t, lambda t: 1 / (1 + t)])


def one_cycle(s, o):
    return s.OneCycleLR(o, max_lr=[0.5, 0.2], total_steps=50)


def one_cycle_linear(s, o):
    return s.OneCycleLR(
        o, 0.5, epochs=5, steps_per_epoch=10, anneal_strategy="linear", pct_start=0.45
    )


def one_cycle_three_phase(s, o):
    return s.OneCycleLR(o, 0.5, total_steps=53, three_phase=True, div_factor=10.0)


def one_cycle_bare(s, o):
    return s.OneCycleLR(o, 0.5, total_steps=50, cycle_momentum=False)


def warm_up_cosine(s, o):
    warm_up = s.LinearLR(o, start_factor=0.01, total_iters=5)
    return s.SequentialLR(o, [warm_up, s.CosineAnnealingLR(o, T_max=45)], milestones=[5])


def three_in_a_row(s, o):
    parts = [s.LinearLR(o, 0.5, total_iters=3), s.StepLR(o, 4), s.LambdaLR(o, lambda t: 0.9**t)]
    return s.SequentialLR(o, parts, milestones=[6, 20])


def warm_up_polynomial(s, o):
    parts = [s.LinearLR(o, 0.1, total_iters=5), s.PolynomialLR(o, 30), s.ExponentialLR(o, 0.9)]
    return s.SequentialLR(o, parts, milestones=[5, 30])


SCHEDULES = [
    step_lr, linear, cosine, cosine_one_step, lambda_lr, one_cycle, one_cycle_linear,
    one_cycle_three_phase, one_cycle_bare, warm_up_cosine, three_in_a_row, exponential,
    multi_step, polynomial, warm_restarts, warm_restarts_alike, warm_up_polynomial,
]  # fmt: skip
PLATEAUS = [
    {"patience": 2},
    {"mode": "max", "factor": 0.5, "patience": 1, "threshold": 0.05},
    {"threshold_mode": "abs", "threshold": 0.02, "patience": 0, "cooldown": 3},
    {
        "mode": "max",
        "threshold_mode": "abs",
        "patience": 1,
        "min_lr": [0.001, 0.0001],
        "factor": 0.3,
    },
]


def make(kind="SGD"):
    parameters = [Tensor(np.ones(2, np.float32), requires_grad=True) for _ in range(2)]
    groups = [{"params": parameters[:1]}, {"params": parameters[1:], "lr": 0.02}]
    return getattr(optim, kind)(groups, lr=0.1)


def make_torch(torch, kind="SGD"):
    parameters = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
    groups = [{"params": parameters[:1]}, {"params": parameters[1:], "lr": 0.02}]
    return getattr(torch.optim, kind)(groups, lr=0.1)


def settings(optimizer):
    names = ("lr", "momentum", "betas")
    return [group[name] for group in optimizer.param_groups for name in names if name in group]


def flat(values):
    return [x for value in values for x in (value if isinstance(value, (list, tuple)) else [value])]


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_equals_pytorch(torch, schedule, kind):
    ours, theirs = make(kind), make_torch(torch, kind)
    mine, expected = schedule(lr_scheduler, ours), schedule(torch.optim.lr_scheduler, theirs)
    for _ in range(STEPS):
        np.testing.assert_allclose(flat(settings(ours)), flat(settings(theirs)), rtol=1e-9)
        np.testing.assert_allclose(mine.get_last_lr(), expected.get_last_lr(), rtol=1e-9)
        ours.step()
        theirs.step()
        mine.step()
        expected.step()


@pytest.mark.oracle
@pytest.mark.parametrize("options", PLATEAUS)
def test_plateau_equals_pytorch(torch, options):
    ours, theirs = make(), make_torch(torch)
    mine = lr_scheduler.ReduceLROnPlateau(ours, **options)
    expected = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **options)
    values = 1 / np.arange(1, STEPS + 1) + np.random.default_rng(0).normal(0, 0.05, STEPS)
    values[[0, 7, 20]] = math.inf, math.nan, -math.inf
    for value in values if options.get("mode") != "max" else -values:
        mine.step(Tensor(value))
        expected.step(value)
        np.testing.assert_allclose(settings(ours), settings(theirs), rtol=1e-12)
        assert mine.num_bad_epochs == expected.num_bad_epochs
    assert settings(ours)[0] < 0.1, "the rate must have fallen, or nothing was tested"


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
def test_two_schedules_on_one_optimizer(torch):
    ours, theirs = make(), make_torch(torch)
    mine = [f(lr_scheduler, ours) for f in (linear, step_lr, cosine)]
    expected = [f(torch.optim.lr_scheduler, theirs) for f in (linear, step_lr, cosine)]
    for _ in range(STEPS):
        np.testing.assert_allclose(settings(ours), settings(theirs), rtol=1e-9)
        for schedule in mine + expected:
            schedule.step()


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_stored_state_continues_bit_for_bit(schedule):
    optimizer, resumed = make("Adam"), make("Adam")
    original = schedule(lr_scheduler, optimizer)
    for _ in range(23):
        original.step()
    state = json.loads(json.dumps([original.state_dict(), optimizer.state_dict()]))
    restored = schedule(lr_scheduler, resumed)
    restored.load_state_dict(state[0])
    resumed.load_state_dict(state[1])
    for _ in range(20):
        assert settings(resumed) == settings(optimizer)
        assert restored.get_last_lr() == original.get_last_lr()
        original.step()
        restored.step()


def test_a_stored_plateau_continues():
    optimizer = make()
    original = lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)
    fresh = json.loads(json.dumps(original.state_dict(), allow_nan=False))
    original.step(1.0)
    original.step(2.0)
    state = json.loads(json.dumps(original.state_dict(), allow_nan=False))
    restored = lr_scheduler.ReduceLROnPlateau(make(), patience=1)
    restored.load_state_dict(fresh)
    restored.load_state_dict(state)
    restored.step(2.0)
    assert restored.get_last_lr()[0] == pytest.approx(0.01)


def test_starting_in_the_middle():
    optimizer = make()
    whole = warm = lr_scheduler.StepLR(optimizer, 3)
    for _ in range(7):
        whole.step()
    rates = warm.get_last_lr()
    resumed = lr_scheduler.StepLR(optimizer, 3, last_epoch=6)
    assert resumed.get_last_lr() == pytest.approx(rates)
    with pytest.raises(UsageError, match="initial_lr"):
        lr_scheduler.StepLR(make(), 3, last_epoch=6)


def test_one_cycle_with_a_rise_of_one_step():
    schedule = lr_scheduler.OneCycleLR(make(), 0.5, total_steps=10, pct_start=0.1)
    assert schedule.get_last_lr() == [0.5, 0.5]


@pytest.mark.oracle
@pytest.mark.parametrize("schedule", [warm_restarts, warm_restarts_alike])
def test_warm_restarts_at_fractions_of_an_epoch(torch, schedule):
    ours, theirs = make(), make_torch(torch)
    mine, expected = schedule(lr_scheduler, ours), schedule(torch.optim.lr_scheduler, theirs)
    for epoch in [0, 0.25, 3.5, None, 6.75, 7.5, 20.5, None, 21.0, 49.5, 2.0]:
        mine.step(epoch)
        expected.step(epoch)
        np.testing.assert_allclose(settings(ours), settings(theirs), rtol=1e-9)
        assert mine.last_epoch == expected.last_epoch
    with pytest.raises(UsageError, match="under 0"):
        mine.step(-1)


def test_one_cycle_ends():
    schedule = lr_scheduler.OneCycleLR(make(), 0.5, total_steps=3)
    for _ in range(3):
        schedule.step()
    with pytest.raises(UsageError, match="3 steps"):
        schedule.step()


@pytest.mark.parametrize(
    "call",
    [
        lambda s, o: s.StepLR("no optimizer", 3),
        lambda s, o: s.StepLR(o, 0),
        lambda s, o: s.LinearLR(o, start_factor=0.0),
        lambda s, o: s.LinearLR(o, end_factor=2.0),
        lambda s, o: s.LinearLR(o, total_iters=0),
        lambda s, o: s.CosineAnnealingLR(o, T_max=0),
        lambda s, o: s.MultiStepLR(o, [3, 0]),
        lambda s, o: s.PolynomialLR(o, 0),
        lambda s, o: s.CosineAnnealingWarmRestarts(o, 0),
        lambda s, o: s.CosineAnnealingWarmRestarts(o, 5, T_mult=0),
        lambda s, o: s.LambdaLR(o, [abs]),
        lambda s, o: s.OneCycleLR(o, 0.1),
        lambda s, o: s.OneCycleLR(o, 0.1, total_steps=5, pct_start=2),
        lambda s, o: s.OneCycleLR(o, 0.1, total_steps=5, div_factor=0),
        lambda s, o: s.OneCycleLR(o, 0.1, total_steps=5, anneal_strategy="step"),
        lambda s, o: s.OneCycleLR(o, [0.1], total_steps=5),
        lambda s, o: s.ReduceLROnPlateau(o, factor=1.0),
        lambda s, o: s.ReduceLROnPlateau(o, mode="mean"),
        lambda s, o: s.ReduceLROnPlateau(o, threshold_mode="x"),
        lambda s, o: s.SequentialLR(o, [], []),
        lambda s, o: s.SequentialLR(o, [s.StepLR(o, 3)], [4]),
        lambda s, o: s.SequentialLR(o, [s.StepLR(o, 3), s.StepLR(o, 3)], [0]),
        lambda s, o: s.SequentialLR(o, [s.ReduceLROnPlateau(o)], []),
        lambda s, o: s.SequentialLR(o, [s.StepLR(make(), 3)], []),
    ],
)
def test_wrong_arguments(call):
    with pytest.raises(UsageError):
        call(lr_scheduler, make())


def test_a_state_of_another_kind_is_refused():
    optimizer = make()
    state = step_lr(lr_scheduler, optimizer).state_dict()
    for schedule in (cosine, warm_up_cosine, lr_scheduler.ReduceLROnPlateau):
        target = (
            schedule(optimizer) if isinstance(schedule, type) else schedule(lr_scheduler, optimizer)
        )
        with pytest.raises(ModelError, match="state"):
            target.load_state_dict(state)
    target = warm_up_cosine(lr_scheduler, optimizer)
    with pytest.raises(ModelError, match="2 schedulers"):
        target.load_state_dict({**target.state_dict(), "_schedulers": []})
