"""SGD, Adam, AdamW, RMSprop: equal to PyTorch over 50 steps; groups, state, errors."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nnmed import kernels, nn, optim
from nnmed.autograd.tensor import Tensor
from nnmed.errors import DTypeError, GradientError, ModelError, ShapeError, UsageError

STEPS = 50
SHAPES = [(4, 3), (5,), (2, 3, 3, 3), ()]

OPTIMIZERS = {
    "sgd": ("SGD", {"lr": 0.05}),
    "sgd decay": ("SGD", {"lr": 0.05, "weight_decay": 0.1}),
    "momentum": ("SGD", {"lr": 0.05, "momentum": 0.9}),
    "dampening": ("SGD", {"lr": 0.05, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    "nesterov": ("SGD", {"lr": 0.05, "momentum": 0.8, "nesterov": True, "weight_decay": 0.01}),
    "adam": ("Adam", {"lr": 0.02}),
    "adam decay": ("Adam", {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-4, "weight_decay": 0.1}),
    "amsgrad": ("Adam", {"lr": 0.02, "amsgrad": True}),
    "adamw": ("AdamW", {"lr": 0.02}),
    "adamw decay": ("AdamW", {"lr": 0.02, "weight_decay": 0.5, "amsgrad": True}),
    "rmsprop": ("RMSprop", {"lr": 0.01}),
    "rmsprop decay": ("RMSprop", {"lr": 0.01, "alpha": 0.9, "eps": 1e-4, "weight_decay": 0.1}),
    "rmsprop momentum": ("RMSprop", {"lr": 0.01, "momentum": 0.7}),
    "rmsprop centered": ("RMSprop", {"lr": 0.01, "centered": True, "momentum": 0.7}),
}
# What the second parameter group overrides.
OVERRIDES = {"lr": 0.003, "weight_decay": 0.2}


def start(dtype=np.float32):
    rng = np.random.default_rng(1)
    return [np.array(rng.standard_normal(shape), dtype) for shape in SHAPES]


def gradients(step, dtype=np.float32):
    """Gradients of one step; every seventh time the second parameter has none."""
    rng = np.random.default_rng(100 + step)
    result = [np.array(rng.standard_normal(shape), dtype) for shape in SHAPES]
    if step % 7 == 3:
        result[1] = None
    return result


def make(name, dtype=np.float32):
    function, options = OPTIMIZERS[name]
    parameters = [Tensor(array, requires_grad=True) for array in start(dtype)]
    groups = [{"params": parameters[:2]}, {"params": parameters[2:], **OVERRIDES}]
    return parameters, getattr(optim, function)(groups, **options)


def run(parameters, optimizer, steps, dtype=np.float32):
    for step in steps:
        for parameter, gradient in zip(parameters, gradients(step, dtype)):
            parameter.grad = None if gradient is None else Tensor(gradient)
        optimizer.step()
        optimizer.zero_grad()


def run_torch(torch, name, steps, dtype=np.float32):
    function, options = OPTIMIZERS[name]
    parameters = [torch.nn.Parameter(torch.from_numpy(array)) for array in start(dtype)]
    groups = [{"params": parameters[:2]}, {"params": parameters[2:], **OVERRIDES}]
    optimizer = getattr(torch.optim, function)(groups, **options)
    for step in steps:
        for parameter, gradient in zip(parameters, gradients(step, dtype)):
            parameter.grad = None if gradient is None else torch.from_numpy(gradient)
        optimizer.step()
    return [parameter.detach().numpy() for parameter in parameters], optimizer


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_equals_pytorch(torch, name, dtype):
    parameters, optimizer = make(name, dtype)
    run(parameters, optimizer, range(STEPS), dtype)
    expected, _ = run_torch(torch, name, range(STEPS), dtype)
    tolerance = 2e-6 if dtype == np.float32 else 1e-12
    for parameter, array in zip(parameters, expected):
        assert parameter.dtype == dtype
        np.testing.assert_allclose(parameter.numpy(), array, rtol=tolerance, atol=tolerance)


rates = st.floats(1e-4, 0.1)
fractions = st.floats(0, 0.99)
decays = st.sampled_from([0.0, 0.01, 0.3])
OPTIONS = {
    "SGD": {"lr": rates, "momentum": fractions, "dampening": fractions, "weight_decay": decays},
    "Adam": {"lr": rates, "betas": st.tuples(fractions, fractions), "weight_decay": decays},
    "AdamW": {"lr": rates, "betas": st.tuples(fractions, fractions), "amsgrad": st.booleans()},
    "RMSprop": {"lr": rates, "alpha": fractions, "momentum": fractions, "weight_decay": decays},
}


@pytest.mark.oracle
@pytest.mark.parametrize("kind", OPTIONS)
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_options_equal_pytorch(torch, kind, data):
    options = {name: data.draw(values) for name, values in OPTIONS[kind].items()}
    ours = [Tensor(array, requires_grad=True) for array in start(np.float64)]
    theirs = [torch.nn.Parameter(torch.from_numpy(array)) for array in start(np.float64)]
    optimizer = getattr(optim, kind)(ours, **options)
    other = getattr(torch.optim, kind)(theirs, **options)
    run(ours, optimizer, range(8), np.float64)
    for step in range(8):
        for parameter, gradient in zip(theirs, gradients(step, np.float64)):
            parameter.grad = None if gradient is None else torch.from_numpy(gradient)
        other.step()
    for parameter, expected in zip(ours, theirs):
        close = {"rtol": 1e-10, "atol": 1e-10}
        np.testing.assert_allclose(parameter.numpy(), expected.detach().numpy(), **close)


@pytest.mark.oracle
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_continues_from_a_state_of_pytorch(torch, name):
    half, theirs = run_torch(torch, name, range(25))
    parameters, optimizer = make(name)
    for parameter, array in zip(parameters, half):
        parameter.data = array
    optimizer.load_state_dict(theirs.state_dict())
    run(parameters, optimizer, range(25, STEPS))
    expected, _ = run_torch(torch, name, range(STEPS))
    for parameter, array in zip(parameters, expected):
        np.testing.assert_allclose(parameter.numpy(), array, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_stored_state_continues_bit_for_bit(name):
    parameters, optimizer = make(name)
    run(parameters, optimizer, range(30))

    halfway, first = make(name)
    run(halfway, first, range(20))
    metadata, arrays = optim.pack_state(first.state_dict())
    metadata = json.loads(json.dumps(metadata))
    resumed, second = make(name)
    for parameter, other in zip(resumed, halfway):
        parameter.data = other.data
    second.load_state_dict(optim.unpack_state(metadata, arrays))
    run(halfway, first, range(20, 23))  # the copy must not share memory with the first
    run(resumed, second, range(20, 30))
    for ours, expected in zip(resumed, parameters):
        np.testing.assert_array_equal(ours.numpy(), expected.numpy())


def test_a_step_is_counted_and_spares_parameters_without_gradient():
    parameters, optimizer = make("adam")
    before = [parameter._version.count for parameter in parameters]
    values = parameters[1].numpy().copy()
    run(parameters, optimizer, [3])
    changed = [p._version.count > old for p, old in zip(parameters, before)]
    assert changed == [True, False, True, True]
    np.testing.assert_array_equal(parameters[1].numpy(), values)
    assert parameters[1] not in optimizer.state


def test_a_numpy_rate_keeps_float32():
    parameter = Tensor(np.ones(3, np.float32), requires_grad=True)
    optimizer = optim.AdamW([parameter], lr=np.float64(0.1), weight_decay=np.float32(0.1))
    parameter.grad = Tensor(np.ones(3, np.float32))
    optimizer.step()
    assert parameter.dtype == np.float32
    json.dumps(optim.pack_state(optimizer.state_dict())[0])


def test_zero_grad():
    parameters, optimizer = make("sgd")
    parameters[0].grad = Tensor(np.ones((4, 3), np.float32))
    kept = parameters[0].grad
    optimizer.zero_grad(set_to_none=False)
    assert not parameters[0].grad.numpy().any()
    assert kept.numpy().all(), "a gradient that someone else holds is not overwritten"
    optimizer.zero_grad()
    assert parameters[0].grad is None


def test_repr_names_groups_and_options():
    _, optimizer = make("adamw")
    assert repr(optimizer).startswith("AdamW (\nParameter Group 0\n")
    assert "    lr: 0.003" in repr(optimizer)


def leaf():
    return Tensor(np.ones(2, np.float32), requires_grad=True)


def test_wrong_parameters():
    parameter = leaf()
    for params in ([], parameter, [parameter, parameter], [("weight", parameter)], [{"lr": 1}]):
        with pytest.raises(UsageError):
            optim.SGD(params)
    with pytest.raises(UsageError, match="given twice"):
        optim.SGD([{"params": [parameter]}, {"params": parameter}])


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("SGD", {"lr": -1}),
        ("SGD", {"lr": float("nan")}),
        ("SGD", {"momentum": -0.1}),
        ("SGD", {"nesterov": True}),
        ("SGD", {"nesterov": True, "momentum": 0.9, "dampening": 0.1}),
        ("Adam", {"betas": (0.9, 1.0)}),
        ("Adam", {"betas": 0.9}),
        ("AdamW", {"eps": -1}),
        ("RMSprop", {"alpha": -1}),
        ("RMSprop", {"weight_decay": -1}),
    ],
)
def test_wrong_options(kind, options):
    with pytest.raises(UsageError, match=kind):
        getattr(optim, kind)([leaf()], **options)


def test_wrong_gradients():
    parameter = leaf()
    optimizer = optim.SGD([parameter])
    parameter.grad = Tensor(np.ones(3, np.float32))
    with pytest.raises(ShapeError, match=r"\(2,\) has a gradient of shape \(3,\)"):
        optimizer.step()
    parameter.grad = Tensor(np.ones(2, np.float64))
    with pytest.raises(DTypeError, match="float64"):
        optimizer.step()


def test_wrong_states():
    parameters, optimizer = make("adam")
    run(parameters, optimizer, range(2))
    good = optimizer.state_dict()
    bad_option = {**good["param_groups"][0], "lr": "fast"}
    no_option = {k: v for k, v in good["param_groups"][0].items() if k != "eps"}
    wrong = [
        None,
        {},
        {"state": {}},
        {"state": {}, "param_groups": good["param_groups"][:1]},
        {"state": {}, "param_groups": [bad_option, good["param_groups"][1]]},
        {"state": {}, "param_groups": [no_option, good["param_groups"][1]]},
        {**good, "state": []},
        {**good, "state": {9: {}}},
        {**good, "state": {"a": {}}},
        {**good, "state": {0: 3}},
        {**good, "state": {0: {"exp_avg": np.zeros(7, np.float32)}}},
        {**good, "state": {0: {"step": "many"}}},
    ]
    for state in wrong:
        with pytest.raises(ModelError, match="Adam"):
            optimizer.load_state_dict(state)
    for metadata in (None, {}, {"state": [1]}, {"state": {"0": 1}}):
        with pytest.raises(ModelError, match="no 'state'"):
            optim.unpack_state(metadata, {})
    with pytest.raises(ModelError, match="belongs to no parameter"):
        optim.unpack_state({"state": {}, "param_groups": []}, {"0.exp_avg": np.zeros(1)})


def test_a_model_converted_after_the_first_step():
    layer = nn.Linear(2, 1)
    optimizer = optim.Adam(layer.parameters())
    layer(Tensor(np.ones((1, 2), np.float32))).sum().backward()
    optimizer.step()
    layer.double()
    with pytest.raises(DTypeError, match="before making its optimizer"):
        optimizer.step()


def test_backward_after_a_step_notices_the_change():
    layer = nn.Linear(2, 1)
    optimizer = optim.SGD(layer.parameters(), lr=0.1)
    x = Tensor(np.ones((1, 2), np.float32), requires_grad=True)
    loss = layer(x).sum()
    loss.backward(retain_graph=True)
    optimizer.step()
    with pytest.raises(GradientError, match="changed in place"):
        loss.backward()


def test_reference_kernels_give_the_same_steps():
    fast, slow = make("adamw decay"), make("adamw decay")
    run(*fast, range(5))
    with kernels.use_kernels(optimizer="reference"):
        run(*slow, range(5))
    for ours, expected in zip(fast[0], slow[0]):
        np.testing.assert_allclose(ours.numpy(), expected.numpy(), rtol=1e-6, atol=1e-6)
