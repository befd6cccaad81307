"""Optimizers: equal to PyTorch over 50 steps; groups, state, closures, errors."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nnmed import kernels, nn, no_grad, optim
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
    "sgd up": ("SGD", {"lr": 0.05, "maximize": True, "momentum": 0.9, "weight_decay": 0.1}),
    "adam up": ("Adam", {"lr": 0.02, "maximize": True, "weight_decay": 0.1}),
    "adam decoupled": ("Adam", {"lr": 0.02, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    "adamw up": ("AdamW", {"lr": 0.02, "maximize": True}),
    "rmsprop up": ("RMSprop", {"lr": 0.01, "maximize": True}),
    "adagrad": ("Adagrad", {"lr": 0.05}),
    "adagrad all": (
        "Adagrad",
        {"lr": 0.05, "lr_decay": 0.1, "initial_accumulator_value": 0.5, "maximize": True},
    ),
    "adadelta": ("Adadelta", {}),
    "adadelta all": ("Adadelta", {"lr": 0.5, "rho": 0.8, "eps": 1e-4, "maximize": True}),
    "adamax": ("Adamax", {"lr": 0.02}),
    "adamax all": ("Adamax", {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-4, "maximize": True}),
    "nadam": ("NAdam", {"lr": 0.02}),
    "nadam all": (
        "NAdam",
        {"lr": 0.02, "momentum_decay": 0.1, "weight_decay": 0.1, "maximize": True},
    ),
    "nadam decoupled": ("NAdam", {"lr": 0.02, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    "radam": ("RAdam", {"lr": 0.02}),
    "radam all": ("RAdam", {"lr": 0.02, "betas": (0.8, 0.9), "eps": 1e-4, "maximize": True}),
    "radam decoupled": ("RAdam", {"lr": 0.02, "weight_decay": 0.1, "decoupled_weight_decay": True}),
}
OURS = {  # PyTorch has none of these
    "lamb": ("LAMB", {"lr": 0.02}),
    "lamb all": ("LAMB", {"lr": 0.02, "betas": (0.8, 0.9), "weight_decay": 0.1, "maximize": True}),
    "lion": ("Lion", {"lr": 0.005}),
    "lion all": ("Lion", {"lr": 0.005, "betas": (0.8, 0.9), "weight_decay": 1, "maximize": True}),
}
ALL = {**OPTIMIZERS, **OURS}
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
    function, options = ALL[name]
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
def test_equals_pytorch(torch, name, dtype, monkeypatch):
    if dtype == np.float64:  # the product of NAdam's momenta is a scalar of the default dtype
        monkeypatch.setattr(torch, "get_default_dtype", lambda: torch.float64)
    parameters, optimizer = make(name, dtype)
    run(parameters, optimizer, range(STEPS), dtype)
    expected, _ = run_torch(torch, name, range(STEPS), dtype)
    tolerance = 2e-6 if dtype == np.float32 else 1e-12
    for parameter, array in zip(parameters, expected):
        assert parameter.dtype == dtype
        np.testing.assert_allclose(parameter.numpy(), array, rtol=tolerance, atol=tolerance)


def lamb_by_numpy(p, g, state, t, lr, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.01):
    beta1, beta2 = betas
    state["m"] = beta1 * state.get("m", 0) + (1 - beta1) * g
    state["v"] = beta2 * state.get("v", 0) + (1 - beta2) * g**2
    d = state["m"] / (1 - beta1**t) / (np.sqrt(state["v"] / (1 - beta2**t)) + eps)
    d = d + weight_decay * p
    return p - lr * np.sqrt((p**2).sum() / (d**2).sum()) * d


def lion_by_numpy(p, g, state, t, lr, betas=(0.9, 0.99), weight_decay=0.0):
    m = state.get("m", 0)
    state["m"] = betas[1] * m + (1 - betas[1]) * g
    return p - lr * (np.sign(betas[0] * m + (1 - betas[0]) * g) + weight_decay * p)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", OURS)
def test_equals_the_formula(name, dtype):
    parameters, optimizer = make(name, dtype)
    run(parameters, optimizer, range(STEPS), dtype)
    kind, options = OURS[name]
    options = dict(options)
    sign = -1 if options.pop("maximize", False) else 1
    formula = {"LAMB": lamb_by_numpy, "Lion": lion_by_numpy}[kind]
    arrays, states, times = start(np.float64), [{} for _ in SHAPES], [0] * len(SHAPES)
    for step in range(STEPS):
        for i, g in enumerate(gradients(step, dtype)):
            if g is not None:
                times[i] += 1
                own = {**options, **(OVERRIDES if i >= 2 else {})}
                arrays[i] = formula(arrays[i], sign * g.astype(float), states[i], times[i], **own)
    tolerance = 3e-6 if dtype == np.float32 else 1e-12
    for parameter, expected in zip(parameters, arrays):
        assert parameter.dtype == dtype
        np.testing.assert_allclose(parameter.numpy(), expected, rtol=tolerance, atol=tolerance)


rates = st.floats(1e-4, 0.1)
fractions = st.floats(0, 0.99)
decays = st.sampled_from([0.0, 0.01, 0.3])
OPTIONS = {
    "SGD": {"lr": rates, "momentum": fractions, "dampening": fractions, "weight_decay": decays},
    "Adam": {"lr": rates, "betas": st.tuples(fractions, fractions), "weight_decay": decays},
    "AdamW": {"lr": rates, "betas": st.tuples(fractions, fractions), "amsgrad": st.booleans()},
    "RMSprop": {"lr": rates, "alpha": fractions, "momentum": fractions, "weight_decay": decays},
    "Adagrad": {"lr": rates, "lr_decay": fractions, "weight_decay": decays},
    "Adadelta": {"lr": rates, "rho": fractions, "maximize": st.booleans(), "weight_decay": decays},
    "Adamax": {"lr": rates, "betas": st.tuples(fractions, fractions), "weight_decay": decays},
    "RAdam": {"lr": rates, "betas": st.tuples(fractions, fractions), "weight_decay": decays},
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


@pytest.mark.oracle
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_pytorch_continues_from_a_state(torch, name):
    ours, optimizer = make(name)
    run(ours, optimizer, range(25))
    state = optimizer.state_dict()
    for values in state["state"].values():
        values.update({key: torch.tensor(value) for key, value in values.items()})
    _, other = run_torch(torch, name, [])
    other.load_state_dict(state)
    theirs = [parameter for group in other.param_groups for parameter in group["params"]]
    for parameter, tensor in zip(theirs, ours):
        parameter.data = torch.tensor(tensor.numpy())
    for step in range(25, 30):
        for parameter, gradient in zip(theirs, gradients(step)):
            parameter.grad = None if gradient is None else torch.from_numpy(gradient)
        other.step()
    run(ours, optimizer, range(25, 30))
    for tensor, parameter in zip(ours, theirs):
        expected = parameter.detach().numpy()
        np.testing.assert_allclose(tensor.numpy(), expected, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("name", ALL)
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


def test_a_closure_computes_loss_and_gradients():
    x = Tensor([3.0], requires_grad=True)
    optimizer = optim.SGD([x], lr=0.1)
    calls = []

    def closure():
        optimizer.zero_grad()
        loss = (x * x).sum()
        loss.backward()
        calls.append(loss.item())
        return loss

    with no_grad():
        assert optimizer.step(closure).item() == 9
    assert calls == [9]
    np.testing.assert_allclose(x.numpy(), [3 - 0.1 * 6], rtol=1e-6)
    assert optimizer.step() is None


def test_nothing_is_changed_where_one_gradient_is_wrong():
    parameters, optimizer = make("adam")
    for parameter in parameters:
        parameter.grad = Tensor(np.ones(7, np.float32))
    parameters[0].grad = Tensor(np.ones((4, 3), np.float32))
    before = parameters[0].numpy().copy()
    with pytest.raises(ShapeError):
        optimizer.step()
    np.testing.assert_array_equal(parameters[0].numpy(), before)


def test_a_state_from_before_an_option_existed():
    parameters, optimizer = make("adamw")
    run(parameters, optimizer, range(2))
    state = optimizer.state_dict()
    for group in state["param_groups"]:
        del group["maximize"], group["decoupled_weight_decay"]
    _, other = make("adamw")
    other.load_state_dict(state)
    assert other.param_groups[0]["decoupled_weight_decay"] is True
    assert other.param_groups[0]["maximize"] is False


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
        ("SGD", {"lr": [0.1]}),
        ("SGD", {"dampening": None}),
        ("SGD", {"momentum": -0.1}),
        ("SGD", {"nesterov": True}),
        ("SGD", {"nesterov": True, "momentum": 0.9, "dampening": 0.1}),
        ("Adam", {"betas": (0.9, 1.0)}),
        ("Adam", {"betas": 0.9}),
        ("AdamW", {"eps": -1}),
        ("RMSprop", {"alpha": -1}),
        ("RMSprop", {"momentum": []}),
        ("RMSprop", {"weight_decay": -1}),
        ("Adagrad", {"lr_decay": -1}),
        ("Adagrad", {"initial_accumulator_value": -1}),
        ("Adadelta", {"rho": 1.0}),
        ("Adamax", {"betas": (0.9,)}),
        ("NAdam", {"momentum_decay": -1}),
        ("RAdam", {"eps": -1}),
        ("LAMB", {"betas": (1.0, 0.9)}),
        ("Lion", {"betas": (0.9, 1.0)}),
        ("Lion", {"lr": "fast"}),
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


@pytest.mark.parametrize("name", ["adamw decay", "nadam", "lamb"])
def test_reference_kernels_give_the_same_steps(name):
    fast, slow = make(name), make(name)
    run(*fast, range(5))
    with kernels.use_kernels(optimizer="reference"):
        run(*slow, range(5))
    for ours, expected in zip(fast[0], slow[0]):
        np.testing.assert_allclose(ours.numpy(), expected.numpy(), rtol=1e-6, atol=1e-6)
